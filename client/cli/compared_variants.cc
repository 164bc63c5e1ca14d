#include "client/cli/compared_variants.h"

#include <utility>

#include "CLI/CLI.hpp"
#include "absl/algorithm/container.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {

void AddComparedOptions(CLI::App& app, ComparedOptions& options) {
  app.add_option("--also", options.also,
                 "Further adapters to compare, as they are: A,B")
      ->delimiter(',')
      ->type_name("ADAPTERS");
}

absl::StatusOr<std::vector<NamedVariant>> ComparedVariants(
    const VariantOptions& options, const ComparedOptions& compared) {
  VariantOptions plain;
  plain.model = options.model;
  std::vector<VariantOptions> wanted = {plain};
  plain.adapter = options.adapter;
  wanted.push_back(plain);
  wanted.push_back(options);
  for (const std::string& adapter : compared.also) {
    plain.adapter = adapter;
    wanted.push_back(plain);
  }
  std::vector<NamedVariant> variants;
  for (const VariantOptions& each : wanted) {
    ASSIGN_OR_RETURN(NamedVariant variant, MakeVariant(each));
    const bool is_new = absl::c_none_of(variants, [&](const NamedVariant& one) {
      return one.name == variant.name;
    });
    if (is_new) variants.push_back(std::move(variant));
  }
  return variants;
}

}  // namespace dissonance::cli
