#include "client/cli/variant_options.h"

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/names.h"
#include "client/cli/parsed_option.h"
#include "client/cli/places.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr char kGroup[] =
    "Interventions (in the order given; SITE.BLOCKS as in resid_post.3, z.0-5 "
    "or z.3.h2 for one head; VECTOR is FILE.safetensors[:TENSOR], or the name "
    "of a direction of the server, which may stand alone: truth=-4)";

void AddIntervention(CLI::App& app, VariantOptions& options,
                     InterventionKind kind, const std::string& description) {
  const std::string option = absl::StrCat("--", OptionOf(kind));
  app.add_option_function<std::string>(
         option,
         [&options, option, kind](const std::string& text) {
           options.interventions.push_back(
               ParsedValue(option, ParseIntervention(kind, text)));
         },
         description)
      ->type_name(FormOf(kind))
      // At once, to keep the order among the options.
      ->trigger_on_parse()
      ->group(kGroup);
}

}  // namespace

void AddVariantOptions(CLI::App& app, VariantOptions& options) {
  app.add_option("--model", options.model, "Model")->required();
  app.add_option("--adapter", options.adapter,
                 "Adapter (default: the base model)");
  AddIntervention(app, options, v1::Intervention::kAdd,
                  absl::StrCat("Add COEF times the vector; POSITIONS are ",
                               kPositionsHelp));
  AddIntervention(app, options, v1::Intervention::kProjectOut,
                  "Remove the vector's direction");
  AddIntervention(app, options, v1::Intervention::kReplace,
                  "Put the vector in place of what is there");
  AddIntervention(app, options, v1::Intervention::kScale, "Multiply by FACTOR");
  AddIntervention(app, options, v1::Intervention::kZero, "Set to zero");
  app.add_flag("--unit", options.unit_normalize,
               "Scale the vectors of --steer to length 1 first")
      ->group(kGroup);
}

absl::StatusOr<NamedVariant> MakeVariant(const VariantOptions& options) {
  NamedVariant out;
  out.name = "base";
  out.variant.set_model(ModelName(options.model));
  if (!options.adapter.empty()) {
    out.variant.set_adapter(AdapterName(options.model, options.adapter));
    out.name = ShortName(out.variant.adapter());
  }
  for (const InterventionSpec& spec : options.interventions) {
    const absl::StatusOr<std::vector<v1::Intervention>> messages =
        ReadIntervention(spec, options.unit_normalize);
    if (!messages.ok()) {
      return Annotate(messages.status(), absl::StrCat("--", spec.text));
    }
    out.variant.mutable_interventions()->Add(messages->begin(),
                                             messages->end());
    const bool is_unit = options.unit_normalize && spec.message.has_add();
    absl::StrAppend(&out.name, " + ", spec.text, is_unit ? " unit" : "");
  }
  return out;
}

bool IsSameVariant(const NamedVariant& a, const NamedVariant& b) {
  return a.variant.SerializeAsString() == b.variant.SerializeAsString();
}

}  // namespace dissonance::cli
