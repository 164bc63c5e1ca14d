#include "src/lab/pipeline/pipeline_plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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

// "evaluate_mcq".
std::string KindWord(v1::JobSpec::KindCase kind) {
  return v1::JobSpec::descriptor()->FindFieldByNumber(kind)->name();
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
    const auto [same, is_new_name] = by_name_.emplace(stage.name(), i);
    if (!is_new_name) {
      return Bad(where + ".name",
                 absl::StrCat("\"", stage.name(),
                              "\" is given twice, first to stages[",
                              same->second, "]; give another name"));
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
                   absl::StrCat("there is no stage \"", input.stage(),
                                "\"; there are ",
                                NamesOf([](const auto&) { return true; })));
      }
      const absl::StatusOr<InputKind> kind =
          InputKindOf(input, planned.stage.spec());
      if (!kind.ok()) return Bad(where + ".field", kind.status().message());
      if ((*kind == InputKind::kArtifact) == input.file().empty()) {
        return Bad(where + ".file", *kind == InputKind::kArtifact
                                        ? "name the file that is taken"
                                        : "nothing is taken of a file here");
      }
      RETURN_IF_ERROR(CheckSource(where + ".stage", *kind, planned.stage.spec(),
                                  stages_[source->second].stage));
      planned.needs.insert(source->second);
    }
    for (const std::string& adapter : AdaptersIn(planned.stage.spec())) {
      const auto maker = makers_.find(adapter);
      if (maker != makers_.end()) planned.needs.insert(maker->second);
    }
    return absl::OkStatus();
  }

  // Names of the stages of which `takes` holds, or "none".
  template <typename Takes>
  std::string NamesOf(const Takes& takes) const {
    std::vector<std::string> names;
    for (const v1::PipelineStage& stage : spec_.stages()) {
      if (takes(stage.spec())) names.push_back(stage.name());
    }
    return names.empty() ? "none" : absl::StrJoin(names, ", ");
  }

  // That a stage of this kind has what the field takes.
  absl::Status CheckSource(const std::string& where, InputKind kind,
                           const v1::JobSpec& taker,
                           const v1::PipelineStage& source) const {
    v1::JobSpec::KindCase wanted = v1::JobSpec::KIND_NOT_SET;
    if (kind == InputKind::kDirection) {
      wanted = v1::JobSpec::kFitDirections;
    } else if (kind == InputKind::kJob && taker.has_train_probes()) {
      wanted = v1::JobSpec::kExtractActivations;
    } else if (kind == InputKind::kJob && taker.has_judge()) {
      wanted = v1::JobSpec::kEvaluateOpen;
    }
    const v1::JobSpec::KindCase own = source.spec().kind_case();
    if (wanted == v1::JobSpec::KIND_NOT_SET || wanted == own) {
      return absl::OkStatus();
    }
    const std::string others = NamesOf([wanted](const v1::JobSpec& spec) {
      return spec.kind_case() == wanted;
    });
    return Bad(where, absl::StrCat("takes a stage of kind ", KindWord(wanted),
                                   ", and ", source.name(), " is of kind ",
                                   KindWord(own),
                                   "; of that kind there are: ", others));
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
      const v1::JobSpec::KindCase kind = stage.spec().kind_case();
      const std::string own = GatesOfKind(kind);
      return Bad(
          absl::StrCat(Where(i), ".gates[", g, "]"),
          absl::StrCat(
              GateName(stage.gates(g)), " judges ", KindsOfGate(stage.gates(g)),
              ", not ", KindWord(kind), ", which has ",
              own.empty() ? "no gate" : absl::StrCat("the gates ", own)));
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
        const size_t first = *left.begin();
        return Bad(Where(first), absl::StrCat("stages wait for one another: ",
                                              CircleFrom(first, left)));
      }
      left.erase(ready);
    }
    return absl::OkStatus();
  }

  // "a waits for b waits for a". REQUIRES: each of `left` needs one of `left`.
  std::string CircleFrom(size_t at, const std::set<size_t>& left) const {
    std::vector<size_t> path;
    while (std::find(path.begin(), path.end(), at) == path.end()) {
      path.push_back(at);
      const std::set<size_t>& needs = stages_[at].needs;
      at = *std::find_if(needs.begin(), needs.end(),
                         [&left](size_t need) { return left.contains(need); });
    }
    path.erase(path.begin(), std::find(path.begin(), path.end(), at));
    path.push_back(at);
    return absl::StrJoin(path, " waits for ",
                         [this](std::string* out, size_t i) {
                           out->append(stages_[i].stage.name());
                         });
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
