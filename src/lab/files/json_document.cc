#include "src/lab/files/json_document.h"

#include <utility>

namespace dissonance {

std::string JsonDocument(const nlohmann::json& value) {
  return value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

nlohmann::json ProvenanceJson(const v1::Provenance& provenance) {
  nlohmann::json versions = nlohmann::json::object();
  for (const auto& [component, version] : provenance.versions()) {
    versions[component] = version;
  }
  return {{"model_digest", provenance.model_digest()},
          {"adapter_digest", provenance.adapter_digest()},
          {"tokenizer_digest", provenance.tokenizer_digest()},
          {"input_digest", provenance.input_digest()},
          {"dtype", v1::DType_Name(provenance.dtype())},
          {"device", provenance.device()},
          {"seed", provenance.seed()},
          {"reproducible", provenance.reproducible()},
          {"versions", std::move(versions)}};
}

}  // namespace dissonance
