// Versions of what results depend on. Thread safe.
#ifndef DISSONANCE_SERVER_WORKER_VERSIONS_H_
#define DISSONANCE_SERVER_WORKER_VERSIONS_H_

#include <map>
#include <string>

#include "src/compute/engine/engine.h"

namespace dissonance {

// E.g. {"dissonance": "0.1.0", "libtorch": "2.11.0"}.
std::map<std::string, std::string> ComponentVersions();

// ComponentVersions, and what else the bits depend on: threads, the
// processor's maker and instructions, whose float32 products prompts have, the
// engine's attention_tile.
std::map<std::string, std::string> NumericsOf(const EngineOptions& options);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_VERSIONS_H_
