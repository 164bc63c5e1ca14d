#include "client/cli/compared_variants.h"

#include <utility>

#include "CLI/CLI.hpp"
#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "client/cli/output.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {

void AddComparedOption(CLI::App& app, std::vector<std::string>& adapters) {
  app.add_option("--compare-adapter", adapters,
                 "Show also what this adapter does in its place; can be "
                 "repeated")
      ->allow_extra_args(false);
}

absl::StatusOr<std::vector<NamedVariant>> ComparedVariants(
    const VariantOptions& options, const std::vector<std::string>& adapters) {
  VariantOptions plain;
  plain.model = options.model;
  std::vector<VariantOptions> wanted = {plain};
  plain.adapter = options.adapter;
  wanted.push_back(plain);
  wanted.push_back(options);
  for (const std::string& adapter : adapters) {
    wanted.emplace_back(options).adapter = adapter;
  }
  std::vector<NamedVariant> variants;
  for (const VariantOptions& each : wanted) {
    ASSIGN_OR_RETURN(NamedVariant variant, MakeVariant(each));
    const bool is_new = absl::c_none_of(variants, [&](const NamedVariant& one) {
      return IsSameVariant(one, variant);
    });
    if (is_new) variants.push_back(std::move(variant));
  }
  return variants;
}

std::string TableLabel(const std::string& variant_name) {
  const size_t end = variant_name.find(" + ");
  return end == std::string::npos
             ? variant_name
             : absl::StrCat(variant_name.substr(0, end), "*");
}

std::string LabelLegend(const std::vector<NamedVariant>& variants) {
  std::string out;
  for (const NamedVariant& each : variants) {
    const std::string label = TableLabel(each.name);
    if (label != each.name) {
      absl::StrAppend(&out, label, " is ", Printable(each.name), "\n");
    }
  }
  return out;
}

}  // namespace dissonance::cli
