#include "src/lab/tensors/intervention_words.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

std::string LabelOf(const v1::VectorRef& vector) {
  return vector.label().empty()
             ? "a vector"
             : std::string(absl::StripPrefix(vector.label(), "directions/"));
}

// As the command line has it: "steer truth@resid_post.2=80".
std::string InterventionText(const v1::Intervention& change) {
  std::string place = SiteName(change.site());
  if (!change.blocks().empty()) {
    absl::StrAppend(&place, ".", absl::StrJoin(change.blocks(), ","));
  }
  if (change.has_head()) absl::StrAppend(&place, ".h", change.head());
  switch (change.operation_case()) {
    case v1::Intervention::kAdd:
      return absl::StrCat("steer ", LabelOf(change.add().vector()), "@", place,
                          "=", change.add().coefficient(),
                          change.add().unit_normalize() ? " unit" : "");
    case v1::Intervention::kReplace:
      return absl::StrCat("replace ", LabelOf(change.replace()), "@", place);
    case v1::Intervention::kProjectOut:
      return absl::StrCat("project-out ", LabelOf(change.project_out()), "@",
                          place);
    case v1::Intervention::kScale:
      return absl::StrCat("scale ", place, "=", change.scale().factor());
    default:
      return absl::StrCat("zero ", place);
  }
}

Json InterventionJson(const v1::Intervention& intervention) {
  Json json = {
      {"text", InterventionText(intervention)},
      {"site", SiteName(intervention.site())},
      {"blocks", std::vector<int>(intervention.blocks().begin(),
                                  intervention.blocks().end())},
      {"head", intervention.has_head() ? Json(intervention.head()) : Json()}};
  if (intervention.has_add()) {
    json["add"] = {{"coefficient", intervention.add().coefficient()},
                   {"label", intervention.add().vector().label()}};
  }
  return json;
}

}  // namespace

Json InterventionsJson(const v1::Variant& variant) {
  Json interventions = Json::array();
  for (const v1::Intervention& each : variant.interventions()) {
    interventions.push_back(InterventionJson(each));
  }
  return interventions;
}

}  // namespace dissonance
