// The texts of single tokens. Asks the server once for each token. Not thread
// safe; borrows the connection.
//
//   TokenTexts texts(connection, "models/tiny");
//   texts.Of(1234);      // " blue"
//   texts.Quoted(1234);  // "\" blue\""
#ifndef DISSONANCE_CLIENT_CLI_TOKEN_TEXTS_H_
#define DISSONANCE_CLIENT_CLI_TOKEN_TEXTS_H_

#include <cstdint>
#include <map>
#include <string>

#include "client/cli/connection.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

class TokenTexts {
 public:
  // `model`: "models/MODEL".
  TokenTexts(Connection& connection, std::string model);

  // The text as it is, for JSON; null if the server can't say, as without a
  // tokenizer.
  const nlohmann::json& Of(int32_t token);

  // For tables: in quotes, with escapes as in JSON; "-" where Of is null.
  std::string Quoted(int32_t token);

  // [{token_id, text, logprob}].
  nlohmann::json TopJson(
      const google::protobuf::RepeatedPtrField<v1::TokenLogprob>& top);

 private:
  Connection& connection_;
  const std::string model_;
  std::map<int32_t, nlohmann::json> known_;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_TOKEN_TEXTS_H_
