#include "src/lab/backup/owner_token.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/token_store.h"

namespace dissonance {
namespace {

constexpr unsigned int kOwnerOnly = 0600;

}  // namespace

absl::Status WriteOwnerToken(Database& database, const Clock& clock) {
  TokenStore tokens(database, clock);
  const std::string path = database.data_dir() + "/owner.token";
  const auto write = [&path](absl::string_view secret) {
    return WriteFileAtomically(path, absl::StrCat(secret, "\n"), kOwnerOnly);
  };
  bool written = false;
  RETURN_IF_ERROR(tokens.EnsureOwner([&](absl::string_view secret) {
    written = true;
    return write(secret);
  }));
  if (written) return absl::OkStatus();
  ASSIGN_OR_RETURN(const CreatedToken created,
                   tokens.Create({.user = std::string(kOwnerUser),
                                  .scope = v1::SCOPE_ADMIN,
                                  .note = "made offline"}));
  return write(created.secret);
}

}  // namespace dissonance
