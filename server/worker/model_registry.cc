#include "server/worker/model_registry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "src/base/status_macros.h"
#include "src/compute/model/end_tokens.h"
#include "src/compute/tensor/dtype.h"

namespace dissonance {
namespace {

constexpr size_t kMaxNamePart = 63;
constexpr size_t kMaxShown = 200;

std::string Shown(absl::string_view text) {
  return absl::CHexEscape(text.substr(0, kMaxShown));
}

bool IsNamePart(absl::string_view part) {
  return !part.empty() && part.size() <= kMaxNamePart &&
         (absl::ascii_islower(part[0]) || absl::ascii_isdigit(part[0])) &&
         std::all_of(part.begin(), part.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) ||
                  c == '-' || c == '.' || c == '_';
         });
}

absl::Status CheckModelName(absl::string_view name) {
  absl::string_view part = name;
  if (absl::ConsumePrefix(&part, "models/") && IsNamePart(part)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "name: \"", Shown(name),
      "\" is not models/MODEL; MODEL is 1-63 of a-z, 0-9, '-', '.', '_', "
      "beginning with a letter or digit"));
}

absl::Status CheckAdapterName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  if (parts.size() == 4 && parts[0] == "models" && IsNamePart(parts[1]) &&
      parts[2] == "adapters" && IsNamePart(parts[3])) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "name: \"", Shown(name),
      "\" is not models/MODEL/adapters/ADAPTER; MODEL and ADAPTER are 1-63 of "
      "a-z, 0-9, '-', '.', '_', beginning with a letter or digit"));
}

// The mark of adapters that have no files.
constexpr char kUnnameable = '~';

bool HasNoFiles(absl::string_view adapter) {
  const size_t slash = adapter.rfind('/');
  return slash + 1 < adapter.size() && adapter[slash + 1] == kUnnameable;
}

absl::Status CheckKeptName(absl::string_view name) {
  std::string plain = absl::AsciiStrToLower(name);
  if (HasNoFiles(name)) plain.erase(plain.rfind('/') + 1, 1);
  if (HasNoFiles(name) && CheckAdapterName(plain).ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("evaluation_adapter: \"", Shown(name),
                   "\" is not models/MODEL/adapters/~NAME; NAME is 1-63 "
                   "letters, digits, '-', '.', '_', beginning with a letter or "
                   "digit"));
}

absl::Status CheckPath(const std::string& path) {
  if (path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("path: holds a NUL byte");
  }
  if (!path.empty() && path.front() == '/') return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("path: \"", Shown(path),
                   "\" is not absolute; give the directory's full path on the "
                   "server's machine"));
}

absl::Status NoSuchModel(absl::string_view name) {
  const bool is_name = CheckModelName(name).ok();
  return absl::NotFoundError(
      absl::StrCat("no model ", Shown(name), " is loaded; ",
                   is_name ? "load it first ('dissonance models load')"
                           : "models are named models/NAME"));
}

absl::Status NoSuchAdapter(absl::string_view name) {
  return absl::NotFoundError(
      absl::StrCat("no adapter ", Shown(name),
                   " is loaded; register it first ('dissonance adapters "
                   "register')"));
}

absl::Status FilesChanged(absl::string_view name, const std::string& path) {
  return absl::FailedPreconditionError(absl::StrCat(
      name, " had left memory to make room, and the files in ", path,
      " are other ones now; put the old ones back, or unload or delete it and "
      "load or register it again"));
}

// Not a file over its limit, which has the same code.
bool IsOutOfMemory(const absl::Status& status) {
  return absl::IsResourceExhausted(status) &&
         absl::StrContains(status.message(), "memory");
}

// The pointer, or null where the directory has no such files.
template <typename T>
absl::StatusOr<std::shared_ptr<const T>> OptionalOf(
    absl::StatusOr<std::unique_ptr<T>> loaded) {
  if (absl::IsNotFound(loaded.status())) return std::shared_ptr<const T>();
  RETURN_IF_ERROR(loaded.status());
  return std::shared_ptr<const T>(*std::move(loaded));
}

