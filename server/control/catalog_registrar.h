// AdapterRegistrar over the catalog: what jobs trained becomes an adapter like
// any other, of the job's owner. Thread safe. Borrows everything.
#ifndef DISSONANCE_SERVER_CONTROL_CATALOG_REGISTRAR_H_
#define DISSONANCE_SERVER_CONTROL_CATALOG_REGISTRAR_H_

#include <optional>
#include <string>

#include "server/control/model_catalog.h"
#include "src/lab/finetune/adapter_registrar.h"
#include "src/lab/storage/model_store.h"
#include "src/lab/storage/token_store.h"

namespace dissonance {

class CatalogRegistrar final : public AdapterRegistrar {
 public:
  CatalogRegistrar(ModelCatalog& catalog, ModelStore& store, TokenStore& tokens)
      : catalog_(catalog), store_(store), tokens_(tokens) {}

  absl::StatusOr<v1::Adapter> Register(
      const std::string& user, const v1::RegisterAdapterRequest& request,
      const CallOptions& options) override;
  absl::Status Unregister(const std::string& user,
                          const std::string& name) override;
  absl::StatusOr<std::optional<v1::Adapter>> Find(
      const std::string& name) override;

 private:
  ModelCatalog& catalog_;
  ModelStore& store_;
  TokenStore& tokens_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_CATALOG_REGISTRAR_H_
