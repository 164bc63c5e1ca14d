#include "src/lab/jobs/job_recorder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "src/base/failpoint.h"
#include "src/base/status_macros.h"
#include "src/lab/artifacts/artifact_writer.h"
#include "src/lab/jobs/event_text.h"
#include "src/lab/jobs/failpoints.h"
#include "src/lab/jobs/job_state.h"

namespace dissonance {
namespace {

constexpr size_t kMaxFileName = 255;
constexpr int64_t kPieceBytes = 1 << 20;

// Of a file or of its folder.
bool IsPlain(absl::string_view name) {
  return !name.empty() && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
         });
}

// Clients write outputs to files of these names.
absl::Status CheckFileName(absl::string_view name) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(name, absl::MaxSplits('/', 1));
  const bool is_plain = absl::StrContains(name, '/')
                            ? IsPlain(parts.first) && IsPlain(parts.second)
                            : IsPlain(name);
  if (is_plain && name.size() <= kMaxFileName) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "output file name \"", absl::CHexEscape(name.substr(0, kMaxFileName)),
      "\": use 1-255 of letters, digits, '.', '_', '-', not beginning with "
      "'.', in one folder at most"));
}

absl::Status CheckRange(const v1::Job& job, const ItemBatch& batch) {
  const int64_t recorded = job.progress().done_count();
  const int64_t done = recorded + static_cast<int64_t>(batch.items.size());
  if (batch.first_index != recorded) {
    return absl::FailedPreconditionError(
        absl::StrCat(job.name(), ": items from index ", batch.first_index,
                     " were to be recorded, but the next one is ", recorded));
  }
  if (batch.total_count < done) {
    return absl::InvalidArgumentError(
        absl::StrCat(job.name(), ": total_count ", batch.total_count,
                     " is less than the ", done, " items recorded"));
  }
  return absl::OkStatus();
}

bool HasOutput(const v1::Job& job, const v1::JobOutput& output) {
  return std::any_of(job.outputs().begin(), job.outputs().end(),
                     [&output](const v1::JobOutput& other) {
                       return other.file_name() == output.file_name() &&
                              other.artifact() == output.artifact();
                     });
}

// OK if attempt number `attempt` of the job may still write.
absl::Status CheckAttempt(const v1::Job& job, int32_t attempt) {
  if (IsUnderWay(job.state()) && job.attempt_count() == attempt) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "attempt ", attempt, " of ", job.name(),
      " is over and may record nothing: the job is ", StateName(job.state()),
      " after ", job.attempt_count(), " attempts"));
}

void Charge(const DeviceSpend::Amount& amount, absl::Time now,
            JobChange& change) {
  v1::JobUsage& usage = *change.stored.job.mutable_usage();
  usage.set_device_seconds(usage.device_seconds() + amount.device_seconds);
  usage.set_token_count(usage.token_count() + amount.token_count);
  if (amount.device_seconds == 0 && amount.token_count == 0) return;
  change.use = {.user = change.stored.owner,
                .hour = HourOf(now),
                .device_seconds = amount.device_seconds,
                .token_count = amount.token_count};
}

}  // namespace

absl::StatusOr<StoredJob> UpdateByAttempt(
    const RecordServices& services, const Attempt& attempt,
    absl::FunctionRef<absl::Status(JobChange&, absl::Time now)> edit) {
  const absl::Time now = services.clock.Now();
  const DeviceSpend::Amount amount = attempt.spend.Take();
  absl::StatusOr<StoredJob> stored = services.store.Update(
      attempt.job.name(), now, [&](JobChange& change) -> absl::Status {
        RETURN_IF_ERROR(
            CheckAttempt(change.stored.job, attempt.job.attempt_count()));
        Charge(amount, now, change);
        return edit(change, now);
      });
  if (!stored.ok()) {
    attempt.spend.Add(amount.device_seconds, amount.token_count);
  } else if (services.ledger != nullptr) {
    services.ledger->AddStored(stored->owner, amount.device_seconds,
                               amount.token_count);
  }
  return stored;
}

