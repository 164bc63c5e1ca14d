#include "src/lab/interp/patch_sweep.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/interp/kept_networks.h"
#include "src/lab/interp/patch_files.h"
#include "src/lab/interp/patch_plan.h"
#include "src/lab/interp/patch_record.h"
#include "src/lab/interp/prompt_set.h"
#include "src/lab/jobs/job_files.h"

namespace dissonance {
namespace {

constexpr char kUnit[] = "prompts";

absl::StatusOr<PatchPlan> PlanOf(InterpClient& compute,
                                 const v1::JobSpec& spec) {
  if (!spec.has_patch_sweep()) {
    return absl::InvalidArgumentError("spec.kind: expected patch_sweep");
  }
  ASSIGN_OR_RETURN(const v1::Model model,
                   compute.GetModel(spec.patch_sweep().target().model()));
  return MakePatchPlan(spec.patch_sweep(), model);
}

// A prompt that is ready to be patched.
struct ReadyPrompt {
  v1::Input input;
  std::vector<v1::Candidate> candidates;  // two
};

// One attempt at a job: the prompts that have no record yet, then the files.
class Attempt {
 public:
  Attempt(InterpClient& compute, const v1::PatchSweepSpec& spec, PatchPlan plan,
          JobContext& job)
      : compute_(compute),
        spec_(spec),
        plan_(std::move(plan)),
        job_(job),
        call_{.cancelled = [&job] { return job.cancelled(); },
              .spend = &job.spend()},
        networks_(job, {NetworkName(spec.source()), NetworkName(spec.target())},
                  Sha256Of(spec.data()), /*seed=*/0) {}

  // Which prompts are patched, and which of two answers in each.
  absl::Status ReadPrompts();
  absl::Status Resume();
  absl::Status PatchRest();
  absl::Status WriteOutputs();

 private:
  absl::StatusOr<int> TokenCountOf(const v1::Input& input);
  absl::StatusOr<PatchedPrompt> PatchOne(const ReadyPrompt& prompt);

