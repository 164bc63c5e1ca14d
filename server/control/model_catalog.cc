#include "server/control/model_catalog.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/control/adapter_files.h"
#include "server/control/worker_models.h"
#include "src/base/file.h"
#include "src/base/log.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/user_store.h"

namespace dissonance {
namespace {

constexpr int kMaxPageSize = 1000;
absl::StatusOr<int> PageSize(int asked) {
  if (asked < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_size is ", asked,
                     "; give 0 for the default, or 1 "
                     "to 1000"));
  }
  return asked == 0 ? kMaxPageSize : std::min(asked, kMaxPageSize);
}

// The worker, not what it was asked for, is why a call failed.
bool IsLost(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsCancelled(status);
}

// Whose what was stored before there were owners is.
Viewer OwnerViewer() { return {.user = std::string(kOwnerUser)}; }

// Owner and visibility of something that is recorded (again): the owner stays.
template <typename T>
void SetOwnership(const absl::StatusOr<T>& before, const Viewer& viewer,
                  v1::Visibility asked, T& stored) {
  const bool is_new = !before.ok() || before->owner().empty();
  stored.set_owner(is_new ? NameOfUser(viewer.user) : before->owner());
  stored.set_visibility(is_new ? v1::VISIBILITY_PRIVATE : before->visibility());
  if (asked != v1::VISIBILITY_UNSPECIFIED) stored.set_visibility(asked);
}

absl::Status CheckVisibility(v1::Visibility visibility) {
  if (visibility == v1::VISIBILITY_PRIVATE ||
      visibility == v1::VISIBILITY_LAB) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("visibility: give private or lab");
}

absl::StatusOr<v1::Model> StoredModelOf(ModelStore& store,
                                        const std::string& name) {
  ASSIGN_OR_RETURN(StoredModel stored, store.GetModel(name));
  return std::move(stored.model);
}

absl::StatusOr<v1::Adapter> StoredAdapterOf(ModelStore& store,
                                            const std::string& name) {
  ASSIGN_OR_RETURN(StoredAdapter stored, store.GetAdapter(name));
  return std::move(stored.adapter);
}

// A stored model or adapter as it is now.
template <typename T>
T Present(T stored, const std::set<std::string>& resident) {
  stored.set_resident(resident.contains(stored.name()));
  if (!stored.resident()) stored.set_resident_bytes(0);
  return stored;
}

// Why a worker could not be given what is recorded.
std::string WhyOf(const std::string& name, const absl::Status& status) {
  return absl::StrCat(name, " could not be loaded after a restart: ",
                      std::string(status.message()));
}

}  // namespace

absl::StatusOr<v1::Model> ModelCatalog::LoadModel(
    const Viewer& viewer, const v1::LoadModelRequest& request,
    const CallOptions& options) {
  const absl::MutexLock lock(&change_mutex_);
  absl::StatusOr<v1::Model> before = StoredModelOf(store_, request.name());
  const absl::Status taken = access_.CheckTakes(viewer, request.name());
  // What is shared is there for whoever asks for the same.
  if (absl::IsPermissionDenied(taken) && before->path() == request.path()) {
    return Present(*std::move(before), Resident());
  }
  RETURN_IF_ERROR(taken);
  const bool was_left_out = route_.AnyLacks(request.name());
  const auto undo = [&](const WorkerChannel& worker) {
    return UndoLoad(request.name(), worker);
  };
  ASSIGN_OR_RETURN(const auto response,
                   CallModelsOfAll<v1::LoadModelResponse>(
                       route_, "LoadModel", request, options, undo));
  v1::Model model = response.model();
  SetOwnership(before, viewer, request.visibility(), model);
  const absl::Status put = store_.PutModel(
      {.model = model, .requested_dtype = request.dtype(), .resident = true});
  if (!put.ok()) {
    UndoAll(route_.Ready(), route_, undo);
    return put;
  }
  SetFound(request.name());
  if (was_left_out) {
    RETURN_IF_ERROR(RestoreAdaptersInAll(request.name(), options));
  }
  return model;
}

