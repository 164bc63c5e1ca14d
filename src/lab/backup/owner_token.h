// The token with which the owner's command line finds its server. Thread safe.
#ifndef DISSONANCE_LAB_BACKUP_OWNER_TOKEN_H_
#define DISSONANCE_LAB_BACKUP_OWNER_TOKEN_H_

#include <string>

#include "absl/status/status.h"
#include "src/base/clock.h"
#include "src/lab/storage/database.h"

namespace dissonance {

// Makes a new admin token of the owner, who is made if missing, and writes it
// to <data_dir>/owner.token, mode 0600. Tokens made before stay valid until
// they are revoked.
absl::Status WriteOwnerToken(Database& database, const Clock& clock);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_BACKUP_OWNER_TOKEN_H_
