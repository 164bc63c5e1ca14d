// What this program was built of, e.g. "0.5.0+1a2b3c4d". Thread safe.
#ifndef DISSONANCE_SERVER_CONTROL_CODE_VERSION_H_
#define DISSONANCE_SERVER_CONTROL_CODE_VERSION_H_

#include <string>

namespace dissonance {

// The version, and the revision where it was built in a git tree, with
// ".changed" if that held changes.
std::string CodeVersion();

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_CODE_VERSION_H_