std::string TokenizerDigest(const ResidentModel& model) {
  return model.tokenizer == nullptr ? "" : model.tokenizer->digest();
}

}  // namespace

absl::string_view ModelOfAdapter(absl::string_view adapter) {
  return adapter.substr(0, adapter.find("/adapters/"));
}

absl::StatusOr<ResidentModel> ModelRegistry::LoadModel(
    absl::string_view name, const std::string& path,
    std::optional<at::ScalarType> dtype, bool pinned) {
  RETURN_IF_ERROR(CheckModelName(name));
  RETURN_IF_ERROR(CheckPath(path));
  const absl::MutexLock load_lock(&load_mutex_);
  ResidentModel loaded{
      .name = std::string(name), .path = path, .pinned = pinned};
  ASSIGN_OR_RETURN(loaded.tokenizer, OptionalOf(Tokenizer::Load(path)));
  ASSIGN_OR_RETURN(loaded.chat_template, OptionalOf(ChatTemplate::Load(path)));
  const ModelOptions options{
      .dtype = dtype, .device = device_, .digests = digests_};
  absl::StatusOr<KnownModel> known = KnownModelOf(name);
  if (known.ok()) {
    // Twice the weights might not fit: it is not loaded to be compared.
    ASSIGN_OR_RETURN(const ModelIdentity asked, Model::Identify(path, options));
    if (known->digest != asked.digest || known->dtype != asked.dtype ||
        TokenizerDigest(known->model) != TokenizerDigest(loaded)) {
      return absl::AlreadyExistsError(
          absl::StrCat(loaded.name, " holds other weights, or the same in ",
                       DtypeName(known->dtype), ", from ", known->model.path,
                       "; unload it first or choose another name"));
    }
    known->model.pinned = pinned;
    known->model.path = path;
    ASSIGN_OR_RETURN(ResidentModel resident, WithWeights(*std::move(known)));
    residency_.SetPinned(name, pinned);
    const absl::MutexLock lock(&mutex_);
    const auto still = models_.find(name);
    if (still == models_.end()) return NoSuchModel(name);
    still->second.model.pinned = pinned;
    still->second.model.path = path;
    return resident;
  }
  ASSIGN_OR_RETURN(loaded.model, ReadModel(path, options));
  ASSIGN_OR_RETURN(loaded.eos_token_ids,
                   GenerationEndTokens(path, loaded.model->spec()));
  residency_.Put(name, loaded.model, loaded.model->weights().bytes, pinned);
  KnownModel added{.model = loaded,
                   .asked_dtype = dtype,
                   .dtype = loaded.model->dtype(),
                   .digest = loaded.model->digest()};
  added.model.model = nullptr;
  const absl::MutexLock lock(&mutex_);
  models_.insert_or_assign(loaded.name, std::move(added));
  return loaded;
}

absl::Status ModelRegistry::UnloadModel(absl::string_view name) {
  const absl::MutexLock lock(&mutex_);
  const auto found = models_.find(name);
  if (found == models_.end()) return NoSuchModel(name);
  residency_.Erase(name);
  models_.erase(found);
  std::erase_if(adapters_, [this, name](const auto& entry) {
    if (ModelOfAdapter(entry.first) != name) return false;
    residency_.Erase(entry.first);
    return true;
  });
  return absl::OkStatus();
}

absl::StatusOr<ModelRegistry::KnownModel> ModelRegistry::KnownModelOf(
    absl::string_view name) const {
  const absl::MutexLock lock(&mutex_);
  const auto found = models_.find(name);
  if (found == models_.end()) return NoSuchModel(name);
  return found->second;
}

