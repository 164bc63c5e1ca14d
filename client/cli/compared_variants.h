// Several networks side by side, from the options of one. Thread compatible.
//
//   AddVariantOptions(app, args->variant);
//   AddComparedOptions(app, args->compared);
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

struct ComparedOptions {
  std::vector<std::string> also;
};

// Adds --also.
void AddComparedOptions(CLI::App& app, ComparedOptions& options);

// The base model; the adapter, if there is one; what the interventions make of
// either, if there are any; then the further adapters. Names differ.
absl::StatusOr<std::vector<NamedVariant>> ComparedVariants(
    const VariantOptions& options, const ComparedOptions& compared);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_COMPARED_VARIANTS_H_
