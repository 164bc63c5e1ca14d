#include "src/lab/interp/patch_plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_prompt.h"
#include "src/lab/interp/steering_plan.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

constexpr size_t kDataLimitBytes = size_t{16} << 20;
constexpr size_t kDataArtifactLimitBytes = size_t{256} << 20;
constexpr size_t kNameLimitBytes = 255;
constexpr int kLastPositions = 8;

absl::Status BadField(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("patch_sweep.", field, ": ", what));
}

absl::Status CheckVariants(const v1::PatchSweepSpec& spec) {
  if (spec.source().model() != spec.target().model()) {
    return BadField("target",
                    absl::StrCat(spec.target().model(),
                                 " is another model "
                                 "than the source's, ",
                                 spec.source().model(),
                                 ": rows fit only networks of one model"));
  }
  if (spec.source().SerializeAsString() == spec.target().SerializeAsString()) {
    return BadField("target",
                    "is the source itself, so patches change nothing; name an "
                    "adapter or an intervention in one of them");
  }
  const bool changed = !spec.source().interventions().empty() ||
                       !spec.target().interventions().empty();
  if (changed && spec.attribution() != v1::ATTRIBUTION_USE_UNSPECIFIED) {
    return BadField("attribution",
                    "not for variants with interventions; leave it out");
  }
  return absl::OkStatus();
}

absl::Status ReadSites(const v1::PatchSweepSpec& spec, const v1::Model& model,
                       PatchPlan& plan) {
  std::set<int> sites;
  for (const int site : spec.sites()) {
    if (!v1::Site_IsValid(site) || site == v1::SITE_UNSPECIFIED) {
      return BadField("sites", absl::StrCat(site, " names no site"));
    }
    if (site == v1::SITE_PATTERN || site == v1::SITE_LOGITS) {
      return BadField("sites",
                      absl::StrCat(SiteName(static_cast<v1::Site>(site)),
                                   " can't be patched"));
    }
    if (!sites.insert(site).second) {
      return BadField("sites",
                      absl::StrCat(SiteName(static_cast<v1::Site>(site)),
                                   " is there twice"));
    }
    plan.request.add_sites(static_cast<v1::Site>(site));
  }
  if (sites.empty()) {
    plan.request.add_sites(v1::SITE_RESID_POST);
    plan.request.add_sites(v1::SITE_ATTN_OUT);
    plan.request.add_sites(v1::SITE_MLP_OUT);
    if (spec.each_head()) plan.request.add_sites(v1::SITE_Z);
  }
  plan.request.set_each_head(spec.each_head());
  std::set<int> blocks;
  for (const int block : spec.blocks()) {
    if (block < 0 || block >= model.block_count()) {
      return BadField("blocks",
                      absl::StrCat(model.name(), " has blocks 0 to ",
                                   model.block_count() - 1, ", not ", block));
    }
    if (blocks.insert(block).second) plan.request.add_blocks(block);
  }
  return absl::OkStatus();
}

absl::Status ReadPositions(const v1::PatchSweepSpec& spec, PatchPlan& plan) {
  plan.positions = spec.positions();
  if (!spec.positions().has_set()) return absl::OkStatus();
  switch (spec.positions().set()) {
    case v1::POSITION_SET_ALL:
    case v1::POSITION_SET_PROMPT:
    case v1::POSITION_SET_LAST_PROMPT:
      return absl::OkStatus();
    default:
      return BadField("positions",
                      "only positions of the prompt can be patched: all, "
                      "last_prompt, a range or indices");
  }
}