absl::StatusOr<ModelRegistry::KnownAdapter> ModelRegistry::KnownAdapterOf(
    absl::string_view name) const {
  const absl::MutexLock lock(&mutex_);
  const auto found = adapters_.find(name);
  if (found == adapters_.end()) return NoSuchAdapter(name);
  return found->second;
}

absl::StatusOr<ResidentModel> ModelRegistry::GetModel(absl::string_view name) {
  {
    const absl::MutexLock lock(&mutex_);
    const auto found = models_.find(name);
    if (found == models_.end()) return NoSuchModel(name);
    ResidentModel model = found->second.model;
    model.model = residency_.FindModel(name);
    if (model.model != nullptr) return model;
  }
  const absl::MutexLock load_lock(&load_mutex_);
  ASSIGN_OR_RETURN(KnownModel known, KnownModelOf(name));
  return WithWeights(std::move(known));
}

absl::StatusOr<ResidentModel> ModelRegistry::WithWeights(KnownModel known) {
  ResidentModel& model = known.model;
  model.model = residency_.FindModel(model.name);
  if (model.model != nullptr) return std::move(model);
  ASSIGN_OR_RETURN(model.model,
                   ReadModel(model.path, {.dtype = known.asked_dtype,
                                          .device = device_,
                                          .digests = digests_}));
  if (model.model->digest() != known.digest) {
    return FilesChanged(model.name, model.path);
  }
  // Unloaded meanwhile: whoever asked gets it still, it is not kept.
  const absl::MutexLock lock(&mutex_);
  if (models_.find(model.name) != models_.end()) {
    residency_.Put(model.name, model.model, model.model->weights().bytes,
                   model.pinned);
  }
  return std::move(model);
}

absl::StatusOr<std::shared_ptr<const Model>> ModelRegistry::ReadModel(
    const std::string& path, const ModelOptions& options) {
  ASSIGN_OR_RETURN(const int64_t bytes, Model::WeightBytes(path, options));
  RETURN_IF_ERROR(residency_.MakeRoom(path, bytes));
  for (;;) {
    absl::StatusOr<std::shared_ptr<const Model>> model =
        Model::Load(path, options);
    if (!IsOutOfMemory(model.status()) || !residency_.EvictOne()) {
      return model;
    }
  }
}

std::vector<ResidentModel> ModelRegistry::ListModels() const {
  const absl::MutexLock lock(&mutex_);
  std::vector<ResidentModel> models;
  for (const auto& [name, known] : models_) {
    ResidentModel model = known.model;
    model.model = residency_.PeekModel(name);
    if (model.model != nullptr) models.push_back(std::move(model));
  }
  return models;
}

absl::StatusOr<ResidentAdapter> ModelRegistry::RegisterAdapter(
    absl::string_view name, const std::string& path) {
  RETURN_IF_ERROR(CheckAdapterName(name));
  RETURN_IF_ERROR(CheckPath(path));
  const absl::MutexLock load_lock(&load_mutex_);
  ASSIGN_OR_RETURN(KnownModel known, KnownModelOf(ModelOfAdapter(name)));
  const std::string digest = known.digest;
  ASSIGN_OR_RETURN(const ResidentModel base, WithWeights(std::move(known)));
  ResidentAdapter loaded{.name = std::string(name), .path = path};
  ASSIGN_OR_RETURN(loaded.adapter, ReadAdapter(path, *base.model));
  const absl::MutexLock lock(&mutex_);
  const auto still = models_.find(base.name);
  if (still == models_.end() || still->second.digest != digest) {
    return absl::AbortedError(
        absl::StrCat(base.name, " was unloaded meanwhile; try again"));
  }
  residency_.Put(name, loaded.adapter, loaded.adapter->bytes(),
                 /*pinned=*/false);
  KnownAdapter added{.adapter = loaded, .digest = loaded.adapter->digest()};
  added.adapter.adapter = nullptr;
  adapters_.insert_or_assign(loaded.name, std::move(added));
  return loaded;
}

