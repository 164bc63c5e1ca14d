// Versions of what results depend on. Thread safe.
#ifndef DISSONANCE_SERVER_WORKER_VERSIONS_H_
#define DISSONANCE_SERVER_WORKER_VERSIONS_H_

#include <map>
#include <string>

namespace dissonance {

// E.g. {"dissonance": "0.1.0", "libtorch": "2.11.0"}.
std::map<std::string, std::string> ComponentVersions();

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_VERSIONS_H_
