// What an experiment needs of the worker. The control plane implements it over
// gRPC; tests implement it as a function of its arguments. An implementation
// must be usable by several threads at once and outlive whoever holds it.
//
//   CallOptions options{.cancelled = [&job] { return job.cancelled(); }};
//   ASSIGN_OR_RETURN(v1::ScoreResponse scores,
//                    compute.Score(request, options));
#ifndef DISSONANCE_LAB_EVAL_COMPUTE_CLIENT_H_
#define DISSONANCE_LAB_EVAL_COMPUTE_CLIENT_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "dissonance/v1/common.pb.h"
#include "dissonance/v1/inference.pb.h"
#include "dissonance/v1/models.pb.h"
#include "src/lab/jobs/device_meter.h"

namespace dissonance {

// How long a call may go on.
struct CallOptions {
  // The call ends DEADLINE_EXCEEDED after this span.
  absl::Duration timeout = absl::InfiniteDuration();
  // If set, asked now and then by the calling thread and by no other; once it
  // says true the compute is stopped and the call returns CANCELLED.
  std::function<bool()> cancelled = {};
  // If set, gets what the call took of the device.
  DeviceSpend* spend = nullptr;
};

// Compute RPCs of the worker. UNAVAILABLE from any of them means that the
// worker was lost: nothing was computed, and the call may be made again.
class ComputeClient {
 public:
  virtual ~ComputeClient() = default;

  // Inference.Score. Reproducible: an item's numbers do not depend on the
  // other items and variants of the request.
  virtual absl::StatusOr<v1::ScoreResponse> Score(
      const v1::ScoreRequest& request, const CallOptions& options) = 0;

  // Inference.RenderChat.
  virtual absl::StatusOr<v1::RenderChatResponse> RenderChat(
      const v1::RenderChatRequest& request, const CallOptions& options) = 0;

  // Inference.Tokenize.
  virtual absl::StatusOr<v1::TokenizeResponse> Tokenize(
      const v1::TokenizeRequest& request, const CallOptions& options) = 0;

  // Models.GetModel. NOT_FOUND if there is no such model.
  virtual absl::StatusOr<v1::Model> GetModel(const std::string& name) = 0;

  // OK if the model and its adapter exist and are resident. NOT_FOUND if there
  // is none of that name, FAILED_PRECONDITION if it is not loaded; the message
  // says how to load it.
  virtual absl::Status CheckVariant(const v1::Variant& variant) = 0;

  // Bytes of a model's weights on the device, from the records; 0: unknown.
  virtual int64_t WeightBytes(const std::string& /*model*/) { return 0; }
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_COMPUTE_CLIENT_H_
