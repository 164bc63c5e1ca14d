#include "src/lab/interp/logit_lens.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_prompt.h"
#include "src/lab/interp/ask_networks.h"
#include "src/lab/interp/kept_networks.h"
#include "src/lab/interp/lens_files.h"
#include "src/lab/interp/network_spec.h"
#include "src/lab/interp/variant_json.h"
#include "src/lab/jobs/job_files.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

using internal::v1::LensRecord;

// Prompts of one call and of one transaction of the record.
constexpr size_t kPromptsPerBatch = 8;
constexpr int kMaxTop = 1000;

const SpecFields& Fields() {
  static const SpecFields& fields = *new SpecFields("logit_lens");
  return fields;
}

// A spec that has been checked.
struct Plan {
  PromptSet set;
  v1::McqScoring scoring = v1::MCQ_SCORING_LETTER_VARIANTS;
};

absl::Status CheckCandidates(const v1::LogitLensSpec& spec) {
  std::set<std::string> names;
  for (int i = 0; i < spec.candidates_size(); ++i) {
    const std::string field = absl::StrCat("candidates[", i, "].name");
    if (spec.candidates(i).name().empty()) return Fields().Bad(field, "empty");
    if (!names.insert(spec.candidates(i).name()).second) {
      return Fields().Bad(field, absl::StrCat("\"", spec.candidates(i).name(),
                                              "\" is given twice"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Plan> MakePlan(const v1::JobSpec& job_spec) {
  if (!job_spec.has_logit_lens()) {
    return absl::InvalidArgumentError("spec.kind: expected logit_lens");
  }
  const v1::LogitLensSpec& spec = job_spec.logit_lens();
  Plan plan;
  RETURN_IF_ERROR(Fields().CheckVariants(spec.variants()));
  if (spec.top_k() < 0 || spec.top_k() > kMaxTop) {
    return Fields().Bad("top_k", absl::StrCat("expected 0 to ", kMaxTop,
                                              ", found ", spec.top_k()));
  }
  if (spec.positions().set() == v1::POSITION_SET_GENERATED) {
    return Fields().Bad("positions", "nothing is generated; use the prompt's");
  }
  RETURN_IF_ERROR(CheckCandidates(spec));
  ASSIGN_OR_RETURN(plan.scoring, ResolveMcqScoring(spec.scoring()));
  ASSIGN_OR_RETURN(plan.set, Fields().ReadPrompts(PromptDataOf(spec)));
  return plan;
}

// The sites of the stream alone can be read.
absl::StatusOr<std::vector<v1::SiteRef>> LensPlaces(
    const v1::LogitLensSpec& spec, int32_t block_count) {
  ASSIGN_OR_RETURN(std::vector<v1::SiteRef> places,
                   Fields().Places(spec.sites(), spec.blocks(), block_count));
  for (const v1::SiteRef& place : places) {
    if (IsInBlocks(place.site()) && !IsByHead(place.site()) &&
        place.site() != v1::SITE_MLP_HIDDEN) {
      continue;
    }
    return Fields().Bad("sites",
                        absl::StrCat(SiteName(place.site()),
                                     " has not the residual stream's width in "
                                     "each block; use e.g. resid_post"));
  }
  return places;
}

// Puts a position's own candidates in their order, out of all that the call
// watched, with margin and breaking block.
absl::Status Narrow(const std::vector<v1::Candidate>& own, int32_t block_count,
                    v1::LensPosition& position) {
  std::vector<double> margins;
  std::vector<v1::SiteRef> places;
  for (v1::LensLayer& layer : *position.mutable_layers()) {
    const auto watched = std::exchange(*layer.mutable_candidates(), {});
    layer.clear_margin();
    for (const v1::Candidate& candidate : own) {
      const auto found =
          std::find_if(watched.begin(), watched.end(),
                       [&](const v1::CandidateReading& each) {
                         return each.token_id() == candidate.token_id();
                       });
      if (found == watched.end()) {
        return absl::InternalError(
            "the worker's lens lacks a token that was asked for; are both of "
            "the same version?");
      }
      v1::CandidateReading& reading = *layer.add_candidates();
      reading = *found;
      reading.set_name(candidate.name());
    }
    if (own.size() < 2) continue;
    layer.set_margin(layer.candidates(0).logit() - layer.candidates(1).logit());
    margins.push_back(layer.margin());
    places.push_back(layer.place());
  }
  position.clear_breaking_block();
  if (!margins.empty()) {
    position.set_breaking_block(BreakingBlock(margins, places, block_count));
  }
  return absl::OkStatus();
}

std::vector<std::string> NamesOf(const v1::LogitLensSpec& spec) {
  std::vector<std::string> names;
  for (const v1::Variant& each : spec.variants()) {
    names.push_back(VariantName(each));
  }
  return names;
}

// One attempt at a job: the prompts that have no record yet, then the files.
class Attempt {
 public:
  Attempt(InterpClient& compute, const v1::LogitLensSpec& spec, Plan plan,
          JobContext& job)
      : compute_(compute),
        spec_(spec),
        plan_(std::move(plan)),
        job_(job),
        call_{.cancelled = [&job] { return job.cancelled(); },
              .spend = &job.spend()},
        variants_(spec.variants().begin(), spec.variants().end()),
        networks_(job, NamesOf(spec), Sha256Of(spec.data()), 0) {}

  // Reads what earlier attempts recorded, and asks how the questions are put.
  absl::Status Begin() {
    ASSIGN_OR_RETURN(const v1::Model model,
                     compute_.GetModel(variants_.front().model()));
    block_count_ = model.block_count();
    RETURN_IF_ERROR(LensPlaces(spec_, block_count_).status());
    ASSIGN_OR_RETURN(const std::vector<std::string> stored,
                     job_.RecordedItems());
    for (size_t i = 0; i < stored.size(); ++i) {
      LensRecord record;
      if (!record.ParseFromString(stored[i]) || i >= plan_.set.inputs.size() ||
          record.id() != plan_.set.inputs[i].id()) {
        return absl::DataLossError(
            absl::StrCat("record ", i, ": not of a prompt of this job"));
      }
      records_.push_back(std::move(record));
    }
    RETURN_IF_ERROR(networks_.Resume(records_.size()));
    if (!records_.empty()) {
      RETURN_IF_ERROR(
          job_.Log(absl::StrCat("resumes after ", records_.size(), " of ",
                                plan_.set.inputs.size(), " prompts")));
    }
    ASSIGN_OR_RETURN(rendered_, RenderPrompts(plan_.set, variants_,
                                              plan_.scoring, compute_, call_));
    return absl::OkStatus();
  }

  absl::Status ReadRest() {
    while (records_.size() < rendered_.inputs.size()) {
      if (job_.cancelled()) return absl::CancelledError("cancelled");
      RETURN_IF_ERROR(ReadBatch(
          records_.size(), std::min(kPromptsPerBatch, rendered_.inputs.size() -
                                                          records_.size())));
    }
    return absl::OkStatus();
  }

  absl::Status WriteFiles();

 private:
  std::vector<v1::Candidate> CandidatesOf(size_t prompt) const {
    if (spec_.candidates().empty()) return rendered_.candidates[prompt];
    return {spec_.candidates().begin(), spec_.candidates().end()};
  }
  v1::LogitLensRequest MakeRequest(size_t first, size_t count) const;
  absl::Status ReadBatch(size_t first, size_t count);

  InterpClient& compute_;
  const v1::LogitLensSpec& spec_;
  const Plan plan_;
  JobContext& job_;
  const CallOptions call_;
  const std::vector<v1::Variant> variants_;
  KeptNetworks networks_;
  int32_t block_count_ = 0;
  RenderedPrompts rendered_;
  std::vector<LensRecord> records_;
};

v1::LogitLensRequest Attempt::MakeRequest(size_t first, size_t count) const {
  v1::LogitLensRequest request;
  *request.mutable_variants() = spec_.variants();
  *request.mutable_sites() = spec_.sites();
  *request.mutable_blocks() = spec_.blocks();
  if (spec_.has_positions()) *request.mutable_positions() = spec_.positions();
  request.set_top_k(spec_.top_k() == 0 ? 1 : spec_.top_k());
  std::set<int32_t> tokens;
  for (size_t i = first; i < first + count; ++i) {
    *request.add_inputs() = rendered_.inputs[i];
    for (const v1::Candidate& each : CandidatesOf(i)) {
      if (!tokens.insert(each.token_id()).second) continue;
      v1::Candidate& watched = *request.add_candidates();
      watched.set_name(absl::StrCat("token ", each.token_id()));
      watched.set_token_id(each.token_id());
    }
  }
  return request;
}

absl::Status Attempt::ReadBatch(size_t first, size_t count) {
  std::vector<LensRecord> batch(count);
  for (size_t i = 0; i < count; ++i) {
    batch[i].set_id(rendered_.inputs[first + i].id());
  }
  std::vector<v1::Provenance> provenance;
  const v1::LogitLensRequest request = MakeRequest(first, count);
  RETURN_IF_ERROR(compute_.LogitLens(
      request, call_, [&](const v1::LogitLensResponse& message) {
        if (message.has_summary()) {
          provenance.assign(message.summary().provenance().begin(),
                            message.summary().provenance().end());
          return absl::OkStatus();
        }
        const auto input =
            static_cast<size_t>(message.position().row().input_index());
        if (input >= count) {
          return absl::InternalError("the worker's lens read another prompt");
        }
        v1::LensPosition& position = *batch[input].add_positions();
        position = message.position();
        position.mutable_row()->set_input_index(
            static_cast<int32_t>(first + input));
        return Narrow(CandidatesOf(first + input), block_count_, position);
      }));
  RETURN_IF_ERROR(networks_.Keep(provenance, records_.size()));
  std::vector<std::string> items;
  for (const LensRecord& record : batch) {
    items.push_back(record.SerializeAsString());
  }
  RETURN_IF_ERROR(job_.RecordItems(
      static_cast<int64_t>(first), items,
      static_cast<int64_t>(rendered_.inputs.size()), "prompts"));
  std::move(batch.begin(), batch.end(), std::back_inserter(records_));
  return absl::OkStatus();
}

absl::Status Attempt::WriteFiles() {
  const LensOutcome outcome{.set = plan_.set,
                            .variants = VariantLabels(variants_),
                            .prompts = records_,
                            .block_count = block_count_};
  nlohmann::json variants = nlohmann::json::array();
  for (size_t v = 0; v < variants_.size(); ++v) {
    nlohmann::json own = VariantJson(variants_[v], networks_.all()[v]);
    own["name"] = outcome.variants[v];
    variants.push_back(std::move(own));
  }
  return AddFiles(job_, LensFiles(outcome),
                  {{"kind", "logit_lens"},
                   {"data",
                    {{"name", spec_.data_name()},
                     {"sha256", Sha256Of(spec_.data())},
                     {"row_count", plan_.set.inputs.size()}}},
                   {"scoring", McqScoringName(plan_.scoring)},
                   {"block_count", block_count_},
                   {"variants", std::move(variants)}});
}

}  // namespace

absl::Status LogitLens::Validate(const v1::JobSpec& spec) {
  RETURN_IF_ERROR(MakePlan(spec).status());
  const v1::LogitLensSpec& lens = spec.logit_lens();
  RETURN_IF_ERROR(Fields().CheckLoaded(lens.variants(), compute_));
  ASSIGN_OR_RETURN(const v1::Model model,
                   compute_.GetModel(lens.variants(0).model()));
  for (int i = 0; i < lens.candidates_size(); ++i) {
    const int32_t token = lens.candidates(i).token_id();
    if (token >= 0 && token < model.vocab_size()) continue;
    return Fields().Bad(absl::StrCat("candidates[", i, "].token_id"),
                        absl::StrCat(token, " is not a token of ", model.name(),
                                     ", which has ", model.vocab_size()));
  }
  return LensPlaces(lens, model.block_count()).status();
}

absl::Status LogitLens::Run(const v1::JobSpec& spec, JobContext& job) {
  ASSIGN_OR_RETURN(Plan plan, MakePlan(spec));
  Attempt attempt(compute_, spec.logit_lens(), std::move(plan), job);
  RETURN_IF_ERROR(attempt.Begin());
  RETURN_IF_ERROR(attempt.ReadRest());
  return attempt.WriteFiles();
}

DeviceMemory LogitLens::Memory(const v1::JobSpec& spec) {
  return MemoryOf(spec.logit_lens().variants(), compute_);
}

}  // namespace dissonance
