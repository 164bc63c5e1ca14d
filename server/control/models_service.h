// The public Models service over the catalog. Loading and checking take
// seconds, so its calls hold a thread each. Thread safe. Borrows catalog and
// tokens.
#ifndef DISSONANCE_SERVER_CONTROL_MODELS_SERVICE_H_
#define DISSONANCE_SERVER_CONTROL_MODELS_SERVICE_H_

#include <memory>

#include "server/control/model_catalog.h"
#include "src/lab/storage/token_store.h"

namespace grpc {
class Service;
}

namespace dissonance {

std::unique_ptr<grpc::Service> MakeModelsService(ModelCatalog& catalog,
                                                 TokenStore& tokens);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_MODELS_SERVICE_H_