absl::Status ModelRegistry::KeepAdapter(
    absl::string_view name, std::shared_ptr<const LoraAdapter> adapter,
    const Model& base) {
  RETURN_IF_ERROR(CheckKeptName(name));
  const absl::MutexLock lock(&mutex_);
  const auto model = models_.find(ModelOfAdapter(name));
  if (model == models_.end() || model->second.digest != base.digest()) {
    return absl::AbortedError(
        absl::StrCat(ModelOfAdapter(name),
                     " was unloaded meanwhile; load it and try again"));
  }
  // Pinned: there is nothing to read it from again.
  residency_.Put(name, adapter, adapter->bytes(), /*pinned=*/true);
  KnownAdapter added{.adapter = {.name = std::string(name), .path = ""},
                     .digest = adapter->digest()};
  adapters_.insert_or_assign(std::string(name), std::move(added));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const LoraAdapter>> ModelRegistry::ReadAdapter(
    const std::string& path, const Model& base) {
  for (;;) {
    absl::StatusOr<std::shared_ptr<const LoraAdapter>> adapter =
        LoraAdapter::Load(path, base);
    if (adapter.ok()) {
      RETURN_IF_ERROR(residency_.MakeRoom(path, (*adapter)->bytes()));
      return adapter;
    }
    if (!IsOutOfMemory(adapter.status()) || !residency_.EvictOne()) {
      return adapter;
    }
  }
}

absl::Status ModelRegistry::UnloadAdapter(absl::string_view name) {
  const absl::MutexLock lock(&mutex_);
  const auto found = adapters_.find(name);
  if (found == adapters_.end()) return NoSuchAdapter(name);
  residency_.Erase(name);
  adapters_.erase(found);
  return absl::OkStatus();
}

absl::StatusOr<ResidentAdapter> ModelRegistry::GetAdapter(
    absl::string_view name) {
  {
    const absl::MutexLock lock(&mutex_);
    const auto found = adapters_.find(name);
    if (found == adapters_.end()) return NoSuchAdapter(name);
    ResidentAdapter adapter = found->second.adapter;
    adapter.adapter = residency_.FindAdapter(name);
    if (adapter.adapter != nullptr) return adapter;
  }
  const absl::MutexLock load_lock(&load_mutex_);
  ASSIGN_OR_RETURN(KnownModel base, KnownModelOf(ModelOfAdapter(name)));
  ASSIGN_OR_RETURN(KnownAdapter known, KnownAdapterOf(name));
  ResidentAdapter& adapter = known.adapter;
  // Another call may have read it meanwhile.
  adapter.adapter = residency_.FindAdapter(name);
  if (adapter.adapter != nullptr) return std::move(adapter);
  ASSIGN_OR_RETURN(const ResidentModel model, WithWeights(std::move(base)));
  ASSIGN_OR_RETURN(adapter.adapter, ReadAdapter(adapter.path, *model.model));
  if (adapter.adapter->digest() != known.digest) {
    return FilesChanged(adapter.name, adapter.path);
  }
  const absl::MutexLock lock(&mutex_);
  if (adapters_.find(name) != adapters_.end()) {
    residency_.Put(name, adapter.adapter, adapter.adapter->bytes(),
                   /*pinned=*/false);
  }
  return std::move(adapter);
}

std::vector<ResidentAdapter> ModelRegistry::ListAdapters(
    absl::string_view model) const {
  const absl::MutexLock lock(&mutex_);
  std::vector<ResidentAdapter> adapters;
  for (const auto& [name, known] : adapters_) {
    if (ModelOfAdapter(name) != model || HasNoFiles(name)) continue;
    ResidentAdapter adapter = known.adapter;
    adapter.adapter = residency_.PeekAdapter(name);
    if (adapter.adapter != nullptr) adapters.push_back(std::move(adapter));
  }
  return adapters;
}

}  // namespace dissonance
