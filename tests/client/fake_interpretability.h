// The Interpretability service of the fake server. Its numbers say what they
// are: the activation of input i at position p in block b begins with
// 100 * i + 10 * b + p. Thread safe.
#ifndef DISSONANCE_TESTS_CLIENT_FAKE_INTERPRETABILITY_H_
#define DISSONANCE_TESTS_CLIENT_FAKE_INTERPRETABILITY_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "dissonance/v1/interpretability.grpc.pb.h"

namespace dissonance {

class FakeInterpretability final : public v1::Interpretability::Service {
 public:
  using Check = std::function<grpc::Status(const grpc::ServerContext&)>;

  // `check` begins each call. Streams that hang end with `stopping`.
  FakeInterpretability(Check check, const absl::Notification& stopping);

  // The next StreamActivations calls break off (UNAVAILABLE) after so many
  // messages each, in this order.
  void BreakAfter(std::vector<int> message_counts);
  // StreamActivations stays open before its summary until the caller leaves.
  void Hang();

  // Cursors of the StreamActivations calls.
  std::vector<std::string> cursors();
  v1::StreamActivationsRequest last_activations();
  v1::LogitLensRequest last_lens();
  v1::CompareVariantsRequest last_compare();
  std::vector<v1::PatchRequest> patches();

  // Two positions of each input, blocks 0 and 1 unless blocks are named, width
  // 3, two heads; the second position comes in an announcement of its own.
  grpc::Status StreamActivations(
      grpc::ServerContext*, const v1::StreamActivationsRequest*,
      grpc::ServerWriter<v1::StreamActivationsResponse>*) override;
  // One position (two with positions.set = all), blocks 0 and 1 and the output.
  // Margins are negative in block 0; behind it they are positive, but for
  // variants with an adapter.
  grpc::Status LogitLens(grpc::ServerContext*, const v1::LogitLensRequest*,
                         grpc::ServerWriter<v1::LogitLensResponse>*) override;
  // Two positions, two blocks.
  grpc::Status CompareVariants(
      grpc::ServerContext*, const v1::CompareVariantsRequest*,
      grpc::ServerWriter<v1::CompareVariantsResponse>*) override;
  // Two positions in two blocks; position 1 of block 1 flips.
  grpc::Status Patch(grpc::ServerContext*, const v1::PatchRequest*,
                     v1::PatchResponse*) override;

 private:
  const Check check_;
  const absl::Notification& stopping_;
  absl::Mutex mutex_;
  std::vector<int> breaks_ ABSL_GUARDED_BY(mutex_);
  bool hangs_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::string> cursors_ ABSL_GUARDED_BY(mutex_);
  v1::StreamActivationsRequest last_activations_ ABSL_GUARDED_BY(mutex_);
  v1::LogitLensRequest last_lens_ ABSL_GUARDED_BY(mutex_);
  v1::CompareVariantsRequest last_compare_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::PatchRequest> patches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_CLIENT_FAKE_INTERPRETABILITY_H_
