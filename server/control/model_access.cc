#include "server/control/model_access.h"

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/user_store.h"

namespace dissonance {

struct ModelAccess::Ownership {
  std::string owner;  // "users/USER"
  v1::Visibility visibility = v1::VISIBILITY_PRIVATE;

  bool IsOwn(const Viewer& viewer) const {
    return viewer.sees_all || owner == NameOfUser(viewer.user);
  }
  bool IsSeen(const Viewer& viewer) const {
    return IsOwn(viewer) || visibility == v1::VISIBILITY_LAB;
  }
};

namespace {

bool IsAdapter(const std::string& name) {
  return absl::StrContains(name, "/adapters/");
}

absl::Status NoSuch(const std::string& name) {
  return absl::NotFoundError(absl::StrCat(
      "no ", IsAdapter(name) ? "adapter " : "model ", name,
      IsAdapter(name) ? "; register it first ('dissonance adapters register')"
                      : "; load it first ('dissonance models load')",
      ", or ask whose it is to share it"));
}

// What was stored before there were owners is shared, as it was.
template <typename T, typename Ownership>
Ownership OwnershipIn(const T& stored) {
  if (stored.owner().empty()) {
    return {NameOfUser(kOwnerUser), v1::VISIBILITY_LAB};
  }
  return {stored.owner(), stored.visibility()};
}

}  // namespace

std::string ModelOfName(const std::string& name) {
  return name.substr(0, name.find("/adapters/"));
}

absl::StatusOr<ModelAccess::Ownership> ModelAccess::OwnershipOf(
    const std::string& name) const {
  if (IsAdapter(name)) {
    ASSIGN_OR_RETURN(const StoredAdapter stored, store_.GetAdapter(name));
    return OwnershipIn<v1::Adapter, Ownership>(stored.adapter);
  }
  ASSIGN_OR_RETURN(const StoredModel stored, store_.GetModel(name));
  return OwnershipIn<v1::Model, Ownership>(stored.model);
}

bool ModelAccess::Sees(const Viewer& viewer, const v1::Model& model) const {
  return OwnershipIn<v1::Model, Ownership>(model).IsSeen(viewer);
}

bool ModelAccess::Sees(const Viewer& viewer, const v1::Adapter& adapter) const {
  return OwnershipIn<v1::Adapter, Ownership>(adapter).IsSeen(viewer);
}

absl::Status ModelAccess::CheckSees(const Viewer& viewer,
                                    const std::string& name) const {
  const absl::StatusOr<Ownership> ownership = OwnershipOf(name);
  if (absl::IsNotFound(ownership.status())) return NoSuch(name);
  RETURN_IF_ERROR(ownership.status());
  if (!ownership->IsSeen(viewer)) return NoSuch(name);
  if (!IsAdapter(name)) return absl::OkStatus();
  return CheckSees(viewer, ModelOfName(name)).ok() ? absl::OkStatus()
                                                   : NoSuch(name);
}

absl::Status ModelAccess::CheckSeesAll(const Viewer& viewer,
                                       const NamedModels& named) const {
  for (const auto& names : {named.models, named.adapters}) {
    for (const std::string& name : names) {
      RETURN_IF_ERROR(CheckSees(viewer, name));
    }
  }
  return absl::OkStatus();
}

absl::Status ModelAccess::CheckChanges(const Viewer& viewer,
                                       const std::string& name) const {
  RETURN_IF_ERROR(CheckSees(viewer, name));
  ASSIGN_OR_RETURN(const Ownership ownership, OwnershipOf(name));
  if (ownership.IsOwn(viewer)) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat(name, " belongs to ", ownership.owner,
                   ", who alone may change it, beside administrators"));
}

absl::Status ModelAccess::CheckTakes(const Viewer& viewer,
                                     const std::string& name) const {
  const absl::StatusOr<Ownership> ownership = OwnershipOf(name);
  if (absl::IsNotFound(ownership.status())) return absl::OkStatus();
  RETURN_IF_ERROR(ownership.status());
  if (ownership->IsOwn(viewer)) return absl::OkStatus();
  if (CheckSees(viewer, name).ok()) return CheckChanges(viewer, name);
  return absl::AlreadyExistsError(
      absl::StrCat("the name ", name, " is taken: choose another"));
}

absl::Status CheckSeesSpec(TokenStore& tokens, const ModelAccess& access,
                           absl::string_view user, const v1::JobSpec& spec) {
  ASSIGN_OR_RETURN(const bool sees_all, tokens.IsAdministrator(user));
  ASSIGN_OR_RETURN(const NamedModels named, ModelsNeededBy(spec));
  const Viewer viewer = {.user = std::string(user), .sees_all = sees_all};
  RETURN_IF_ERROR(access.CheckSeesAll(viewer, named));
  return CheckTakesOutputs(access, viewer, spec);
}

absl::Status CheckTakesOutputs(const ModelAccess& access, const Viewer& viewer,
                               const v1::JobSpec& spec) {
  const v1::FineTuneSpec& fine_tune = spec.fine_tune();
  // One of another model, which may be hidden, is refused as such later.
  if (!spec.has_fine_tune() ||
      ModelOfName(fine_tune.output_adapter()) != fine_tune.model()) {
    return absl::OkStatus();
  }
  return access.CheckTakes(viewer, fine_tune.output_adapter());
}

}  // namespace dissonance
