// The options that say which network computes: --model, --adapter and
// interventions, which take effect in the order of the command line. Thread
// compatible.
//
//   auto options = std::make_shared<VariantOptions>();
//   AddVariantOptions(app, *options);
//   ...
//   ASSIGN_OR_RETURN(NamedVariant steered, MakeVariant(*options));
//   options->interventions.clear();
//   ASSIGN_OR_RETURN(NamedVariant unsteered, MakeVariant(*options));
#ifndef DISSONANCE_CLIENT_CLI_VARIANT_OPTIONS_H_
#define DISSONANCE_CLIENT_CLI_VARIANT_OPTIONS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/interventions.h"
#include "dissonance/v1/common.pb.h"

namespace CLI {
class App;
}  // namespace CLI

namespace dissonance::cli {

struct VariantOptions {
  std::string model;
  std::string adapter;  // empty: the base model
  std::vector<InterventionSpec> interventions;
  // Of the vectors of --steer.
  bool unit_normalize = false;
};

// Adds --model (required), --adapter, --steer, --project-out, --replace,
// --scale, --zero and --unit. `options` outlives the parsing.
void AddVariantOptions(CLI::App& app, VariantOptions& options);

// A variant and what results call it: "base", "cubic", "cubic + zero z.3.h2".
struct NamedVariant {
  std::string name;
  v1::Variant variant;
};

// Whether both are one network: an adapter may be called "base" too.
bool IsSameVariant(const NamedVariant& a, const NamedVariant& b);

// Reads the files of the vectors. Errors name the intervention.
absl::StatusOr<NamedVariant> MakeVariant(const VariantOptions& options);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_VARIANT_OPTIONS_H_
