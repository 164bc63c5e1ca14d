// One completion of OpenAI's API, made by Inference.Generate: read by the
// thread that answers it, and cancelled when the client goes away. Not thread
// safe. Borrows `calls`.
//
//   ASSIGN_OR_RETURN(auto call, OpenAiCall::Begin(calls, http, request));
//   return call->Whole();   // or NextPiece() until it is empty
#ifndef DISSONANCE_SERVER_CONTROL_OPENAI_CALL_H_
#define DISSONANCE_SERVER_CONTROL_OPENAI_CALL_H_

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "server/control/http_server.h"
#include "server/control/local_calls.h"
#include "server/control/local_stream.h"
#include "server/control/openai_answer.h"
#include "server/control/openai_request.h"

namespace dissonance {

class OpenAiCall {
 public:
  // Waits for the first event: a refusal is an error here.
  static absl::StatusOr<std::unique_ptr<OpenAiCall>> Begin(
      LocalCalls& calls, const HttpRequest& http, OpenAiRequest request);
  OpenAiCall(const OpenAiCall&) = delete;
  OpenAiCall& operator=(const OpenAiCall&) = delete;

  bool streams() const { return request_.streams; }
  // The whole answer, waited for. Once, of a call that does not stream.
  absl::StatusOr<nlohmann::json> Whole();
  // The next of the stream's server-sent events, waited for; empty at the end.
  // An error is the last event.
  std::string NextPiece();

 private:
  OpenAiCall(LocalCalls& calls, const HttpRequest& http, OpenAiRequest request);

  absl::Status SetLimit();
  absl::Status Start();
  // Waits for the next event, which is in stream_.message() then; false at the
  // end, of which end_ tells.
  bool Next();
  absl::Status Learn(const std::set<int32_t>& ids);

  LocalCalls& calls_;
  const std::string authorization_;
  OpenAiRequest request_;
  OpenAiAnswer answer_{request_};
  std::unique_ptr<v1::Inference::Stub> stub_;
  LocalStream<v1::GenerateResponse> stream_;  // cancelled when it goes
  bool has_first_ = false;     // the first event came and was not taken
  bool has_told_end_ = false;  // as the last server-sent event
  absl::Status end_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_OPENAI_CALL_H_
