// Several networks side by side, from the options of one. Thread compatible.
//
//   AddVariantOptions(app, args->variant);
//   AddComparedOption(app, args->compared);
//   ...
//   ASSIGN_OR_RETURN(std::vector<NamedVariant> variants,
//                    ComparedVariants(args->variant, args->compared));
#ifndef DISSONANCE_CLIENT_CLI_COMPARED_VARIANTS_H_
#define DISSONANCE_CLIENT_CLI_COMPARED_VARIANTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/variant_options.h"

namespace dissonance::cli {

// Adds --compare-adapter.
void AddComparedOption(CLI::App& app, std::vector<std::string>& adapters);

// The base model; the adapter, if there is one; what the interventions make of
// it, if there are any; and each of `adapters` in its place. Names differ.
absl::StatusOr<std::vector<NamedVariant>> ComparedVariants(
    const VariantOptions& options, const std::vector<std::string>& adapters);

// A short name for tables: "cubic*" for "cubic + zero z.3.h2".
std::string TableLabel(const std::string& variant_name);

// A line for each label that is not the name itself: "cubic* is cubic + ...".
std::string LabelLegend(const std::vector<NamedVariant>& variants);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_COMPARED_VARIANTS_H_
