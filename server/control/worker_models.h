// The Models service of workers, as the catalog uses it. Functions are thread
// safe and wait for the answers.
//
//   ASSIGN_OR_RETURN(const auto response,
//                    (CallModelsOfAll<v1::LoadModelResponse>(
//                        route, "LoadModel", request, options, undo)));
#ifndef DISSONANCE_SERVER_CONTROL_WORKER_MODELS_H_
#define DISSONANCE_SERVER_CONTROL_WORKER_MODELS_H_

#include <optional>
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

// Makes a change in each worker that is READY. UNAVAILABLE if there are none.
// One that did not hear of it, though others made it, is dropped: it is given
// everything anew. Anything else that one refuses is the answer, and `undo` is
// called for those that may have made the change; one in which that fails is
// dropped too. `what` is e.g. "LoadModel".
absl::Status ChangeAll(
    WorkerRoute& route, absl::string_view what,
    absl::FunctionRef<absl::Status(const WorkerChannel&)> change,
    absl::FunctionRef<absl::Status(const WorkerChannel&)> undo);

// Calls `undo` for each of the workers, and drops those that it fails in.
void UndoAll(const std::vector<WorkerChannel>& workers, WorkerRoute& route,
             absl::FunctionRef<absl::Status(const WorkerChannel&)> undo);

// The change is a call; the first one's answer.
template <typename Response, typename Request>
absl::StatusOr<Response> CallModelsOfAll(
    WorkerRoute& route, absl::string_view method, const Request& request,
    const CallOptions& options,
    absl::FunctionRef<absl::Status(const WorkerChannel&)> undo) {
  std::optional<Response> answer;
  RETURN_IF_ERROR(ChangeAll(
      route, method,
      [&](const WorkerChannel& worker) -> absl::Status {
        ASSIGN_OR_RETURN(
            Response response,
            CallModels<Response>(worker, method, request, options));
        if (!answer.has_value()) answer = std::move(response);
        return absl::OkStatus();
      },
      undo));
  return *std::move(answer);
}

// Unloads from all workers. One that never had it has done so; one that does
// not hear of it is dropped.
template <typename Response, typename Request>
absl::Status TakeFromAll(WorkerRoute& route, absl::string_view method,
                         const Request& request) {
  for (const WorkerChannel& worker : route.Ready()) {
    const absl::Status status =
        CallModels<Response>(worker, method, request).status();
    if (absl::IsNotFound(status)) continue;
    if (absl::IsUnavailable(status)) {
      route.Drop(worker, absl::StrCat("it did not hear of ", method));
    } else {
      RETURN_IF_ERROR(status);
    }
  }
  return absl::OkStatus();
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