absl::Status ModelCatalog::UnloadModel(const Viewer& viewer,
                                       const std::string& name) {
  const absl::MutexLock lock(&change_mutex_);
  RETURN_IF_ERROR(access_.CheckChanges(viewer, name));
  ASSIGN_OR_RETURN(const std::vector<StoredAdapter> adapters,
                   store_.ListAdapters(name));
  for (const StoredAdapter& adapter : adapters) {
    const absl::Status own =
        access_.CheckChanges(viewer, adapter.adapter.name());
    if (own.ok()) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(name,
                     " has adapters of other users, which would go with it; "
                     "ask them to delete theirs, or an administrator"));
  }
  v1::UnloadModelRequest request;
  request.set_name(name);
  RETURN_IF_ERROR(
      TakeFromAll<v1::UnloadModelResponse>(route_, "UnloadModel", request));
  return store_.DeleteModel(name);
}

absl::StatusOr<std::string> ModelCatalog::FolderOf(
    const Viewer& viewer, const std::string& path,
    const v1::AdapterArtifacts& artifacts) {
  if (artifacts.config().empty() && artifacts.weights().empty()) return path;
  if (!path.empty()) {
    return absl::InvalidArgumentError(
        "path and artifacts are both given: give one of them");
  }
  return MakeAdapterFolder(artifacts_, data_dir_, artifacts, viewer);
}

absl::StatusOr<v1::Adapter> ModelCatalog::RegisterAdapter(
    const Viewer& viewer, const v1::RegisterAdapterRequest& request,
    const CallOptions& options) {
  const absl::MutexLock lock(&change_mutex_);
  RETURN_IF_ERROR(access_.CheckSees(viewer, ModelOfName(request.name())));
  RETURN_IF_ERROR(access_.CheckTakes(viewer, request.name()));
  v1::RegisterAdapterRequest located = request;
  ASSIGN_OR_RETURN(*located.mutable_path(),
                   FolderOf(viewer, request.path(), request.artifacts()));
  const auto undo = [&](const WorkerChannel& worker) {
    return UndoRegister(request.name(), worker);
  };
  ASSIGN_OR_RETURN(const auto response,
                   CallModelsOfAll<v1::RegisterAdapterResponse>(
                       route_, "RegisterAdapter", located, options, undo));
  v1::Adapter adapter = response.adapter();
  SetOwnership(StoredAdapterOf(store_, request.name()), viewer,
               request.visibility(), adapter);
  if (request.has_artifacts()) {
    *adapter.mutable_artifacts() = request.artifacts();
  }
  const absl::Status put =
      store_.PutAdapter({.adapter = adapter, .resident = true});
  if (!put.ok()) {
    UndoAll(route_.Ready(), route_, undo);
    return put;
  }
  SetFound(request.name());
  return adapter;
}

absl::StatusOr<v1::Model> ModelCatalog::UpdateModel(
    const Viewer& viewer, const v1::UpdateModelRequest& request) {
  const absl::MutexLock lock(&change_mutex_);
  RETURN_IF_ERROR(access_.CheckChanges(viewer, request.name()));
  RETURN_IF_ERROR(CheckVisibility(request.visibility()));
  ASSIGN_OR_RETURN(StoredModel stored, store_.GetModel(request.name()));
  SetOwnership<v1::Model>(stored.model, OwnerViewer(), request.visibility(),
                          stored.model);
  RETURN_IF_ERROR(store_.PutModel(stored));
  return Present(std::move(stored.model), Resident());
}

absl::StatusOr<v1::Adapter> ModelCatalog::UpdateAdapter(
    const Viewer& viewer, const v1::UpdateAdapterRequest& request) {
  const absl::MutexLock lock(&change_mutex_);
  RETURN_IF_ERROR(access_.CheckChanges(viewer, request.name()));
  RETURN_IF_ERROR(CheckVisibility(request.visibility()));
  ASSIGN_OR_RETURN(StoredAdapter stored, store_.GetAdapter(request.name()));
  SetOwnership<v1::Adapter>(stored.adapter, OwnerViewer(), request.visibility(),
                            stored.adapter);
  RETURN_IF_ERROR(store_.PutAdapter(stored));
  return Present(std::move(stored.adapter),
                 Resident(ModelOfName(request.name())));
}

