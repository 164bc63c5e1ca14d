// The Directions service of the fake server, and FitDirections. Thread safe.
#ifndef DISSONANCE_TESTS_CLIENT_FAKE_DIRECTIONS_H_
#define DISSONANCE_TESTS_CLIENT_FAKE_DIRECTIONS_H_

#include <functional>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "dissonance/v1/probes.grpc.pb.h"

namespace dissonance {

class FakeDirections final : public v1::Directions::Service,
                             public v1::Probes::Service {
 public:
  using Check = std::function<grpc::Status(const grpc::ServerContext&)>;

  // `check` begins each call.
  explicit FakeDirections(Check check) : check_(std::move(check)) {}

  v1::CreateDirectionRequest last_created();
  v1::FitDirectionsRequest last_fit();

  // Keeps given vectors; of probes one vector [0, 1] at blocks.2.resid_post.
  grpc::Status CreateDirection(grpc::ServerContext*,
                               const v1::CreateDirectionRequest*,
                               v1::CreateDirectionResponse*) override;
  grpc::Status GetDirection(grpc::ServerContext*,
                            const v1::GetDirectionRequest*,
                            v1::GetDirectionResponse*) override;
  grpc::Status ListDirections(grpc::ServerContext*,
                              const v1::ListDirectionsRequest*,
                              v1::ListDirectionsResponse*) override;
  grpc::Status DeleteDirection(grpc::ServerContext*,
                               const v1::DeleteDirectionRequest*,
                               v1::DeleteDirectionResponse*) override;
  // The cosine of vectors i and j is (j - i) / 10; that of the last one with
  // others is NaN.
  grpc::Status CompareDirections(grpc::ServerContext*,
                                 const v1::CompareDirectionsRequest*,
                                 v1::CompareDirectionsResponse*) override;
  // [1, 0] in each block that is asked for.
  grpc::Status FitDirections(grpc::ServerContext*,
                             const v1::FitDirectionsRequest*,
                             v1::FitDirectionsResponse*) override;

 private:
  const Check check_;
  absl::Mutex mutex_;
  std::map<std::string, v1::Direction> directions_ ABSL_GUARDED_BY(mutex_);
  v1::CreateDirectionRequest created_ ABSL_GUARDED_BY(mutex_);
  v1::FitDirectionsRequest fit_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_CLIENT_FAKE_DIRECTIONS_H_
