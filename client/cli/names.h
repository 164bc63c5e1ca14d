// Resource names from what people type: "tiny-world" for "models/tiny-world",
// "cubic" for "models/tiny-world/adapters/cubic". Thread safe.
#ifndef DISSONANCE_CLIENT_CLI_NAMES_H_
#define DISSONANCE_CLIENT_CLI_NAMES_H_

#include <string>

namespace dissonance::cli {

// "models/NAME".
std::string ModelName(const std::string& typed);
// "models/MODEL/adapters/NAME"; a full name is kept. `model` may be empty
// where the name is full.
std::string AdapterName(const std::string& model, const std::string& typed);
// "jobs/ULID".
std::string JobName(const std::string& typed);
// "directions/NAME".
std::string DirectionName(const std::string& typed);
// "artifacts/sha256:HEX", from that, "sha256:HEX" or the hex digits.
std::string ArtifactName(const std::string& typed);

// "users/NAME".
std::string UserName(const std::string& typed);
// "tokens/HEX".
std::string TokenName(const std::string& typed);

// The last part of a resource name, for tables.
std::string ShortName(const std::string& name);
// The same for who owns something; "-" where nobody is named.
std::string OwnerOrDash(const std::string& owner);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_NAMES_H_
