#include "client/cli/names.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace dissonance::cli {
namespace {

std::string WithPrefix(const char* prefix, const std::string& typed) {
  return absl::StartsWith(typed, prefix) ? typed : absl::StrCat(prefix, typed);
}

}  // namespace

std::string ModelName(const std::string& typed) {
  return WithPrefix("models/", typed);
}

std::string AdapterName(const std::string& model, const std::string& typed) {
  if (absl::StartsWith(typed, "models/") || model.empty()) return typed;
  return absl::StrCat(ModelName(model), "/", WithPrefix("adapters/", typed));
}

std::string JobName(const std::string& typed) {
  return WithPrefix("jobs/", typed);
}

std::string DirectionName(const std::string& typed) {
  return WithPrefix("directions/", typed);
}

std::string ArtifactName(const std::string& typed) {
  if (absl::StartsWith(typed, "artifacts/")) return typed;
  return absl::StrCat("artifacts/", WithPrefix("sha256:", typed));
}

std::string UserName(const std::string& typed) {
  return WithPrefix("users/", typed);
}

std::string TokenName(const std::string& typed) {
  return WithPrefix("tokens/", typed);
}

std::string ShortName(const std::string& name) {
  return name.substr(name.rfind('/') + 1);
}

std::string OwnerOrDash(const std::string& owner) {
  return owner.empty() ? "-" : ShortName(owner);
}

}  // namespace dissonance::cli
