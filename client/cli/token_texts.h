// The texts of single tokens, for tables. Asks the server once for each token.
// Not thread safe; borrows the connection.
//
//   TokenTexts texts(connection, "models/tiny");
//   texts.Of(1234);  // "\" blue\""
#ifndef DISSONANCE_CLIENT_CLI_TOKEN_TEXTS_H_
#define DISSONANCE_CLIENT_CLI_TOKEN_TEXTS_H_

#include <cstdint>
#include <map>
#include <string>

#include "client/cli/connection.h"

namespace dissonance::cli {

class TokenTexts {
 public:
  // `model`: "models/MODEL".
  TokenTexts(Connection& connection, std::string model);

  // In quotes, with escapes as in JSON; "-" if the server can't say, as
  // without a tokenizer.
  std::string Of(int32_t token);

 private:
  Connection& connection_;
  const std::string model_;
  std::map<int32_t, std::string> known_;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_TOKEN_TEXTS_H_