absl::StatusOr<v1::Adapter> ModelCatalog::LoadAdapter(
    const Viewer& viewer, const std::string& name, const CallOptions& options) {
  const absl::MutexLock lock(&change_mutex_);
  RETURN_IF_ERROR(access_.CheckSees(viewer, name));
  ASSIGN_OR_RETURN(StoredAdapter stored, store_.GetAdapter(name));
  RETURN_IF_ERROR(ChangeAll(
      route_, "LoadAdapter",
      [&](const WorkerChannel& worker) {
        return RestoreAdapter(stored, worker, options);
      },
      [&](const WorkerChannel& worker) {
        v1::UnloadAdapterRequest request;
        request.set_name(name);
        return CallModels<v1::UnloadAdapterResponse>(worker, "UnloadAdapter",
                                                     request)
            .status();
      }));
  RETURN_IF_ERROR(store_.SetAdapterResident(name, true));
  SetFound(name);
  return Present(std::move(stored.adapter), {name});
}

absl::StatusOr<v1::Adapter> ModelCatalog::UnloadAdapter(
    const Viewer& viewer, const std::string& name) {
  const absl::MutexLock lock(&change_mutex_);
  RETURN_IF_ERROR(access_.CheckChanges(viewer, name));
  ASSIGN_OR_RETURN(StoredAdapter stored, store_.GetAdapter(name));
  v1::UnloadAdapterRequest request;
  request.set_name(name);
  RETURN_IF_ERROR(
      TakeFromAll<v1::UnloadAdapterResponse>(route_, "UnloadAdapter", request));
  RETURN_IF_ERROR(store_.SetAdapterResident(name, false));
  return Present(std::move(stored.adapter), {});
}

absl::Status ModelCatalog::DeleteAdapter(const Viewer& viewer,
                                         const std::string& name) {
  const absl::MutexLock lock(&change_mutex_);
  RETURN_IF_ERROR(access_.CheckChanges(viewer, name));
  v1::DeleteAdapterRequest request;
  request.set_name(name);
  RETURN_IF_ERROR(
      TakeFromAll<v1::DeleteAdapterResponse>(route_, "DeleteAdapter", request));
  return store_.DeleteAdapter(name);
}

absl::StatusOr<v1::Model> ModelCatalog::GetModel(const Viewer& viewer,
                                                 const std::string& name) {
  RETURN_IF_ERROR(access_.CheckSees(viewer, name));
  ASSIGN_OR_RETURN(const StoredModel stored, store_.GetModel(name));
  return Present(stored.model, Resident());
}