JobRecorder::JobRecorder(const Services& services, StoredJob stored,
                         DeviceSpend& spend,
                         const std::atomic<int32_t>& stop_through)
    : services_(services),
      job_(std::move(stored.job)),
      owner_(std::move(stored.owner)),
      spend_(spend),
      stop_through_(stop_through),
      begin_(services.record.clock.Monotonic()) {}

absl::Status JobRecorder::Change(
    absl::FunctionRef<absl::Status(JobChange&)> edit) {
  return UpdateByAttempt(
             services_.record, {.job = job_, .spend = spend_},
             [edit](JobChange& change, absl::Time) { return edit(change); })
      .status();
}

absl::StatusOr<std::vector<std::string>> JobRecorder::RecordedItems() {
  return services_.record.store.Items(job_.name());
}

bool JobRecorder::is_given_up() {
  const absl::StatusOr<StoredJob> stored =
      services_.record.store.Get(job_.name(), JobStore::Spec::kWithoutData);
  return stored.ok() && stored->job.state() == v1::JOB_STATE_CANCELLING;
}

absl::Status JobRecorder::Record(const ItemBatch& batch) {
  const int64_t done =
      batch.first_index + static_cast<int64_t>(batch.items.size());
  const double seconds =
      absl::ToDoubleSeconds(services_.record.clock.Monotonic() - begin_);
  const auto new_in_run =
      static_cast<double>(done - job_.progress().done_count());
  Failpoint(kFailpointBeforeRecord);
  RETURN_IF_ERROR(Change([&](JobChange& change) -> absl::Status {
    RETURN_IF_ERROR(CheckRange(change.stored.job, batch));
    v1::Progress& progress = *change.stored.job.mutable_progress();
    progress.set_done_count(done);
    progress.set_total_count(batch.total_count);
    progress.set_unit(EventText(batch.unit));
    progress.set_rate(seconds > 0 ? new_in_run / seconds : 0);
    if (!batch.items.empty()) change.stored.lost_count = 0;
    change.items = batch.items;
    *change.events.emplace_back().mutable_progress() = progress;
    for (const v1::MetricPoint& point : batch.metrics) {
      *change.events.emplace_back().mutable_metrics() = point;
    }
    return absl::OkStatus();
  }));
  Failpoint(kFailpointItemsRecorded);
  services_.hub.Notify(job_.name());
  return absl::OkStatus();
}

absl::Status JobRecorder::Log(absl::string_view line) {
  RETURN_IF_ERROR(Change([&](JobChange& change) {
    change.events.emplace_back().set_log(EventText(line));
    return absl::OkStatus();
  }));
  services_.hub.Notify(job_.name());
  return absl::OkStatus();
}

// Without the owner's limit, here and below: computed results are not thrown
// away for it.
absl::Status JobRecorder::AddOutput(absl::string_view file_name,
                                    absl::string_view media_type,
                                    absl::string_view contents,
                                    OutputKind kind) {
  RETURN_IF_ERROR(CheckFileName(file_name));
  ASSIGN_OR_RETURN(
      const v1::Artifact artifact,
      services_.artifacts.Put(contents, media_type, {.user = owner_}));
  return Name(file_name, artifact, kind).status();
}

absl::StatusOr<v1::JobOutput> JobRecorder::Name(absl::string_view file_name,
                                                const v1::Artifact& artifact,
                                                OutputKind kind) {
  Failpoint(kFailpointOutputWritten);
  v1::JobOutput output;
  output.set_file_name(std::string(file_name));
  output.set_artifact(artifact.name());
  output.set_size_bytes(artifact.size_bytes());
  output.set_names_run(kind == OutputKind::kNamesRun);
  RETURN_IF_ERROR(Change([&](JobChange& change) {
    // A resumed attempt adds what is there already: no news.
    if (HasOutput(change.stored.job, output)) return absl::OkStatus();
    change.output = output;
    *change.events.emplace_back().mutable_output() = output;
    return absl::OkStatus();
  }));
  Failpoint(kFailpointOutputStored);
  services_.hub.Notify(job_.name());
  return output;
}

