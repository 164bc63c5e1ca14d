#include "src/lab/jobs/job_recorder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "src/base/failpoint.h"
#include "src/base/status_macros.h"
#include "src/lab/jobs/event_text.h"
#include "src/lab/jobs/failpoints.h"
#include "src/lab/jobs/job_state.h"

namespace dissonance {
namespace {

constexpr size_t kMaxFileName = 255;

// Clients write outputs to files of these names.
absl::Status CheckFileName(absl::string_view name) {
  const bool is_plain = std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
  });
  if (is_plain && !name.empty() && name.size() <= kMaxFileName &&
      name.front() != '.') {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "output file name \"", absl::CHexEscape(name.substr(0, kMaxFileName)),
      "\": use 1-255 of letters, digits, '.', '_', '-', not beginning with "
      "'.'"));
}

absl::Status CheckRange(const v1::Job& job, int64_t first_index,
                        int64_t item_count, int64_t total_count) {
  const int64_t recorded = job.progress().done_count();
  if (first_index != recorded) {
    return absl::FailedPreconditionError(
        absl::StrCat(job.name(), ": items from index ", first_index,
                     " were to be recorded, but the next one is ", recorded));
  }
  if (total_count < recorded + item_count) {
    return absl::InvalidArgumentError(absl::StrCat(
        job.name(), ": total_count ", total_count, " is less than the ",
        recorded + item_count, " items recorded"));
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

absl::Status JobRecorder::RecordItems(int64_t first_index,
                                      absl::Span<const std::string> items,
                                      int64_t total_count,
                                      absl::string_view unit) {
  const auto item_count = static_cast<int64_t>(items.size());
  const int64_t done = first_index + item_count;
  const double seconds =
      absl::ToDoubleSeconds(services_.record.clock.Monotonic() - begin_);
  const auto new_in_run =
      static_cast<double>(done - job_.progress().done_count());
  Failpoint(kFailpointBeforeRecord);
  RETURN_IF_ERROR(Change([&](JobChange& change) -> absl::Status {
    RETURN_IF_ERROR(
        CheckRange(change.stored.job, first_index, item_count, total_count));
    v1::Progress& progress = *change.stored.job.mutable_progress();
    progress.set_done_count(done);
    progress.set_total_count(total_count);
    progress.set_unit(EventText(unit));
    progress.set_rate(seconds > 0 ? new_in_run / seconds : 0);
    if (item_count > 0) change.stored.lost_count = 0;
    change.items = items;
    *change.events.emplace_back().mutable_progress() = progress;
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

absl::Status JobRecorder::AddOutput(absl::string_view file_name,
                                    absl::string_view media_type,
                                    absl::string_view contents,
                                    OutputKind kind) {
  RETURN_IF_ERROR(CheckFileName(file_name));
  // Without the owner's limit: computed results are not thrown away for it.
  ASSIGN_OR_RETURN(
      const v1::Artifact artifact,
      services_.artifacts.Put(contents, media_type, {.user = owner_}));
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
  return absl::OkStatus();
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
