// What experiments inside the network need of the worker, beside what every
// experiment needs. The control plane implements it over gRPC; tests implement
// it as a function of its arguments. An implementation must be usable by
// several threads at once and outlive whoever holds it.
//
// A stream's messages go to `take`, one after the other, on the calling thread;
// the next one is only read when it returns, so a slow taker slows the worker
// and fills no memory. A status that is not OK ends the call at once, and the
// call returns it. OK from the call: the stream was complete.
//
//   RETURN_IF_ERROR(compute.LogitLens(
//       request, options, [&](const v1::LogitLensResponse& message) {
//         return reader.Take(message);
//       }));
#ifndef DISSONANCE_LAB_INTERP_INTERP_CLIENT_H_
#define DISSONANCE_LAB_INTERP_INTERP_CLIENT_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/inference.pb.h"
#include "dissonance/v1/interpretability.pb.h"
#include "dissonance/v1/probes.pb.h"
#include "src/lab/eval/compute_client.h"

namespace dissonance {

// Takes a stream's messages.
template <typename Message>
using MessageTaker = absl::FunctionRef<absl::Status(const Message& message)>;

// UNAVAILABLE from any call means that the worker was lost: the call may be
// made again. Messages of a stream may have been taken by then; whoever took
// them drops them, or goes on behind the last cursor where there are cursors.
class InterpClient : public ComputeClient {
 public:
  // Interpretability.StreamActivations.
  virtual absl::Status StreamActivations(
      const v1::StreamActivationsRequest& request, const CallOptions& options,
      MessageTaker<v1::StreamActivationsResponse> take) = 0;

  // Interpretability.LogitLens.
  virtual absl::Status LogitLens(const v1::LogitLensRequest& request,
                                 const CallOptions& options,
                                 MessageTaker<v1::LogitLensResponse> take) = 0;

  // Interpretability.Patch.
  virtual absl::StatusOr<v1::PatchResponse> Patch(
      const v1::PatchRequest& request, const CallOptions& options) = 0;

  // Probes.TrainProbes.
  virtual absl::Status TrainProbes(
      const v1::TrainProbesRequest& request, const CallOptions& options,
      MessageTaker<v1::TrainProbesResponse> take) = 0;

  // Probes.FitDirections.
  virtual absl::StatusOr<v1::FitDirectionsResponse> FitDirections(
      const v1::FitDirectionsRequest& request, const CallOptions& options) = 0;

  // Inference.Generate.
  virtual absl::Status Generate(const v1::GenerateRequest& request,
                                const CallOptions& options,
                                MessageTaker<v1::GenerateResponse> take) = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_INTERP_CLIENT_H_
