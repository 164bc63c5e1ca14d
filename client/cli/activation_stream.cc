#include "client/cli/activation_stream.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/errors.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr absl::Duration kFirstBackoff = absl::Milliseconds(100);
constexpr absl::Duration kLongestBackoff = absl::Seconds(5);
constexpr absl::Duration kPatience = absl::Minutes(1);

}  // namespace

ActivationStream::ActivationStream(Connection& connection,
                                   Interrupts& interrupts,
                                   ProgressDisplay& display,
                                   ActivationFolder& folder)
    : connection_(connection),
      interrupts_(interrupts),
      display_(display),
      folder_(folder) {}

absl::Status ActivationStream::Take(
    const v1::StreamActivationsResponse& response,
    v1::StreamActivationsRequest& request, absl::Span<const InputRow> rows,
    Attempt& attempt) {
  switch (response.event_case()) {
    case v1::StreamActivationsResponse::kRows:
      attempt.row_count += response.rows().rows_size();
      return folder_.Announce(response.rows(), rows);
    case v1::StreamActivationsResponse::kChunk:
      return folder_.Add(response.chunk());
    case v1::StreamActivationsResponse::kSummary:
      summary_ = response.summary();
      attempt.complete = true;
      return absl::OkStatus();
    case v1::StreamActivationsResponse::EVENT_NOT_SET:
      break;
  }
  if (response.cursor().empty()) return absl::OkStatus();
  RETURN_IF_ERROR(folder_.Keep());
  request.set_cursor(response.cursor());
  attempt.progressed = true;
  progress_.set_done_count(progress_.done_count() + 1);
  display_.Update(progress_);
  return absl::OkStatus();
}

ActivationStream::Attempt ActivationStream::ReadOnce(
    v1::StreamActivationsRequest& request, absl::Span<const InputRow> rows) {
  Attempt attempt;
  const std::unique_ptr<grpc::ClientContext> context = connection_.NewContext();
  attempt.interrupted = interrupts_.During(
      [&] { context->TryCancel(); },
      [&] {
        const auto reader =
            connection_.stub<v1::Interpretability::Stub>().StreamActivations(
                context.get(), request);
        v1::StreamActivationsResponse response;
        absl::Status wrong;
        while (wrong.ok() && reader->Read(&response)) {
          wrong = Take(response, request, rows, attempt);
        }
        if (!wrong.ok()) context->TryCancel();
        attempt.status = connection_.Explain(reader->Finish());
        if (!wrong.ok()) attempt.status = wrong;
      });
  if (attempt.status.ok() && !attempt.complete) {
    attempt.status = absl::UnavailableError(
        "the server ended the stream before its summary");
  }
  if (attempt.status.ok() && summary_.row_count() != attempt.row_count) {
    attempt.status = absl::DataLossError(
        absl::StrCat("the server counts ", summary_.row_count(), " rows, ",
                     attempt.row_count, " arrived; run the command again"));
  }
  return attempt;
}

absl::StatusOr<v1::ActivationSummary> ActivationStream::Read(
    v1::StreamActivationsRequest request, absl::Span<const InputRow> rows) {
  progress_.set_total_count(static_cast<int64_t>(rows.size()));
  progress_.set_unit("inputs");
  const absl::Status stopped = WithHint(absl::CancelledError("stopped"),
                                        "nothing was kept; run it again");
  absl::Duration backoff = kFirstBackoff;
  absl::Time last_sign = absl::Now();
  while (true) {
    const Attempt attempt = ReadOnce(request, rows);
    if (attempt.status.ok()) {
      display_.Finish();
      return summary_;
    }
    if (attempt.progressed) {
      backoff = kFirstBackoff;
      last_sign = absl::Now();
    }
    const bool is_over = !absl::IsUnavailable(attempt.status) ||
                         absl::Now() - last_sign > kPatience;
    if (attempt.interrupted || is_over) {
      display_.Finish();
      if (attempt.interrupted) return stopped;
      if (!absl::IsUnavailable(attempt.status)) return attempt.status;
      return WithHint(absl::UnavailableError(absl::StrCat(
                          "lost the server for ", HumanDuration(kPatience),
                          ": ", attempt.status.message())),
                      "nothing was kept; run it again when it is back");
    }
    RETURN_IF_ERROR(folder_.Drop());
    if (backoff == kFirstBackoff) {
      display_.Line("lost the server; connecting again");
    }
    if (interrupts_.Wait(backoff)) {
      display_.Finish();
      return stopped;
    }
    backoff = std::min(backoff * 2, kLongestBackoff);
  }
}

}  // namespace dissonance::cli
