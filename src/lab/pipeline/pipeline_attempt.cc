#include "src/lab/pipeline/pipeline_attempt.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/files/json_document.h"
#include "src/lab/files/row_files.h"
#include "src/lab/jobs/job_files.h"
#include "src/lab/jobs/job_state.h"
#include "src/lab/pipeline/gates.h"
#include "src/lab/pipeline/stage_digest.h"
#include "src/lab/pipeline/stage_ending.h"
#include "src/lab/pipeline/stage_fields.h"
#include "src/lab/report/report_stage.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

// How soon it sees that it is to stop.
constexpr absl::Duration kLookAgain = absl::Milliseconds(250);
constexpr absl::Duration kFirstWait = absl::Seconds(1);
constexpr absl::Duration kLongestWait = absl::Seconds(30);
constexpr char kDirectionFile[] = "direction.safetensors";
constexpr char kWasReplaced[] =
    " was replaced while the pipeline ran; run it anew";
// Between two that tell how far a stage under way is.
constexpr absl::Duration kProgressInterval = absl::Seconds(2);

absl::StatusOr<std::string> ArtifactOf(const v1::Job& job,
                                       const std::string& file,
                                       const std::string& stage) {
  for (const v1::JobOutput& output : job.outputs()) {
    if (output.file_name() == file) return output.artifact();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("stage ", stage, " has no file ", file));
}

}  // namespace

PipelineAttempt::PipelineAttempt(const PipelineParts& parts,
                                 const v1::PipelineSpec& spec,
                                 std::vector<PlannedStage> stages)
    : parts_(parts),
      spec_(spec),
      owner_(absl::StripPrefix(parts.job.job().owner(), "users/")) {
  for (PlannedStage& each : stages) {
    stages_.push_back({.plan = std::move(each)});
  }
}

absl::Status PipelineAttempt::Run() {
  RETURN_IF_ERROR(ReadRecords());
  const absl::Status followed = RunStages();
  if (!followed.ok()) {
    // Why the stage failed is what is told, if this does, too.
    if (!ended_by_.empty()) WriteFiles().IgnoreError();
    return followed;
  }
  if (!abort_reason_.empty()) RETURN_IF_ERROR(CancelStages());
  RETURN_IF_ERROR(WriteFiles());
  return abort_reason_.empty()
             ? absl::OkStatus()
             : absl::FailedPreconditionError(absl::StrCat(
                   abort_reason_,
                   "; report.html tells more, --force goes on all the same"));
}

absl::Status PipelineAttempt::RunStages() {
  while (!IsOver()) {
    if (parts_.job.cancelled()) {
      if (parts_.job.is_given_up()) RETURN_IF_ERROR(CancelStages());
      return absl::CancelledError("cancelled");
    }
    RETURN_IF_ERROR(BeginReady());
    RETURN_IF_ERROR(Follow());
    if (IsOver()) break;
    const bool has_more =
        std::any_of(stages_.begin(), stages_.end(),
                    [this](const Stage& stage) { return CanBegin(stage); });
    if (!has_more) parts_.jobs.AwaitNews(JobsUnderWay(), kLookAgain);
  }
  return absl::OkStatus();
}

absl::Status PipelineAttempt::ReadRecords() {
  ASSIGN_OR_RETURN(const std::vector<std::string> items,
                   parts_.job.RecordedItems());
  for (const std::string& item : items) {
    ASSIGN_OR_RETURN(const Json record, ParseJson(item, "record"));
    recorded_[record.value("stage", "")] = record.value("digest", "");
  }
  if (items.empty()) return absl::OkStatus();
  return parts_.job.Log(absl::StrCat("goes on after ", items.size(), " of ",
                                     stages_.size(), " stages"));
}

bool PipelineAttempt::IsReady(const Stage& stage) const {
  return !stage.is_begun &&
         std::all_of(stage.plan.needs.begin(), stage.plan.needs.end(),
                     [this](size_t need) { return stages_[need].is_done; });
}

bool PipelineAttempt::CanBegin(const Stage& stage) const {
  return IsReady(stage) && stage.not_before <= parts_.clock.Monotonic();
}

