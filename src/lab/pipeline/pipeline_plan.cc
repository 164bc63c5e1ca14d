#include "src/lab/pipeline/pipeline_plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/pipeline/gates.h"
#include "src/lab/pipeline/stage_fields.h"

namespace dissonance {
namespace {

constexpr int kMaxStages = 64;
constexpr size_t kMaxName = 40;
constexpr size_t kMaxTitle = 200;

absl::Status Bad(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("pipeline.", field, ": ", what));
}

bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxName &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_islower(static_cast<unsigned char>(c)) ||
                  absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
                  c == '_' || c == '-';
         });
}

// Makes the plan of one spec.
class Planner {
 public:
  explicit Planner(const v1::PipelineSpec& spec) : spec_(spec) {}

  absl::StatusOr<std::vector<PlannedStage>> Plan() {
    const int count = spec_.stages_size();
    if (count < 1 || count > kMaxStages) {
      return Bad("stages",
                 absl::StrCat("expected 1 to ", kMaxStages, ", found ", count));
    }
    if (spec_.title().size() > kMaxTitle) {
      return Bad("title", absl::StrCat("longer than ", kMaxTitle, " bytes"));
    }
    for (int i = 0; i < count; ++i) RETURN_IF_ERROR(AddStage(i));
    for (size_t i = 0; i < stages_.size(); ++i) {
      RETURN_IF_ERROR(AddNeeds(i));
      RETURN_IF_ERROR(CheckGates(i));
    }
    RETURN_IF_ERROR(CheckOrder());
    return std::move(stages_);
  }

 private:
  std::string Where(size_t i) const {
    return absl::StrCat("stages[", i, "]",
                        i < stages_.size()
                            ? absl::StrCat(" (", stages_[i].stage.name(), ")")
                            : "");
  }

  absl::Status AddStage(int index) {
    const v1::PipelineStage& stage = spec_.stages(index);
    const auto i = static_cast<size_t>(index);
    const std::string where = Where(i);
    if (!IsName(stage.name())) {
      return Bad(where + ".name",
                 absl::StrCat("\"", stage.name(), "\" is not 1 to ", kMaxName,
                              " of a-z, 0-9, \"_\" and \"-\""));
    }
    if (!by_name_.emplace(stage.name(), i).second) {
      return Bad(where + ".name",
                 absl::StrCat("\"", stage.name(), "\" is given twice"));
    }
    if (stage.spec().kind_case() == v1::JobSpec::KIND_NOT_SET ||
        stage.spec().has_pipeline()) {
      return Bad(where + ".spec", "give one kind of job that is no pipeline");
    }
    PlannedStage planned = {.stage = stage};
    if (stage.spec().has_fine_tune()) {
      planned.output_adapter = stage.spec().fine_tune().output_adapter();
      const auto [other, is_new] = makers_.emplace(planned.output_adapter, i);
      if (!is_new) {
        return Bad(
            where + ".spec.fine_tune.output_adapter",
            absl::StrCat("stage ",
                         spec_.stages(static_cast<int>(other->second)).name(),
                         " makes it too; give another name"));
      }
    }
    stages_.push_back(std::move(planned));
    return absl::OkStatus();
  }

  absl::Status AddNeeds(size_t i) {
    PlannedStage& planned = stages_[i];
    for (int k = 0; k < planned.stage.inputs_size(); ++k) {
      const v1::StageInput& input = planned.stage.inputs(k);
      const std::string where = absl::StrCat(Where(i), ".inputs[", k, "]");
      const auto source = by_name_.find(input.stage());
      if (source == by_name_.end()) {
        return Bad(where + ".stage",
                   absl::StrCat("there is no stage \"", input.stage(), "\""));
      }
      const absl::StatusOr<InputKind> kind =
          InputKindOf(input, planned.stage.spec());
      if (!kind.ok()) return Bad(where + ".field", kind.status().message());
      if ((*kind == InputKind::kArtifact) == input.file().empty()) {
        return Bad(where + ".file", *kind == InputKind::kArtifact
                                        ? "name the file that is taken"
                                        : "nothing is taken of a file here");
      }
      const v1::JobSpec& given = stages_[source->second].stage.spec();
      if (*kind == InputKind::kDirection && !given.has_fit_directions()) {
        return Bad(where + ".stage",
                   "a direction is taken of a fit_directions stage");
      }
      planned.needs.insert(source->second);
    }
    for (const std::string& adapter : AdaptersIn(planned.stage.spec())) {
      const auto maker = makers_.find(adapter);
      if (maker != makers_.end()) planned.needs.insert(maker->second);
    }
    return absl::OkStatus();
  }

  absl::Status CheckGates(size_t i) const {
    const v1::PipelineStage& stage = stages_[i].stage;
    for (int g = 0; g < stage.gates_size(); ++g) {
      const bool compares = stage.gates(g) != v1::GATE_BEHAVIOUR ||
                            stage.spec().evaluate_mcq().variants_size() == 2 ||
                            !stage.spec().has_evaluate_mcq();
      if (!compares) {
        return Bad(absl::StrCat(Where(i), ".gates[", g, "]"),
                   "behaviour compares two variants, base and adapter");
      }
      if (GateFits(stage.gates(g), stage.spec().kind_case())) continue;
      return Bad(
          absl::StrCat(Where(i), ".gates[", g, "]"),
          absl::StrCat(GateName(stage.gates(g)), " does not judge such a job"));
    }
    return absl::OkStatus();
  }

  // Takes stages away that wait for none of those left.
  absl::Status CheckOrder() const {
    std::set<size_t> left;
    for (size_t i = 0; i < stages_.size(); ++i) left.insert(i);
    while (!left.empty()) {
      const auto ready = std::find_if(left.begin(), left.end(), [&](size_t i) {
        return std::none_of(
            stages_[i].needs.begin(), stages_[i].needs.end(),
            [&left](size_t need) { return left.contains(need); });
      });
      if (ready == left.end()) {
        return Bad(Where(*left.begin()),
                   "it waits for a stage that waits for it");
      }
      left.erase(ready);
    }
    return absl::OkStatus();
  }

  const v1::PipelineSpec& spec_;
  std::vector<PlannedStage> stages_;
  std::map<std::string, size_t> by_name_;
  std::map<std::string, size_t> makers_;  // of adapters
};

}  // namespace

absl::StatusOr<std::vector<PlannedStage>> PlanPipeline(
    const v1::PipelineSpec& spec) {
  return Planner(spec).Plan();
}

}  // namespace dissonance
