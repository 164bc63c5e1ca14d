#include "server/worker/versions.h"

#include <torch/headeronly/version.h>

namespace dissonance {

std::map<std::string, std::string> ComponentVersions() {
  return {{"dissonance", DISSONANCE_VERSION}, {"libtorch", TORCH_VERSION}};
}

}  // namespace dissonance