std::set<const PipelineAttempt::Stage*> PipelineAttempt::ToldStages() const {
  std::set<const Stage*> told;
  std::vector<const Stage*> next;
  for (const Stage& stage : stages_) {
    // What else was there at an abort depends on how fast things were.
    const bool begins = aborted_ == nullptr || aborted_ == &stage;
    if (stage.is_done && begins) next.push_back(&stage);
  }
  while (!next.empty()) {
    const Stage* stage = next.back();
    next.pop_back();
    if (!told.insert(stage).second) continue;
    for (const size_t need : stage->plan.needs) {
      next.push_back(&stages_[need]);
    }
  }
  return told;
}

bool PipelineAttempt::IsOver() const {
  return !abort_reason_.empty() ||
         std::all_of(stages_.begin(), stages_.end(),
                     [](const Stage& stage) { return stage.is_done; });
}

std::vector<std::string> PipelineAttempt::JobsUnderWay() const {
  std::vector<std::string> names;
  for (const Stage& stage : stages_) {
    if (stage.is_begun && !stage.is_done) names.push_back(stage.job.name());
  }
  return names;
}

PipelineAttempt::Stage& PipelineAttempt::Named(const std::string& name) {
  return *std::find_if(stages_.begin(), stages_.end(), [&](const Stage& each) {
    return each.plan.stage.name() == name;
  });
}

absl::Status PipelineAttempt::BeginReady() {
  const auto is_recorded = [this](const Stage& stage) {
    return recorded_.contains(stage.plan.stage.name());
  };
  // Gates of what is there already come before new work.
  const bool only_recorded =
      std::any_of(stages_.begin(), stages_.end(), [&](const Stage& stage) {
        return CanBegin(stage) && is_recorded(stage);
      });
  for (Stage& stage : stages_) {
    if (!CanBegin(stage) || (only_recorded && !is_recorded(stage))) continue;
    const std::string& name = stage.plan.stage.name();
    const absl::Status begun = Begin(stage);
    // The worker is being started again, or the owner has as much in the queue
    // or in artifacts as he may.
    if (absl::IsUnavailable(begun) || absl::IsResourceExhausted(begun)) {
      if (stage.wait == absl::ZeroDuration()) {
        RETURN_IF_ERROR(parts_.job.Log(
            absl::StrCat("stage ", name, " waits: ", begun.message())));
      }
      stage.wait = std::clamp(2 * stage.wait, kFirstWait, kLongestWait);
      stage.not_before = parts_.clock.Monotonic() + stage.wait;
      continue;
    }
    if (IsOfTheSpec(begun)) {
      ended_by_ = absl::StrCat("stage ", name,
                               ", which can't begin: ", begun.message());
    }
    RETURN_IF_ERROR(WithAdvice(name, begun));
  }
  return absl::OkStatus();
}

