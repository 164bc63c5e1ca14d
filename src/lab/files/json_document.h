// JSON for people to open. Pure functions; thread safe.
#ifndef DISSONANCE_LAB_FILES_JSON_DOCUMENT_H_
#define DISSONANCE_LAB_FILES_JSON_DOCUMENT_H_

#include <string>

#include "dissonance/v1/common.pb.h"
#include "nlohmann/json.hpp"

namespace dissonance {

// Indented, with sorted keys, UTF-8 as it is, numbers that are not finite as
// null, ended by "\n".
std::string JsonDocument(const nlohmann::json& value);

// All fields, as manifests have them.
nlohmann::json ProvenanceJson(const v1::Provenance& provenance);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_FILES_JSON_DOCUMENT_H_
