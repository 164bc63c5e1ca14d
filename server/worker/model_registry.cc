#include "server/worker/model_registry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
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
  return absl::NotFoundError(
      absl::StrCat("no model ", Shown(name),
                   " is loaded; load it first ('dissonance models load')"));
}

absl::Status NoSuchAdapter(absl::string_view name) {
  return absl::NotFoundError(
      absl::StrCat("no adapter ", Shown(name),
                   " is loaded; register it first ('dissonance adapters "
                   "register')"));
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
    std::optional<at::ScalarType> dtype) {
  RETURN_IF_ERROR(CheckModelName(name));
  RETURN_IF_ERROR(CheckPath(path));
  const absl::MutexLock load_lock(&load_mutex_);
  ResidentModel loaded{.name = std::string(name), .path = path};
  ASSIGN_OR_RETURN(loaded.tokenizer, OptionalOf(Tokenizer::Load(path)));
  ASSIGN_OR_RETURN(loaded.chat_template, OptionalOf(ChatTemplate::Load(path)));
  const ModelOptions options{
      .dtype = dtype, .device = device_, .digests = digests_};
  const absl::StatusOr<ResidentModel> resident = GetModel(name);
  if (resident.ok()) {
    // Twice the weights might not fit: it is not loaded to be compared.
    ASSIGN_OR_RETURN(const ModelIdentity asked, Model::Identify(path, options));
    if (resident->model->digest() == asked.digest &&
        resident->model->dtype() == asked.dtype &&
        TokenizerDigest(*resident) == TokenizerDigest(loaded)) {
      return resident;
    }
    return absl::AlreadyExistsError(absl::StrCat(
        loaded.name, " holds other weights, or the same in ",
        DtypeName(resident->model->dtype()), ", from ", resident->path,
        "; unload it first or choose another name"));
  }
  ASSIGN_OR_RETURN(loaded.model, Model::Load(path, options));
  ASSIGN_OR_RETURN(loaded.eos_token_ids,
                   GenerationEndTokens(path, loaded.model->spec()));
  // Loads are one at a time, so there is still none of this name.
  const absl::MutexLock lock(&mutex_);
  return models_.emplace(loaded.name, loaded).first->second;
}

absl::Status ModelRegistry::UnloadModel(absl::string_view name) {
  const absl::MutexLock lock(&mutex_);
  const auto found = models_.find(name);
  if (found == models_.end()) return NoSuchModel(name);
  models_.erase(found);
  std::erase_if(adapters_, [name](const auto& entry) {
    return ModelOfAdapter(entry.first) == name;
  });
  return absl::OkStatus();
}

absl::StatusOr<ResidentModel> ModelRegistry::GetModel(
    absl::string_view name) const {
  const absl::MutexLock lock(&mutex_);
  const auto found = models_.find(name);
  if (found == models_.end()) return NoSuchModel(name);
  return found->second;
}

std::vector<ResidentModel> ModelRegistry::ListModels() const {
  const absl::MutexLock lock(&mutex_);
  std::vector<ResidentModel> models;
  for (const auto& [name, model] : models_) models.push_back(model);
  return models;
}

absl::StatusOr<ResidentAdapter> ModelRegistry::RegisterAdapter(
    absl::string_view name, const std::string& path) {
  RETURN_IF_ERROR(CheckAdapterName(name));
  RETURN_IF_ERROR(CheckPath(path));
  const absl::MutexLock load_lock(&load_mutex_);
  ASSIGN_OR_RETURN(const ResidentModel base, GetModel(ModelOfAdapter(name)));
  ResidentAdapter loaded{.name = std::string(name), .path = path};
  ASSIGN_OR_RETURN(loaded.adapter, LoraAdapter::Load(path, *base.model));
  const absl::MutexLock lock(&mutex_);
  const auto still = models_.find(base.name);
  if (still == models_.end() || still->second.model != base.model) {
    return absl::AbortedError(
        absl::StrCat(base.name, " was unloaded meanwhile; try again"));
  }
  adapters_.insert_or_assign(loaded.name, loaded);
  return loaded;
}

absl::Status ModelRegistry::UnloadAdapter(absl::string_view name) {
  const absl::MutexLock lock(&mutex_);
  const auto found = adapters_.find(name);
  if (found == adapters_.end()) return NoSuchAdapter(name);
  adapters_.erase(found);
  return absl::OkStatus();
}

absl::StatusOr<ResidentAdapter> ModelRegistry::GetAdapter(
    absl::string_view name) const {
  const absl::MutexLock lock(&mutex_);
  const auto found = adapters_.find(name);
  if (found == adapters_.end()) return NoSuchAdapter(name);
  return found->second;
}

std::vector<ResidentAdapter> ModelRegistry::ListAdapters(
    absl::string_view model) const {
  const absl::MutexLock lock(&mutex_);
  std::vector<ResidentAdapter> adapters;
  for (const auto& [name, adapter] : adapters_) {
    if (ModelOfAdapter(name) == model) adapters.push_back(adapter);
  }
  return adapters;
}

}  // namespace dissonance
