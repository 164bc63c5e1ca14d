// The Models service of workers, as the catalog uses it. Functions are thread
// safe and wait for the answers.
//
//   ASSIGN_OR_RETURN(const auto response,
//                    (CallModelsOfAll<v1::LoadModelResponse>(
//                        route.Ready(), "LoadModel", request, options, undo)));
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_MODELS_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_MODELS_H_

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/models.pb.h"
#include "server/control/grpc_status.h"
#include "server/control/worker_route.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/compute_client.h"
#include "src/lab/storage/model_store.h"

namespace dissonance {

template <typename Response, typename Request>
absl::StatusOr<Response> CallModels(const WorkerChannel& worker,
                                    absl::string_view method,
                                    const Request& request,
                                    const CallOptions& options = {}) {
  Response response;
  RETURN_IF_ERROR(CallWorker(worker,
                             absl::StrCat("/dissonance.v1.Models/", method),
                             request, response, options));
  return response;
}

// The same change in each of the workers; the first one's answer. UNAVAILABLE
// if there are none. One that is lost on the way is left to be restored when it
// is back; anything else that one refuses is the answer, and `undo` is called
// for those that took it.
template <typename Response, typename Request>
absl::StatusOr<Response> CallModelsOfAll(
    const std::vector<WorkerChannel>& workers, absl::string_view method,
    const Request& request, const CallOptions& options,
    absl::FunctionRef<void(const WorkerChannel&)> undo) {
  absl::StatusOr<Response> answer = WorkerUnavailable();
  std::vector<WorkerChannel> changed;
  for (const WorkerChannel& worker : workers) {
    absl::StatusOr<Response> response =
        CallModels<Response>(worker, method, request, options);
    if (response.ok()) {
      changed.push_back(worker);
      if (!answer.ok()) answer = std::move(response);
    } else if (!absl::IsUnavailable(response.status())) {
      for (const WorkerChannel& before : changed) undo(before);
      return response.status();
    }
  }
  return answer;
}

// The names of what any of them has on its device: models, and adapters of
// `model` if it is not empty. Those that do not answer have nothing.
std::set<std::string> ResidentIn(const std::vector<WorkerChannel>& workers,
                                 const std::string& model);

// Loads a model as it was recorded. FAILED_PRECONDITION if its files have
// changed since; it is not loaded then.
absl::Status LoadRecorded(const StoredModel& stored,
                          const WorkerChannel& worker,
                          const CallOptions& options);

// The same for an adapter, whose folder is `path` now. Returns the path as the
// worker has it.
absl::StatusOr<std::string> RegisterRecorded(const v1::Adapter& recorded,
                                             const std::string& path,
                                             const WorkerChannel& worker,
                                             const CallOptions& options);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_WORKER_MODELS_H_