absl::StatusOr<v1::ListModelsResponse> ModelCatalog::ListModels(
    const Viewer& viewer, const v1::ListModelsRequest& request) {
  ASSIGN_OR_RETURN(const int size, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(std::vector<StoredModel> stored,
                   store_.ListModels(request.page_token()));
  std::erase_if(stored, [&](const StoredModel& model) {
    return !access_.Sees(viewer, model.model);
  });
  const std::set<std::string> resident = Resident();
  v1::ListModelsResponse response;
  for (const StoredModel& model : stored) {
    if (response.models_size() == size) {
      response.set_next_page_token(response.models(size - 1).name());
      break;
    }
    *response.add_models() = Present(model.model, resident);
  }
  return response;
}

absl::StatusOr<v1::Adapter> ModelCatalog::GetAdapter(const Viewer& viewer,
                                                     const std::string& name) {
  RETURN_IF_ERROR(access_.CheckSees(viewer, name));
  ASSIGN_OR_RETURN(const StoredAdapter stored, store_.GetAdapter(name));
  return Present(stored.adapter, Resident(ModelOfName(name)));
}

absl::StatusOr<v1::ListAdaptersResponse> ModelCatalog::ListAdapters(
    const Viewer& viewer, const v1::ListAdaptersRequest& request) {
  RETURN_IF_ERROR(access_.CheckSees(viewer, request.parent()));
  ASSIGN_OR_RETURN(const int size, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(std::vector<StoredAdapter> stored,
                   store_.ListAdapters(request.parent(), request.page_token()));
  std::erase_if(stored, [&](const StoredAdapter& adapter) {
    return !access_.Sees(viewer, adapter.adapter);
  });
  const std::set<std::string> resident = Resident(request.parent());
  v1::ListAdaptersResponse response;
  for (const StoredAdapter& adapter : stored) {
    if (response.adapters_size() == size) {
      response.set_next_page_token(response.adapters(size - 1).name());
      break;
    }
    *response.add_adapters() = Present(adapter.adapter, resident);
  }
  return response;
}

absl::Status ModelCatalog::CheckVariant(const v1::Variant& variant) {
  const absl::Status model = store_.GetModel(variant.model()).status();
  if (absl::IsNotFound(model)) {
    return absl::NotFoundError(
        absl::StrCat("no model ", variant.model(),
                     "; load it first ('dissonance models load')"));
  }
  RETURN_IF_ERROR(model);
  std::string why = WhyLeftOut(variant.model());
  if (why.empty() && !variant.adapter().empty()) {
    const absl::StatusOr<StoredAdapter> adapter =
        store_.GetAdapter(variant.adapter());
    if (absl::IsNotFound(adapter.status()) ||
        ModelOfName(variant.adapter()) != variant.model()) {
      return absl::NotFoundError(
          absl::StrCat(variant.model(), " has no adapter ", variant.adapter(),
                       "; register it first ('dissonance adapters register')"));
    }
    RETURN_IF_ERROR(adapter.status());
    if (!adapter->resident) {
      return absl::FailedPreconditionError(
          absl::StrCat(variant.adapter(),
                       " is unloaded; load it first "
                       "('dissonance adapters load')"));
    }
    why = WhyLeftOut(variant.adapter());
  }
  return why.empty() ? absl::OkStatus() : absl::FailedPreconditionError(why);
}

int64_t ModelCatalog::WeightBytes(const std::string& model) {
  const absl::StatusOr<StoredModel> stored = store_.GetModel(model);
  return stored.ok() ? stored->model.resident_bytes() : 0;
}

absl::StatusOr<v1::SelfCheckResponse> ModelCatalog::SelfCheck(
    const Viewer& viewer, const v1::SelfCheckRequest& request,
    const CallOptions& options) {
  RETURN_IF_ERROR(access_.CheckSees(viewer, request.name()));
  v1::Variant base;
  base.set_model(request.name());
  RETURN_IF_ERROR(CheckVariant(base));
  return CallModels<v1::SelfCheckResponse>(
      route_.For({.models = {request.name()}}).channel, "SelfCheck", request,
      options);
}

std::set<std::string> ModelCatalog::Resident(const std::string& model) const {
  return ResidentIn(route_.Ready(), model);
}

absl::Status ModelCatalog::RestoreAdapter(StoredAdapter& stored,
                                          const WorkerChannel& worker,
                                          const CallOptions& options) {
  // One that was made of artifacts is made again where it is missing.
  ASSIGN_OR_RETURN(
      const std::string folder,
      stored.adapter.has_artifacts()
          ? FolderOf({.sees_all = true}, "", stored.adapter.artifacts())
          : stored.adapter.path());
  ASSIGN_OR_RETURN(const std::string path,
                   RegisterRecorded(stored.adapter, folder, worker, options));
  if (path == stored.adapter.path()) return absl::OkStatus();
  // The data directory was restored or moved, and the folder is a new one.
  stored.adapter.set_path(path);
  return store_.PutAdapter(stored);
}

absl::Status ModelCatalog::UndoLoad(const std::string& model,
                                    const WorkerChannel& worker) {
  const absl::StatusOr<StoredModel> before = store_.GetModel(model);
  if (before.ok()) return LoadRecorded(*before, worker, {});
  v1::UnloadModelRequest request;
  request.set_name(model);
  const absl::Status unloaded =
      CallModels<v1::UnloadModelResponse>(worker, "UnloadModel", request)
          .status();
  return absl::IsNotFound(unloaded) ? absl::OkStatus() : unloaded;
}

absl::Status ModelCatalog::UndoRegister(const std::string& adapter,
                                        const WorkerChannel& worker) {
  absl::StatusOr<StoredAdapter> before = store_.GetAdapter(adapter);
  if (before.ok()) return RestoreAdapter(*before, worker, {});
  v1::DeleteAdapterRequest request;
  request.set_name(adapter);
  const absl::Status deleted =
      CallModels<v1::DeleteAdapterResponse>(worker, "DeleteAdapter", request)
          .status();
  return absl::IsNotFound(deleted) ? absl::OkStatus() : deleted;
}

void ModelCatalog::ReadAhead(absl::FunctionRef<bool()> stop) const {
  const absl::StatusOr<std::vector<StoredModel>> models = store_.ListModels();
  if (!models.ok()) return;
  for (const StoredModel& model : *models) {
    dissonance::ReadAhead(model.model.path(), ".safetensors", stop);
  }
}

absl::Status ModelCatalog::Restore(int number, const WorkerChannel& worker,
                                   const CallOptions& options,
                                   absl::FunctionRef<void()> publish) {
  const absl::ReaderMutexLock lock(&change_mutex_);
  ASSIGN_OR_RETURN(const std::vector<StoredModel> models, store_.ListModels());
  LeftOut left_out;
  for (const StoredModel& model : models) {
    const std::string& name = model.model.name();
    const absl::Status loaded = LoadRecorded(model, worker, options);
    if (IsLost(loaded)) return loaded;
    if (!loaded.ok()) {
      left_out[name] = WhyOf(name, loaded);
      continue;
    }
    RETURN_IF_ERROR(RestoreAdapters(name, worker, options, left_out));
  }
  publish();
  std::set<std::string> names;
  for (const auto& [name, why] : left_out) {
    names.insert(name);
    Log(LogLevel::kError, "left out of a restored worker",
        {{"worker", number}, {"name", name}, {"why", why}});
  }
  route_.SetLacking(number, std::move(names));
  const absl::MutexLock left_out_lock(&mutex_);
  for (auto& [name, why] : left_out) left_out_[name] = std::move(why);
  return absl::OkStatus();
}

absl::Status ModelCatalog::RestoreAdapters(const std::string& model,
                                           const WorkerChannel& worker,
                                           const CallOptions& options,
                                           LeftOut& left_out) {
  ASSIGN_OR_RETURN(std::vector<StoredAdapter> adapters,
                   store_.ListAdapters(model));
  for (StoredAdapter& adapter : adapters) {
    if (!adapter.resident) continue;
    const std::string& name = adapter.adapter.name();
    const absl::Status registered = RestoreAdapter(adapter, worker, options);
    if (IsLost(registered)) return registered;
    if (!registered.ok()) left_out[name] = WhyOf(name, registered);
  }
  return absl::OkStatus();
}

absl::Status ModelCatalog::RestoreAdaptersInAll(const std::string& model,
                                                const CallOptions& options) {
  LeftOut left_out;
  for (const WorkerChannel& worker : route_.Ready()) {
    RETURN_IF_ERROR(RestoreAdapters(model, worker, options, left_out));
  }
  ASSIGN_OR_RETURN(const std::vector<StoredAdapter> adapters,
                   store_.ListAdapters(model));
  for (const StoredAdapter& adapter : adapters) {
    const std::string& name = adapter.adapter.name();
    if (!left_out.contains(name)) SetFound(name);
  }
  return absl::OkStatus();
}

std::string ModelCatalog::WhyLeftOut(const std::string& name) const {
  if (!route_.AllLack(name)) return "";
  const absl::MutexLock lock(&mutex_);
  const auto found = left_out_.find(name);
  return found == left_out_.end() ? "" : found->second;
}

void ModelCatalog::SetFound(const std::string& name) {
  route_.SetHas(name);
  const absl::MutexLock lock(&mutex_);
  left_out_.erase(name);
}

}  // namespace dissonance