absl::Status PipelineAttempt::FillInputs(const Stage& stage, Asked& asked,
                                         v1::JobSpec& canonical) {
  for (const v1::StageInput& input : stage.plan.stage.inputs()) {
    const Stage& source = Named(input.stage());
    ASSIGN_OR_RETURN(const InputKind kind, InputKindOf(input, asked.spec));
    std::string value;
    std::string in_digest;
    std::string in_report;
    if (kind == InputKind::kArtifact) {
      ASSIGN_OR_RETURN(value,
                       ArtifactOf(source.job, input.file(), input.stage()));
      in_digest = in_report = value;
    } else if (kind == InputKind::kJob) {
      value = source.job.name();
      absl::StrAppend(&asked.source_jobs, value, " ");
      in_digest = source.digest;
      in_report = absl::StrCat("stage ", input.stage());
    } else {
      ASSIGN_OR_RETURN(value,
                       parts_.jobs.ReadOutput(source.job, kDirectionFile));
      in_digest = in_report = value;
    }
    RETURN_IF_ERROR(FillInput(input, value, asked.spec));
    RETURN_IF_ERROR(FillInput(input, in_digest, canonical));
    RETURN_IF_ERROR(FillInput(input, in_report, asked.shown));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> PipelineAttempt::DigestOf(
    const v1::JobSpec& spec, const v1::JobSpec& canonical) {
  std::map<std::string, std::string> networks;
  for (const std::string& name : NetworksIn(spec)) {
    ASSIGN_OR_RETURN(const std::string digest, parts_.jobs.NetworkDigest(name));
    if (networks_.emplace(name, digest).first->second != digest) {
      return absl::FailedPreconditionError(absl::StrCat(name, kWasReplaced));
    }
    networks[name] = digest;
  }
  // Two users can't give one name to their adapters.
  const std::string by =
      spec.has_fine_tune() ? absl::StrCat(" of ", owner_) : "";
  return StageDigest(canonical, networks, absl::StrCat(parts_.release, by));
}

absl::StatusOr<PipelineAttempt::Asked> PipelineAttempt::Ask(
    const Stage& stage) {
  Asked asked = {.spec = stage.plan.stage.spec()};
  // What is there under a name with its digest came of the same.
  if (asked.spec.has_fine_tune()) {
    asked.spec.mutable_fine_tune()->set_replace(true);
  }
  asked.shown = asked.spec;
  for (const size_t need : stage.plan.needs) {
    const Stage& source = stages_[need];
    if (source.adapter.empty()) continue;
    RenameAdapter(source.plan.output_adapter, source.adapter, asked.spec);
    RenameAdapter(source.plan.output_adapter, source.adapter, asked.shown);
  }
  v1::JobSpec canonical = asked.shown;
  RETURN_IF_ERROR(FillInputs(stage, asked, canonical));
  ASSIGN_OR_RETURN(asked.digest, DigestOf(asked.spec, canonical));
  return asked;
}

absl::Status PipelineAttempt::Begin(Stage& stage) {
  const std::string& name = stage.plan.stage.name();
  ASSIGN_OR_RETURN(Asked asked, Ask(stage));
  const auto recorded = recorded_.find(name);
  if (recorded != recorded_.end() && recorded->second != asked.digest) {
    return absl::FailedPreconditionError(
        "a network, an input or the server's release has changed since it was "
        "recorded; run the pipeline anew, which takes over what did not "
        "change");
  }
  if (!stage.plan.output_adapter.empty()) {
    stage.adapter =
        absl::StrCat(stage.plan.output_adapter, "-", Hex8(asked.digest));
    RenameAdapter(stage.plan.output_adapter, stage.adapter, asked.spec);
    RenameAdapter(stage.plan.output_adapter, stage.adapter, asked.shown);
  }
  ASSIGN_OR_RETURN(stage.job, MakeJob(asked));
  stage.may_retry = stage.job.state() == v1::JOB_STATE_CANCELLING;
  if (HasEnded(stage.job.state()) &&
      stage.job.state() != v1::JOB_STATE_SUCCEEDED) {
    RETURN_IF_ERROR(RetryJob(stage));
  }
  stage.digest = std::move(asked.digest);
  stage.shown_spec = std::move(asked.shown);
  stage.is_begun = true;
  const bool is_there = stage.job.state() == v1::JOB_STATE_SUCCEEDED;
  RETURN_IF_ERROR(parts_.job.Log(absl::StrCat(
      "stage ", name, is_there ? " is there: " : ": ", stage.job.name())));
  return WriteStages();
}

absl::StatusOr<v1::Job> PipelineAttempt::MakeJob(const Asked& asked) {
  const v1::Job& pipeline = parts_.job.job();
  // Nobody watches all stages: they are not to go before everybody.
  const v1::JobPriority priority =
      std::max(pipeline.priority(), v1::JOB_PRIORITY_NORMAL);
  const std::string first = StageRequestId(asked.digest, asked.source_jobs);
  const std::string request = absl::StrCat(first, ReplaySuffix(pipeline));
  // A training that is only repeated leaves the adapter as it is.
  if (request != first && asked.spec.has_fine_tune()) {
    const absl::StatusOr<v1::Job> replay =
        parts_.jobs.Replay(owner_, first, request, priority);
    if (!absl::IsNotFound(replay.status())) return replay;
  }
  return parts_.jobs.Create(owner_, asked.spec, request, priority);
}

absl::Status PipelineAttempt::RetryJob(Stage& stage) {
  const absl::Status retried = parts_.jobs.Retry(owner_, stage.job.name());
  // Another pipeline that waits for it was first.
  if (!absl::IsFailedPrecondition(retried)) RETURN_IF_ERROR(retried);
  ASSIGN_OR_RETURN(stage.job, parts_.jobs.Get(owner_, stage.job.name()));
  return absl::OkStatus();
}

absl::Status PipelineAttempt::Follow() {
  for (Stage& stage : stages_) {
    if (!stage.is_begun || stage.is_done) continue;
    const std::string& name = stage.plan.stage.name();
    absl::StatusOr<v1::Job> job = parts_.jobs.Get(owner_, stage.job.name());
    if (!job.ok()) return Annotate(job.status(), absl::StrCat("stage ", name));
    const bool has_changed = job->state() != stage.job.state();
    stage.job = *std::move(job);
    if (stage.job.state() == v1::JOB_STATE_SUCCEEDED) {
      RETURN_IF_ERROR(Finish(stage));
    } else if (HasEnded(stage.job.state()) && stage.may_retry) {
      stage.may_retry = false;
      RETURN_IF_ERROR(RetryJob(stage));
    } else if (HasEnded(stage.job.state())) {
      RETURN_IF_ERROR(WriteStages());
      ended_by_ =
          absl::StrCat("stage ", name, ", which ", StateName(stage.job.state()),
                       ": ", stage.job.reason());
      return StageEnded(name, stage.job);
    } else if (has_changed) {
      RETURN_IF_ERROR(WriteStages());
    }
    if (!abort_reason_.empty()) return absl::OkStatus();
  }
  return TellProgress();
}

absl::Status PipelineAttempt::TellProgress() {
  std::vector<NamedJob> under_way;
  for (const Stage& stage : stages_) {
    if (!stage.is_begun || stage.is_done) continue;
    under_way.push_back({stage.plan.stage.name(), &stage.job});
  }
  std::string unit = UnitWithProgress(under_way);
  const absl::Duration now = parts_.clock.Monotonic();
  if (unit == told_unit_ || now < next_tell_) return absl::OkStatus();
  next_tell_ = now + kProgressInterval;
  told_unit_ = std::move(unit);
  return parts_.job.RecordItems(static_cast<int64_t>(recorded_.size()), {},
                                static_cast<int64_t>(stages_.size()),
                                told_unit_);
}

absl::Status PipelineAttempt::CheckNetworks(const Stage& stage) const {
  const auto is_known = [this](const std::string& digest) {
    return digest.empty() ||
           std::any_of(networks_.begin(), networks_.end(),
                       [&digest](const auto& network) {
                         return absl::StrContains(network.second, digest);
                       });
  };
  for (const v1::Provenance& network : stage.job.provenance()) {
    // The adapter of a training is what it made.
    const bool is_same =
        is_known(network.model_digest()) &&
        (is_known(network.adapter_digest()) || !stage.adapter.empty());
    if (is_same) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("stage ", stage.plan.stage.name(), ": a network of ",
                     stage.job.name(), kWasReplaced,
                     ", and delete that job, whose results are not what they "
                     "are kept as"));
  }
  return absl::OkStatus();
}

absl::Status PipelineAttempt::Finish(Stage& stage) {
  const std::string& name = stage.plan.stage.name();
  RETURN_IF_ERROR(CheckNetworks(stage));
  if (!stage.adapter.empty() && parts_.job.job().replay_of().empty()) {
    RETURN_IF_ERROR(
        Annotate(parts_.jobs.EnsureAdapter(owner_, stage.job, stage.adapter),
                 absl::StrCat("stage ", name)));
  }
  stage.is_done = true;
  RETURN_IF_ERROR(WriteStages());
  if (recorded_.emplace(name, stage.digest).second) {
    const Json record = {
        {"stage", name}, {"job", stage.job.name()}, {"digest", stage.digest}};
    RETURN_IF_ERROR(parts_.job.RecordItems(
        static_cast<int64_t>(recorded_.size()) - 1, {record.dump()},
        static_cast<int64_t>(stages_.size()), kStagesUnit));
  }
  return JudgeGates(stage);
}

absl::Status PipelineAttempt::JudgeGates(Stage& stage) {
  const v1::PipelineStage& plan = stage.plan.stage;
  for (const int gate : plan.gates()) {
    ASSIGN_OR_RETURN(
        GateVerdict verdict,
        JudgeGate(static_cast<v1::Gate>(gate), plan.spec().kind_case(),
                  plan.name(),
                  [&](absl::string_view file) -> absl::StatusOr<Json> {
                    ASSIGN_OR_RETURN(const std::string text,
                                     parts_.jobs.ReadOutput(stage.job, file));
                    return ParseJson(text, file);
                  }));
    const bool aborts = verdict.status == GateStatus::kAbort;
    verdict.is_forced = aborts && spec_.force();
    const std::string told =
        absl::StrCat("gate ", verdict.gate, " of ", plan.name(), ": ",
                     GateStatusName(verdict.status),
                     verdict.is_forced ? ", forced" : "", ": ", verdict.text);
    RETURN_IF_ERROR(parts_.job.Log(told));
    if (aborts && !spec_.force() && abort_reason_.empty()) {
      abort_reason_ = told;
      ended_by_ = absl::StrCat("gate ", verdict.gate, " of ", plan.name());
      aborted_ = &stage;
    }
    stage.verdicts.push_back(std::move(verdict));
  }
  return absl::OkStatus();
}

absl::Status PipelineAttempt::CancelStages() {
  absl::Status status;
  for (const std::string& job : JobsUnderWay()) {
    const absl::Status cancelled = parts_.jobs.Cancel(owner_, job);
    // It may have ended just now.
    if (absl::IsFailedPrecondition(cancelled) || absl::IsNotFound(cancelled)) {
      continue;
    }
    status.Update(cancelled);
  }
  return status;
}

absl::Status PipelineAttempt::WriteStages() {
  Json stages = Json::array();
  for (const Stage& stage : stages_) {
    stages.push_back(
        {{"name", stage.plan.stage.name()},
         {"kind", KindName(stage.plan.stage.spec())},
         {"job", stage.is_begun ? stage.job.name() : ""},
         {"state", stage.is_begun ? StateName(stage.job.state()) : "WAITING"},
         {"digest", stage.digest}});
  }
  return parts_.job.AddOutput(kStagesFileName, MediaTypeOf(kStagesFileName),
                              JsonDocument({{"stages", std::move(stages)}}),
                              OutputKind::kNamesRun);
}

absl::StatusOr<ReportStage> PipelineAttempt::ReportOf(const Stage& stage) {
  v1::Job shown = stage.job;
  *shown.mutable_spec() = stage.shown_spec;
  ReportStage report = StageOf(stage.plan.stage.name(), shown);
  for (const v1::JobOutput& output : stage.job.outputs()) {
    const std::string& file = output.file_name();
    if (!ReportTakes(shown.spec().kind_case(), output) ||
        !report.digests.contains(file)) {
      continue;
    }
    ASSIGN_OR_RETURN(report.files[file],
                     parts_.jobs.ReadOutput(stage.job, file));
  }
  return report;
}

absl::Status PipelineAttempt::WriteFiles() {
  ReportRun run = {
      .title = spec_.title(), .stages = {}, .gates = {}, .ended_by = ended_by_};
  Json digests = Json::object();
  const std::set<const Stage*> told = ToldStages();
  for (const Stage& stage : stages_) {
    if (!told.contains(&stage)) {
      run.not_shown.push_back(stage.plan.stage.name());
      continue;
    }
    run.gates.insert(run.gates.end(), stage.verdicts.begin(),
                     stage.verdicts.end());
    digests[stage.plan.stage.name()] = stage.digest;
    ASSIGN_OR_RETURN(ReportStage report, ReportOf(stage));
    run.stages.push_back(std::move(report));
  }
  ASSIGN_OR_RETURN(std::vector<JobFile> files, MakeReport(run));
  files.push_back({kGatesFileName, GatesFile(run)});
  return AddFiles(parts_.job, files,
                  {{"kind", "pipeline"},
                   {"title", spec_.title()},
                   {"force", spec_.force()},
                   {"stages", std::move(digests)}});
}

}  // namespace dissonance
