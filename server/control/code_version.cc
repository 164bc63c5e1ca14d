#include "server/control/code_version.h"

#include "revision.h"

namespace dissonance {

std::string CodeVersion() {
  return std::string(DISSONANCE_VERSION) + DISSONANCE_REVISION;
}

}  // namespace dissonance
