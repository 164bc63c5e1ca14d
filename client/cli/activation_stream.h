// Activations from the server into a folder, through dropped connections. Not
// thread safe. Borrows everything it is given.
//
//   ActivationStream stream(*connection, *interrupts, display, *folder);
//   ASSIGN_OR_RETURN(v1::ActivationSummary summary,
//                    stream.Read(request, rows));
#ifndef DISSONANCE_CLIENT_CLI_ACTIVATION_STREAM_H_
#define DISSONANCE_CLIENT_CLI_ACTIVATION_STREAM_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cli/activation_folder.h"
#include "client/cli/connection.h"
#include "client/cli/input_rows.h"
#include "client/cli/interrupts.h"
#include "client/cli/progress.h"
#include "dissonance/v1/interpretability.pb.h"

namespace dissonance::cli {

class ActivationStream {
 public:
  ActivationStream(Connection& connection, Interrupts& interrupts,
                   ProgressDisplay& display, ActivationFolder& folder);

  // Reads all rows of a request for one variant, whose inputs `rows` are, to
  // the end. A connection that drops is taken up again behind the last
  // complete input, until the server has been away for about a minute
  // (UNAVAILABLE). CANCELLED after Ctrl-C.
  absl::StatusOr<v1::ActivationSummary> Read(
      v1::StreamActivationsRequest request, absl::Span<const InputRow> rows);

 private:
  // What one connection gave.
  struct Attempt {
    absl::Status status;
    bool interrupted = false;
    bool progressed = false;  // at least one input was complete
    bool complete = false;
    int64_t row_count = 0;
  };

  Attempt ReadOnce(v1::StreamActivationsRequest& request,
                   absl::Span<const InputRow> rows);
  absl::Status Take(const v1::StreamActivationsResponse& response,
                    v1::StreamActivationsRequest& request,
                    absl::Span<const InputRow> rows, Attempt& attempt);

  Connection& connection_;
  Interrupts& interrupts_;
  ProgressDisplay& display_;
  ActivationFolder& folder_;
  v1::Progress progress_;
  v1::ActivationSummary summary_;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_ACTIVATION_STREAM_H_
