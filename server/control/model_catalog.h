// The models and adapters that this server knows: records in the database,
// weights in the workers, each of which has all. A change is recorded when all
// workers made it; one that was started anew is given everything again.
// Thread safe; changes run one at a time on the caller's thread. Borrows store,
// artifacts and route. What a viewer does not see is NOT_FOUND for him.
//
//   ModelCatalog catalog({store, artifacts, data_dir, route});
//   ASSIGN_OR_RETURN(v1::Model model,
//                    catalog.LoadModel(viewer, request, options));
//   RETURN_IF_ERROR(catalog.Restore(0, channel, {}, publish));
#ifndef DISSONANCE_SERVER_CONTROL_MODEL_CATALOG_H_
#define DISSONANCE_SERVER_CONTROL_MODEL_CATALOG_H_

#include <map>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "dissonance/v1/models.pb.h"
#include "server/control/model_access.h"
#include "server/control/worker_route.h"
#include "src/lab/artifacts/artifact_store.h"
#include "src/lab/eval/compute_client.h"
#include "src/lab/storage/model_store.h"
#include "src/lab/storage/viewer.h"

namespace dissonance {

class ModelCatalog {
 public:
  struct Parts {
    ModelStore& store;
    ArtifactStore& artifacts;
    std::string data_dir;
    WorkerRoute& route;
  };

  explicit ModelCatalog(const Parts& parts)
      : store_(parts.store),
        artifacts_(parts.artifacts),
        data_dir_(parts.data_dir),
        route_(parts.route),
        access_(parts.store) {}
  const ModelAccess& access() const { return access_; }

  // As the Models service says. UNAVAILABLE while no worker is READY. What was
  // cancelled is not recorded.
  absl::StatusOr<v1::Model> LoadModel(const Viewer& viewer,
                                      const v1::LoadModelRequest& request,
                                      const CallOptions& options)
      ABSL_LOCKS_EXCLUDED(change_mutex_);
  absl::Status UnloadModel(const Viewer& viewer, const std::string& name)
      ABSL_LOCKS_EXCLUDED(change_mutex_);
  absl::StatusOr<v1::Adapter> RegisterAdapter(
      const Viewer& viewer, const v1::RegisterAdapterRequest& request,
      const CallOptions& options) ABSL_LOCKS_EXCLUDED(change_mutex_);
  absl::StatusOr<v1::Adapter> LoadAdapter(const Viewer& viewer,
                                          const std::string& name,
                                          const CallOptions& options)
      ABSL_LOCKS_EXCLUDED(change_mutex_);
  absl::StatusOr<v1::Adapter> UnloadAdapter(const Viewer& viewer,
                                            const std::string& name)
      ABSL_LOCKS_EXCLUDED(change_mutex_);
  absl::Status DeleteAdapter(const Viewer& viewer, const std::string& name)
      ABSL_LOCKS_EXCLUDED(change_mutex_);

  // Who sees it from now on.
  absl::StatusOr<v1::Model> UpdateModel(const Viewer& viewer,
                                        const v1::UpdateModelRequest& request)
      ABSL_LOCKS_EXCLUDED(change_mutex_);
  absl::StatusOr<v1::Adapter> UpdateAdapter(
      const Viewer& viewer, const v1::UpdateAdapterRequest& request)
      ABSL_LOCKS_EXCLUDED(change_mutex_);

  // `resident` and `resident_bytes` are as of now.
  absl::StatusOr<v1::Model> GetModel(const Viewer& viewer,
                                     const std::string& name);
  absl::StatusOr<v1::ListModelsResponse> ListModels(
      const Viewer& viewer, const v1::ListModelsRequest& request);
  absl::StatusOr<v1::Adapter> GetAdapter(const Viewer& viewer,
                                         const std::string& name);
  absl::StatusOr<v1::ListAdaptersResponse> ListAdapters(
      const Viewer& viewer, const v1::ListAdaptersRequest& request);

  // OK if the variant could be computed. NOT_FOUND or FAILED_PRECONDITION with
  // what to do; a worker that is away is no reason. Whoever asks sees it.
  absl::Status CheckVariant(const v1::Variant& variant);

  // Of a model when it was last loaded; 0: unknown.
  int64_t WeightBytes(const std::string& model);
  // Asks the worker, as CheckVariant says. Changes need not wait for it.
  absl::StatusOr<v1::SelfCheckResponse> SelfCheck(
      const Viewer& viewer, const v1::SelfCheckRequest& request,
      const CallOptions& options);
  // Has the system read the weights that Restore will load, until `stop`.
  void ReadAhead(absl::FunctionRef<bool()> stop) const;

  // Loads all that should be resident into worker `number`. What can't be
  // loaded any more, or has other contents than when it was recorded, is left
  // out and reported by CheckVariant. An error means that the worker was lost.
  // At last `publish` makes it one of the READY ones. Changes wait; other
  // restores don't.
  absl::Status Restore(int number, const WorkerChannel& worker,
                       const CallOptions& options,
                       absl::FunctionRef<void()> publish)
      ABSL_LOCKS_EXCLUDED(change_mutex_);

 private:
  using LeftOut = std::map<std::string, std::string>;  // name to reason
  std::set<std::string> Resident(const std::string& model = "") const;
  absl::StatusOr<std::string> FolderOf(const Viewer& viewer,
                                       const std::string& path,
                                       const v1::AdapterArtifacts& artifacts);
  // As it is recorded, in a worker that took what another one refused.
  absl::Status UndoLoad(const std::string& model, const WorkerChannel& worker);
  absl::Status UndoRegister(const std::string& adapter,
                            const WorkerChannel& worker);
  // Updates the path of one whose folder was made anew.
  absl::Status RestoreAdapter(StoredAdapter& stored,
                              const WorkerChannel& worker,
                              const CallOptions& options);
  absl::Status RestoreAdapters(const std::string& model,
                               const WorkerChannel& worker,
                               const CallOptions& options, LeftOut& left_out);
  absl::Status RestoreAdaptersInAll(const std::string& model,
                                    const CallOptions& options);
  // Empty unless no worker has it.
  std::string WhyLeftOut(const std::string& name) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  void SetFound(const std::string& name) ABSL_LOCKS_EXCLUDED(mutex_);

  ModelStore& store_;
  ArtifactStore& artifacts_;
  const std::string data_dir_;
  WorkerRoute& route_;
  const ModelAccess access_;
  // During a change; shared by those who restore.
  absl::Mutex change_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable absl::Mutex mutex_;
  LeftOut left_out_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_MODEL_CATALOG_H_
