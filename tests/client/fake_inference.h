// The Inference service with canned answers: a token for each byte, scores and
// generations that say what they belong to. Thread safe.
//
//   FakeInference inference([](const auto&) { return grpc::Status::OK; });
//   builder.RegisterService(&inference);
#ifndef DISSONANCE_TESTS_CLIENT_FAKE_INFERENCE_H_
#define DISSONANCE_TESTS_CLIENT_FAKE_INFERENCE_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "dissonance/v1/inference.grpc.pb.h"

namespace dissonance {

// What one Generate call does.
struct FakeGeneration {
  // Text of each token of every sample, after a first one that names variant,
  // input and sample, as in "v0 i1 s0:".
  std::vector<std::string> pieces = {" one", " two"};
  v1::FinishReason finish_reason = v1::FINISH_REASON_LENGTH;
  // Stays open, once the tokens are sent, until the server goes.
  bool hang = false;
  // Sent instead of the ends; OK: the ends are sent.
  grpc::Status broken_by = grpc::Status::OK;
};

class FakeInference final : public v1::Inference::Service {
 public:
  // `check` decides whether a call is answered.
  explicit FakeInference(
      std::function<grpc::Status(const grpc::ServerContext&)> check)
      : check_(std::move(check)) {}

  void SetGeneration(FakeGeneration generation);
  v1::ScoreRequest last_score();
  // All requests of Generate.
  std::vector<v1::GenerateRequest> generated();
  // Ends calls that hang. Call once.
  void Stop() { stopping_.Notify(); }

  grpc::Status Tokenize(grpc::ServerContext*, const v1::TokenizeRequest*,
                        v1::TokenizeResponse*) override;
  grpc::Status Detokenize(grpc::ServerContext*, const v1::DetokenizeRequest*,
                          v1::DetokenizeResponse*) override;
  grpc::Status RenderChat(grpc::ServerContext*, const v1::RenderChatRequest*,
                          v1::RenderChatResponse*) override;
  grpc::Status Score(grpc::ServerContext*, const v1::ScoreRequest*,
                     v1::ScoreResponse*) override;
  grpc::Status Generate(grpc::ServerContext*, const v1::GenerateRequest*,
                        grpc::ServerWriter<v1::GenerateResponse>*) override;

 private:
  const std::function<grpc::Status(const grpc::ServerContext&)> check_;
  absl::Notification stopping_;
  absl::Mutex mutex_;
  FakeGeneration generation_ ABSL_GUARDED_BY(mutex_);
  v1::ScoreRequest last_score_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::GenerateRequest> generated_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_CLIENT_FAKE_INFERENCE_H_
