// A worker for experiments inside the network whose answers are a function of
// what it is asked, and which can be told to fail. For one thread.
//
// Its network believes what options that begin with "false" say, and knows what
// begins with "right". Adding along the first axis in block 1 moves it: less is
// truer, and much of it, or anything along the second axis, confuses it about
// the rest.
#ifndef DISSONANCE_TESTS_LAB_INTERP_FAKE_INTERP_H_
#define DISSONANCE_TESTS_LAB_INTERP_FAKE_INTERP_H_

#include <functional>
#include <string>
#include <vector>

#include "src/lab/interp/interp_client.h"
#include "tests/lab/eval/fake_compute.h"

namespace dissonance {

class FakeInterp : public InterpClient {
 public:
  static constexpr int kWidth = 4;
  static constexpr int kBlocks = 3;

  absl::StatusOr<v1::ScoreResponse> Score(const v1::ScoreRequest& request,
                                          const CallOptions& options) override;
  absl::StatusOr<v1::RenderChatResponse> RenderChat(
      const v1::RenderChatRequest& request,
      const CallOptions& options) override;
  absl::StatusOr<v1::TokenizeResponse> Tokenize(
      const v1::TokenizeRequest& request, const CallOptions& options) override;
  absl::StatusOr<v1::Model> GetModel(const std::string& name) override;
  absl::Status CheckVariant(const v1::Variant& variant) override;
  // Rows of length 2, 4, ... for blocks 0, 1, ...
  absl::Status StreamActivations(
      const v1::StreamActivationsRequest& request, const CallOptions& options,
      MessageTaker<v1::StreamActivationsResponse> take) override;
  absl::Status LogitLens(const v1::LogitLensRequest& request,
                         const CallOptions& options,
                         MessageTaker<v1::LogitLensResponse> take) override;
  // The further a patch is from the end and from the last block, the less it
  // carries over; approximations are a tenth short.
  absl::StatusOr<v1::PatchResponse> Patch(const v1::PatchRequest& request,
                                          const CallOptions& options) override;
  absl::Status TrainProbes(const v1::TrainProbesRequest& request,
                           const CallOptions& options,
                           MessageTaker<v1::TrainProbesResponse> take) override;
  absl::StatusOr<v1::FitDirectionsResponse> FitDirections(
      const v1::FitDirectionsRequest& request,
      const CallOptions& options) override;
  // A token for each byte of a text, then one that ends it.
  absl::Status Generate(const v1::GenerateRequest& request,
                        const CallOptions& options,
                        MessageTaker<v1::GenerateResponse> take) override;

  // If set, called with the number of each call on the device, from 0; one for
  // which it is true fails as from a lost worker.
  std::function<bool(int call)> fails;
  int call_count = 0;
  std::vector<v1::ScoreRequest> scores;
  std::vector<v1::PatchRequest> patches;
  std::vector<v1::StreamActivationsRequest> captured;
  std::vector<v1::GenerateRequest> generated;
  // If set, what a sample says before its last "."; else "answer VARIANT".
  std::function<std::string(const v1::GenerateRequest& request, int variant,
                            int input, int sample)>
      answers;
  // Messages of Generate that are given before the worker is lost; negative:
  // never lost.
  int messages_left = -1;
  // If set, changes each message of Generate before it is given.
  std::function<void(v1::GenerateResponse& message)> alters;
  std::string adapter_digest = "sha256:adapter";
  bool has_chat_template = true;
  int max_positions = 4096;

 private:
  absl::Status BeginCall();
  v1::Provenance ProvenanceOf(const v1::Variant& variant) const;

  FakeCompute text_;
};

// A direction along one axis.
v1::Tensor Axis(int axis, int width = FakeInterp::kWidth);

// `conflict_count` questions with a false answer and twice as many controls.
std::string SweepQuestions(int conflict_count);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_INTERP_FAKE_INTERP_H_