absl::Status ReadPrompts(const v1::PatchSweepSpec& spec, PatchPlan& plan) {
  const size_t limit =
      spec.data_artifact().empty() ? kDataLimitBytes : kDataArtifactLimitBytes;
  if (spec.data().size() > limit) {
    return BadField(
        "data", absl::StrCat(spec.data().size(), " bytes; at most ", limit));
  }
  if (spec.data_name().size() > kNameLimitBytes) {
    return BadField("data_name",
                    absl::StrCat("at most ", kNameLimitBytes, " bytes"));
  }
  ASSIGN_OR_RETURN(
      PromptSet all,
      ParsePrompts(spec.data(),
                   spec.data_name().empty() ? "data" : spec.data_name()));
  if (all.kind != PromptKind::kQuestions) {
    plan.prompts = std::move(all);
    return absl::OkStatus();
  }
  plan.prompts.kind = all.kind;
  for (size_t i = 0; i < all.questions.size(); ++i) {
    const McqItem& question = all.questions[i];
    if (!question.implied_false_answer.has_value() ||
        (spec.candidates().empty() && !TrueAnswer(question).has_value())) {
      continue;
    }
    plan.prompts.inputs.push_back(std::move(all.inputs[i]));
    plan.prompts.places.push_back(std::move(all.places[i]));
    plan.prompts.questions.push_back(question);
  }
  if (!plan.prompts.inputs.empty()) return absl::OkStatus();
  return BadField("data",
                  "has no question with a true and a false answer, so there is "
                  "nothing to tell apart");
}

absl::Status ReadCandidates(const v1::PatchSweepSpec& spec, PatchPlan& plan) {
  *plan.request.mutable_candidates() = spec.candidates();
  if (spec.candidates().empty() &&
      plan.prompts.kind == PromptKind::kQuestions) {
    return absl::OkStatus();
  }
  if (spec.candidates_size() != 2) {
    return BadField("candidates",
                    absl::StrCat("expected two, whose logits are compared, "
                                 "found ",
                                 spec.candidates_size()));
  }
  if (spec.candidates(0).token_id() != spec.candidates(1).token_id()) {
    return absl::OkStatus();
  }
  return BadField("candidates", "both are the same token");
}

absl::Status AddRuns(const v1::PatchSweepSpec& spec, PatchPlan& plan) {
  std::vector<v1::PatchMethod> methods;
  switch (spec.attribution()) {
    case v1::ATTRIBUTION_USE_UNSPECIFIED:
      methods = {v1::PATCH_METHOD_EXACT};
      break;
    case v1::ATTRIBUTION_USE_COMPARE:
      methods = {v1::PATCH_METHOD_EXACT, v1::PATCH_METHOD_ATTRIBUTION};
      break;
    case v1::ATTRIBUTION_USE_ALONE:
      methods = {v1::PATCH_METHOD_ATTRIBUTION};
      break;
    default:
      return BadField("attribution", "names no use of it");
  }
  plan.main_method = methods.front();
  for (const bool reversed : {false, true}) {
    if (reversed && !spec.both_directions()) continue;
    for (const v1::PatchMethod method : methods) {
      plan.runs.push_back({.reversed = reversed, .method = method});
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string PatchDirectionName(bool reversed) {
  return reversed ? "target_to_source" : "source_to_target";
}

std::string PatchMethodName(v1::PatchMethod method) {
  return method == v1::PATCH_METHOD_ATTRIBUTION ? "attribution" : "exact";
}

absl::StatusOr<PatchPlan> MakePatchPlan(const v1::PatchSweepSpec& spec,
                                        const v1::Model& model) {
  PatchPlan plan;
  RETURN_IF_ERROR(CheckVariants(spec));
  ASSIGN_OR_RETURN(plan.scoring, ResolveMcqScoring(spec.scoring()));
  RETURN_IF_ERROR(ReadPrompts(spec, plan));
  RETURN_IF_ERROR(ReadCandidates(spec, plan));
  RETURN_IF_ERROR(ReadSites(spec, model, plan));
  RETURN_IF_ERROR(ReadPositions(spec, plan));
  RETURN_IF_ERROR(AddRuns(spec, plan));
  return plan;
}

v1::Positions PatchPositions(const PatchPlan& plan, int token_count) {
  if (plan.positions.positions_case() != v1::Positions::POSITIONS_NOT_SET) {
    return plan.positions;
  }
  v1::Positions last;
  last.mutable_range()->set_begin(std::max(token_count - kLastPositions, 0));
  last.mutable_range()->set_end(token_count);
  return last;
}

}  // namespace dissonance
