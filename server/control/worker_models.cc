#include "server/control/worker_models.h"

#include "server/control/grpc_status.h"

namespace dissonance {
namespace {

// For what a worker has at hand. One that is frozen holds nobody up for longer.
constexpr absl::Duration kPatience = absl::Seconds(2);

absl::Status Changed(const std::string& path, absl::string_view verb) {
  return absl::FailedPreconditionError(
      absl::StrCat("the files in ", path, " are not those that were ", verb,
                   "ed; put the old ones back, or ", verb, " it again"));
}

std::set<std::string> ModelsIn(const WorkerChannel& worker) {
  std::set<std::string> names;
  const auto models = CallModels<v1::ListModelsResponse>(
      worker, "ListModels", v1::ListModelsRequest(), {.timeout = kPatience});
  if (!models.ok()) return names;
  for (const v1::Model& own : models->models()) names.insert(own.name());
  return names;
}

std::set<std::string> AdaptersIn(const WorkerChannel& worker,
                                 const std::string& model) {
  std::set<std::string> names;
  v1::ListAdaptersRequest request;
  request.set_parent(model);
  const auto adapters = CallModels<v1::ListAdaptersResponse>(
      worker, "ListAdapters", request, {.timeout = kPatience});
  if (!adapters.ok()) return names;
  for (const v1::Adapter& own : adapters->adapters()) names.insert(own.name());
  return names;
}

// Whether a worker that answered so may have done it all the same, or do it
// still.
bool MayBeDone(const absl::Status& status) {
  return absl::IsCancelled(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsUnknown(status) || absl::IsInternal(status);
}

}  // namespace

absl::Status ChangeAll(
    WorkerRoute& route, absl::string_view what,
    absl::FunctionRef<absl::Status(const WorkerChannel&)> change,
    absl::FunctionRef<absl::Status(const WorkerChannel&)> undo) {
  std::vector<WorkerChannel> changed;
  std::vector<WorkerChannel> deaf;
  for (const WorkerChannel& worker : route.Ready()) {
    const absl::Status status = change(worker);
    if (status.ok()) {
      changed.push_back(worker);
    } else if (absl::IsUnavailable(status)) {
      deaf.push_back(worker);
    } else {
      if (MayBeDone(status)) changed.push_back(worker);
      UndoAll(changed, route, undo);
      return status;
    }
  }
  if (changed.empty()) return WorkerUnavailable();
  for (const WorkerChannel& worker : deaf) {
    route.Drop(worker, absl::StrCat("it did not hear of ", what));
  }
  return absl::OkStatus();
}

void UndoAll(const std::vector<WorkerChannel>& workers, WorkerRoute& route,
             absl::FunctionRef<absl::Status(const WorkerChannel&)> undo) {
  for (const WorkerChannel& worker : workers) {
    const absl::Status undone = undo(worker);
    if (undone.ok()) continue;
    route.Drop(worker, absl::StrCat("a change can't be taken back in it: ",
                                    std::string(undone.message())));
  }
}

std::set<std::string> ResidentIn(const std::vector<WorkerChannel>& workers,
                                 const std::string& model) {
  std::set<std::string> names;
  for (const WorkerChannel& worker : workers) {
    names.merge(model.empty() ? ModelsIn(worker) : AdaptersIn(worker, model));
  }
  return names;
}

absl::Status LoadRecorded(const StoredModel& stored,
                          const WorkerChannel& worker,
                          const CallOptions& options) {
  v1::LoadModelRequest request;
  request.set_name(stored.model.name());
  request.set_path(stored.model.path());
  request.set_pinned(stored.model.pinned());
  request.set_dtype(stored.requested_dtype);
  ASSIGN_OR_RETURN(
      const auto response,
      CallModels<v1::LoadModelResponse>(worker, "LoadModel", request, options));
  if (response.model().digest() == stored.model.digest() &&
      response.model().tokenizer_digest() == stored.model.tokenizer_digest()) {
    return absl::OkStatus();
  }
  v1::UnloadModelRequest undo;
  undo.set_name(stored.model.name());
  RETURN_IF_ERROR(
      CallModels<v1::UnloadModelResponse>(worker, "UnloadModel", undo, options)
          .status());
  return Changed(stored.model.path(), "load");
}

absl::StatusOr<std::string> RegisterRecorded(const v1::Adapter& recorded,
                                             const std::string& path,
                                             const WorkerChannel& worker,
                                             const CallOptions& options) {
  v1::RegisterAdapterRequest request;
  request.set_name(recorded.name());
  request.set_path(path);
  ASSIGN_OR_RETURN(const auto response,
                   CallModels<v1::RegisterAdapterResponse>(
                       worker, "RegisterAdapter", request, options));
  if (response.adapter().digest() == recorded.digest()) {
    return response.adapter().path();
  }
  v1::UnloadAdapterRequest undo;
  undo.set_name(recorded.name());
  RETURN_IF_ERROR(CallModels<v1::UnloadAdapterResponse>(worker, "UnloadAdapter",
                                                        undo, options)
                      .status());
  return Changed(recorded.path(), "register");
}

}  // namespace dissonance
