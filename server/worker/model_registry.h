// The models and adapters of this worker, by resource name. Whoever looks one
// up holds a reference, so unloading or replacing it never pulls it from under
// a request. Where memory is short, weights that are not in use leave the
// device; when they are looked up they are read again. Thread safe; loads run
// one at a time on the caller's thread.
//
//   ModelRegistry registry(at::kCPU);
//   RETURN_IF_ERROR(registry.LoadModel("models/m", dir, {}).status());
//   ASSIGN_OR_RETURN(ResidentModel m, registry.GetModel("models/m"));
#ifndef DISSONANCE_SERVER_WORKER_MODEL_REGISTRY_H_
#define DISSONANCE_SERVER_WORKER_MODEL_REGISTRY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "server/worker/weight_residency.h"
#include "src/compute/lora/adapter.h"
#include "src/compute/model/model.h"
#include "src/compute/text/chat_template.h"
#include "src/compute/text/tokenizer.h"

namespace dissonance {

// A loaded model with what its directory says about text.
struct ResidentModel {
  std::string name;  // "models/MODEL"
  std::string path;  // absolute
  std::shared_ptr<const Model> model = nullptr;
  // Null where the directory has none: token ids only.
  std::shared_ptr<const Tokenizer> tokenizer = nullptr;
  std::shared_ptr<const ChatTemplate> chat_template = nullptr;
  std::vector<int32_t> eos_token_ids = {};  // that generation ends at
  bool pinned = false;                      // never leaves to make room
};

struct ResidentAdapter {
  std::string name;  // "models/MODEL/adapters/ADAPTER"
  std::string path;  // absolute
  std::shared_ptr<const LoraAdapter> adapter = nullptr;
};

class ModelRegistry {
 public:
  // Borrows `digests`; null: weights are hashed at each load. `weight_bytes`
  // bounds models and adapters together; 0: as many as the device holds.
  explicit ModelRegistry(at::Device device, DigestCache* digests = nullptr,
                         int64_t weight_bytes = 0)
      : device_(device), digests_(digests), residency_(weight_bytes) {}

  // Reads a directory and keeps it under `name`. The same contents and type
  // again change nothing but `pinned`; ALREADY_EXISTS for other ones.
  // INVALID_ARGUMENT for a bad name or a path that is not absolute;
  // RESOURCE_EXHAUSTED if no room can be made; also what Model::Load says.
  absl::StatusOr<ResidentModel> LoadModel(absl::string_view name,
                                          const std::string& path,
                                          std::optional<at::ScalarType> dtype,
                                          bool pinned = false)
      ABSL_LOCKS_EXCLUDED(load_mutex_, mutex_);
  // Forgets the model and its adapters. NOT_FOUND if it is not here, also
  // below.
  absl::Status UnloadModel(absl::string_view name) ABSL_LOCKS_EXCLUDED(mutex_);
  // Reads weights that had left. FAILED_PRECONDITION if the files are other
  // ones now; otherwise as LoadModel says. The same for adapters.
  absl::StatusOr<ResidentModel> GetModel(absl::string_view name)
      ABSL_LOCKS_EXCLUDED(load_mutex_, mutex_);
  // Those on the device, sorted by name. They do not count as used.
  std::vector<ResidentModel> ListModels() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Reads an adapter beside its model, in place of one of the same name.
  absl::StatusOr<ResidentAdapter> RegisterAdapter(absl::string_view name,
                                                  const std::string& path)
      ABSL_LOCKS_EXCLUDED(load_mutex_, mutex_);
  // Keeps weights that have no files, of a training under way, under a name
  // that RegisterAdapter refuses: "models/MODEL/adapters/~NAME". They are not
  // listed and stay until UnloadAdapter, or until their model is unloaded.
  // ABORTED if that has been unloaded already.
  absl::Status KeepAdapter(absl::string_view name,
                           std::shared_ptr<const LoraAdapter> adapter,
                           const Model& base) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status UnloadAdapter(absl::string_view name)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<ResidentAdapter> GetAdapter(absl::string_view name)
      ABSL_LOCKS_EXCLUDED(load_mutex_, mutex_);
  // A model's adapters on the device, likewise.
  std::vector<ResidentAdapter> ListAdapters(absl::string_view model) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  at::Device device() const { return device_; }
  ResidencyStats stats() const { return residency_.stats(); }

 private:
  // All but the weights, which may have left.
  struct KnownModel {
    ResidentModel model;
    std::optional<at::ScalarType> asked_dtype;
    at::ScalarType dtype = at::kFloat;
    std::string digest;
  };
  struct KnownAdapter {
    ResidentAdapter adapter;
    std::string digest;
  };

  absl::StatusOr<KnownModel> KnownModelOf(absl::string_view name) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<KnownAdapter> KnownAdapterOf(absl::string_view name) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<ResidentModel> WithWeights(KnownModel known)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(load_mutex_);
  // With room made for them.
  absl::StatusOr<std::shared_ptr<const Model>> ReadModel(
      const std::string& path, const ModelOptions& options)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(load_mutex_);
  absl::StatusOr<std::shared_ptr<const LoraAdapter>> ReadAdapter(
      const std::string& path, const Model& base)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(load_mutex_);

  const at::Device device_;
  DigestCache* const digests_;
  // Held while reading from disk; taken before mutex_.
  absl::Mutex load_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable absl::Mutex mutex_;
  std::map<std::string, KnownModel, std::less<>> models_
      ABSL_GUARDED_BY(mutex_);
  std::map<std::string, KnownAdapter, std::less<>> adapters_
      ABSL_GUARDED_BY(mutex_);
  WeightResidency residency_;
};

// "models/M" of "models/M/adapters/A".
absl::string_view ModelOfAdapter(absl::string_view adapter);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_MODEL_REGISTRY_H_