class JobRecorder::Writer : public OutputWriter {
 public:
  Writer(JobRecorder& job, absl::string_view file_name, OutputKind kind,
         ArtifactWriter file)
      : job_(job), file_name_(file_name), kind_(kind), file_(std::move(file)) {}

  absl::Status Append(absl::string_view bytes) override {
    return Annotate(file_.Append(bytes), file_name_);
  }
  absl::StatusOr<v1::JobOutput> Commit() override {
    const absl::StatusOr<v1::Artifact> artifact = file_.Commit();
    if (!artifact.ok()) return Annotate(artifact.status(), file_name_);
    return job_.Name(file_name_, *artifact, kind_);
  }

 private:
  JobRecorder& job_;
  const std::string file_name_;
  const OutputKind kind_;
  ArtifactWriter file_;
};

absl::StatusOr<std::unique_ptr<OutputWriter>> JobRecorder::OpenOutput(
    absl::string_view file_name, absl::string_view media_type,
    OutputKind kind) {
  RETURN_IF_ERROR(CheckFileName(file_name));
  ASSIGN_OR_RETURN(ArtifactWriter file,
                   ArtifactWriter::Create(services_.artifacts, media_type,
                                          {.user = owner_}));
  return std::make_unique<Writer>(*this, file_name, kind, std::move(file));
}

absl::StatusOr<std::vector<v1::JobOutput>> JobRecorder::Outputs() {
  ASSIGN_OR_RETURN(
      const StoredJob stored,
      services_.record.store.Get(job_.name(), JobStore::Spec::kWithoutData));
  return std::vector<v1::JobOutput>(stored.job.outputs().begin(),
                                    stored.job.outputs().end());
}

absl::Status JobRecorder::ReadOutput(
    absl::string_view file_name,
    absl::FunctionRef<absl::Status(std::string piece)> take) {
  ASSIGN_OR_RETURN(const std::vector<v1::JobOutput> outputs, Outputs());
  const auto output = std::find_if(outputs.begin(), outputs.end(),
                                   [file_name](const v1::JobOutput& each) {
                                     return each.file_name() == file_name;
                                   });
  if (output == outputs.end()) {
    return absl::NotFoundError(
        absl::StrCat(job_.name(), " has no output ", file_name));
  }
  ASSIGN_OR_RETURN(const ArtifactReader reader,
                   services_.artifacts.Open(output->artifact()));
  for (int64_t at = 0; at < output->size_bytes(); at += kPieceBytes) {
    ASSIGN_OR_RETURN(std::string piece, reader.Read(at, kPieceBytes));
    RETURN_IF_ERROR(take(std::move(piece)));
  }
  return absl::OkStatus();
}

absl::Status JobRecorder::RemoveOutput(absl::string_view file_name) {
  ASSIGN_OR_RETURN(const std::vector<v1::JobOutput> outputs, Outputs());
  RETURN_IF_ERROR(Change([file_name](JobChange& change) {
    change.removed_output = file_name;
    return absl::OkStatus();
  }));
  Failpoint(kFailpointOutputRemoved);
  for (const v1::JobOutput& output : outputs) {
    if (output.file_name() == file_name) GiveUpArtifact(output.artifact());
  }
  return absl::OkStatus();
}

void JobRecorder::GiveUpArtifact(const std::string& name) {
  const Viewer owner = {.user = owner_};
  const absl::StatusOr<v1::Artifact> artifact =
      services_.artifacts.Get(name, owner);
  if (!artifact.ok() || artifact->pinned()) return;
  // What something else names stays; what stays by a failure is garbage.
  (void)services_.artifacts.Delete(name, owner);
}

absl::Status JobRecorder::SetProvenance(
    absl::Span<const v1::Provenance> provenance) {
  return Change([&](JobChange& change) {
    change.stored.job.mutable_provenance()->Assign(provenance.begin(),
                                                   provenance.end());
    return absl::OkStatus();
  });
}

}  // namespace dissonance
