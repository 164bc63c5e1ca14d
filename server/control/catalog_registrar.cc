#include "server/control/catalog_registrar.h"

#include "src/base/status_macros.h"
#include "src/lab/storage/viewer.h"

namespace dissonance {
namespace {

absl::StatusOr<Viewer> ViewerFor(TokenStore& tokens, const std::string& user) {
  ASSIGN_OR_RETURN(const bool sees_all, tokens.IsAdministrator(user));
  return Viewer{.user = user, .sees_all = sees_all};
}

}  // namespace

absl::StatusOr<v1::Adapter> CatalogRegistrar::Register(
    const std::string& user, const v1::RegisterAdapterRequest& request,
    const CallOptions& options) {
  ASSIGN_OR_RETURN(const Viewer viewer, ViewerFor(tokens_, user));
  return catalog_.RegisterAdapter(viewer, request, options);
}

absl::Status CatalogRegistrar::Unregister(const std::string& user,
                                          const std::string& name) {
  ASSIGN_OR_RETURN(const Viewer viewer, ViewerFor(tokens_, user));
  const absl::Status deleted = catalog_.DeleteAdapter(viewer, name);
  return absl::IsNotFound(deleted) ? absl::OkStatus() : deleted;
}

absl::StatusOr<std::optional<v1::Adapter>> CatalogRegistrar::Find(
    const std::string& name) {
  const absl::StatusOr<StoredAdapter> stored = store_.GetAdapter(name);
  if (absl::IsNotFound(stored.status())) return std::nullopt;
  RETURN_IF_ERROR(stored.status());
  return stored->adapter;
}

}  // namespace dissonance
