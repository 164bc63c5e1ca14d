// Idempotency keys. Thread safe.
#ifndef DISSONANCE_CLIENT_CLI_REQUEST_ID_H_
#define DISSONANCE_CLIENT_CLI_REQUEST_ID_H_

#include <string>

namespace dissonance::cli {

// A key under which asking again cannot make a second job.
std::string RandomRequestId();

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_REQUEST_ID_H_
