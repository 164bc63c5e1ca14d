#include "server/worker/stored_activations_call.h"

#include <string>

#include "server/worker/grpc_status.h"
#include "src/base/status_macros.h"

namespace dissonance {

void StoredActivationsCall::Start() {
  const absl::Status skipped = Skip();
  if (!skipped.ok()) {
    Fail(skipped);
    return;
  }
  WriteNext();
}

absl::Status StoredActivationsCall::Skip() {
  if (plan_.first_unit == 0) return absl::OkStatus();
  const std::string last = plan_.CursorBehind(plan_.first_unit - 1);
  while (message_.cursor() != last) {
    ASSIGN_OR_RETURN(const bool has_more, reader_->Next(message_));
    if (!has_more) {
      return absl::DataLossError(
          "a kept answer ends too soon; send the request again");
    }
  }
  return absl::OkStatus();
}

void StoredActivationsCall::WriteNext() {
  const absl::StatusOr<bool> has_more = reader_->Next(message_);
  if (!has_more.ok()) {
    Fail(has_more.status());
    return;
  }
  if (*has_more) {
    row_count_ += message_.rows().rows_size();
    StartWrite(&message_);
    return;
  }
  *message_.mutable_summary() =
      SummaryOf(plan_, row_count_, /*from_store=*/true, engine_);
  StartWriteAndFinish(&message_, {}, grpc::Status::OK);
}

void StoredActivationsCall::OnWriteDone(bool ok) {
  if (message_.has_summary()) return;
  if (!ok) {
    Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the client went away"));
    return;
  }
  WriteNext();
}

void StoredActivationsCall::Fail(const absl::Status& status) {
  // The next one who asks gets it computed.
  store_.Remove(plan_.digest);
  Finish(ToGrpc(status));
}

}  // namespace dissonance