  InterpClient& compute_;
  const v1::PatchSweepSpec& spec_;
  const PatchPlan plan_;
  JobContext& job_;
  const CallOptions call_;
  KeptNetworks networks_;
  std::vector<ReadyPrompt> prompts_;
  std::vector<PatchedPrompt> patched_;
};

absl::Status Attempt::ReadPrompts() {
  ASSIGN_OR_RETURN(RenderedPrompts rendered,
                   RenderPrompts(plan_.prompts, {spec_.target()}, plan_.scoring,
                                 compute_, call_));
  std::vector<std::string> left_out;
  for (size_t i = 0; i < rendered.inputs.size(); ++i) {
    std::vector<v1::Candidate> candidates(plan_.request.candidates().begin(),
                                          plan_.request.candidates().end());
    if (candidates.empty()) candidates = std::move(rendered.candidates[i]);
    if (candidates.size() == 2) {
      prompts_.push_back(
          {std::move(rendered.inputs[i]), std::move(candidates)});
      continue;
    }
    left_out.push_back(rendered.inputs[i].id());
  }
  if (!left_out.empty() && !prompts_.empty()) {
    RETURN_IF_ERROR(job_.Log(absl::StrCat(
        left_out.size(),
        " left out, as both answers begin with the same token, so that one "
        "token does not tell them apart: ",
        absl::StrJoin(left_out, ", "))));
  }
  if (!prompts_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "patch_sweep.data: in all questions both answers begin with the same "
      "token; name candidates, or another scoring");
}

absl::Status Attempt::Resume() {
  ASSIGN_OR_RETURN(const std::vector<std::string> stored, job_.RecordedItems());
  RETURN_IF_ERROR(networks_.Resume(stored.size()));
  if (stored.size() > prompts_.size()) {
    return absl::DataLossError(absl::StrCat(stored.size(), " records for ",
                                            prompts_.size(), " prompts"));
  }
  for (size_t i = 0; i < stored.size(); ++i) {
    const std::string where = absl::StrCat("record ", i);
    ASSIGN_OR_RETURN(PatchedPrompt prompt, DecodePatches(stored[i], where));
    if (prompt.id != prompts_[i].input.id() ||
        prompt.runs.size() != plan_.runs.size()) {
      return absl::DataLossError(absl::StrCat(
          where, ": ", prompt.runs.size(), " runs of prompt ", prompt.id,
          ", expected ", plan_.runs.size(), " of ", prompts_[i].input.id()));
    }
    patched_.push_back(std::move(prompt));
  }
  if (stored.empty()) return absl::OkStatus();
  return job_.Log(absl::StrCat("resumes after ", stored.size(), " of ",
                               prompts_.size(), " prompts"));
}

absl::StatusOr<int> Attempt::TokenCountOf(const v1::Input& input) {
  if (input.has_tokens()) return input.tokens().ids_size();
  if (input.has_chat()) {
    v1::RenderChatRequest request;
    request.set_model(spec_.target().model());
    *request.mutable_chat() = input.chat();
    ASSIGN_OR_RETURN(const v1::RenderChatResponse response,
                     compute_.RenderChat(request, call_));
    return response.ids_size();
  }
  v1::TokenizeRequest request;
  request.set_model(spec_.target().model());
  request.set_text(input.text());
  request.set_skip_special_tokens(input.skip_special_tokens());
  ASSIGN_OR_RETURN(const v1::TokenizeResponse response,
                   compute_.Tokenize(request, call_));
  return response.ids_size();
}

absl::StatusOr<PatchedPrompt> Attempt::PatchOne(const ReadyPrompt& prompt) {
  PatchedPrompt patched;
  patched.id = prompt.input.id();
  ASSIGN_OR_RETURN(patched.token_count, TokenCountOf(prompt.input));
  v1::PatchRequest request = plan_.request;
  *request.add_inputs() = prompt.input;
  request.mutable_candidates()->Assign(prompt.candidates.begin(),
                                       prompt.candidates.end());
  *request.mutable_positions() = PatchPositions(plan_, patched.token_count);
  for (const PatchRun& run : plan_.runs) {
    *request.mutable_source() = run.reversed ? spec_.target() : spec_.source();
    *request.mutable_target() = run.reversed ? spec_.source() : spec_.target();
    request.set_method(run.method);
    ASSIGN_OR_RETURN(const v1::PatchResponse response,
                     compute_.Patch(request, call_));
    std::vector<v1::Provenance> provenance(response.provenance().begin(),
                                           response.provenance().end());
    if (run.reversed) std::reverse(provenance.begin(), provenance.end());
    RETURN_IF_ERROR(networks_.Keep(provenance, patched_.size()));
    ASSIGN_OR_RETURN(PatchedRun rows, PatchedRunOf(run, response));
    patched.runs.push_back(std::move(rows));
  }
  return patched;
}

absl::Status Attempt::PatchRest() {
  while (patched_.size() < prompts_.size()) {
    if (job_.cancelled()) return absl::CancelledError("cancelled");
    const ReadyPrompt& prompt = prompts_[patched_.size()];
    absl::StatusOr<PatchedPrompt> patched = PatchOne(prompt);
    RETURN_IF_ERROR(
        Annotate(patched.status(), absl::StrCat("prompt ", prompt.input.id())));
    RETURN_IF_ERROR(job_.RecordItems(static_cast<int64_t>(patched_.size()),
                                     {EncodePatches(*patched)},
                                     std::ssize(prompts_), kUnit));
    patched_.push_back(*std::move(patched));
  }
  return absl::OkStatus();
}

absl::Status Attempt::WriteOutputs() {
  return AddFiles(
      job_, PatchFiles(plan_, patched_),
      PatchManifest(spec_, plan_, patched_.size(), networks_.all()));
}

}  // namespace

absl::Status PatchSweep::Validate(const v1::JobSpec& spec) {
  RETURN_IF_ERROR(Annotate(compute_.CheckVariant(spec.patch_sweep().source()),
                           "patch_sweep.source"));
  RETURN_IF_ERROR(Annotate(compute_.CheckVariant(spec.patch_sweep().target()),
                           "patch_sweep.target"));
  return PlanOf(compute_, spec).status();
}

absl::Status PatchSweep::Run(const v1::JobSpec& spec, JobContext& job) {
  ASSIGN_OR_RETURN(PatchPlan plan, PlanOf(compute_, spec));
  Attempt attempt(compute_, spec.patch_sweep(), std::move(plan), job);
  RETURN_IF_ERROR(attempt.ReadPrompts());
  RETURN_IF_ERROR(attempt.Resume());
  RETURN_IF_ERROR(attempt.PatchRest());
  return attempt.WriteOutputs();
}

DeviceMemory PatchSweep::Memory(const v1::JobSpec& spec) {
  const std::string& model = spec.patch_sweep().target().model();
  return {{model, compute_.WeightBytes(model)}};
}

}  // namespace dissonance
