// Single tokens as people read and write them. Not thread safe. Borrows the
// connection.
//
//   ASSIGN_OR_RETURN(auto candidates,
//                    ReadCandidates(connection, model, {"square= quarter"}));
//   TokenTexts texts(connection, model);
//   ASSIGN_OR_RETURN(std::string text, texts.Of(candidates[0].token_id()));
#ifndef DISSONANCE_CLIENT_CLI_TOKENS_H_
#define DISSONANCE_CLIENT_CLI_TOKENS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/connection.h"
#include "dissonance/v1/inference.pb.h"
#include "dissonance/v1/interpretability.pb.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// Texts of tokens, each asked for once.
class TokenTexts {
 public:
  // `model` is its resource name.
  TokenTexts(Connection& connection, std::string model);

  // The token's text alone; "#ID" where the model has no tokenizer.
  absl::StatusOr<std::string> Of(int32_t token_id);

  // The same for tables: "' quarter'", printable.
  absl::StatusOr<std::string> Quoted(int32_t token_id);

  // [{token_id, text, logprob}], best first.
  absl::StatusOr<nlohmann::json> TopJson(
      const google::protobuf::RepeatedPtrField<v1::TokenLogprob>& top);

 private:
  Connection& connection_;
  const std::string model_;
  std::map<int32_t, std::string> texts_;
};

// The ids that an input is to the model.
absl::StatusOr<std::vector<int32_t>> TokensOf(Connection& connection,
                                              const std::string& model,
                                              const v1::Input& input);

// For the help of options that take candidates.
inline constexpr char kCandidatesHelp[] =
    "NAME=TEXT,NAME=TEXT: each TEXT is one token, usually with the space "
    "before it (\"square= quarter,cube= eighth\"); or NAME=#ID";

// From words like "square= quarter" or "square=#17". INVALID_ARGUMENT for a
// text of several tokens, with the tokens; a usage error for a word that is not
// of the form or a name that repeats.
absl::StatusOr<std::vector<v1::Candidate>> ReadCandidates(
    Connection& connection, const std::string& model,
    const std::vector<std::string>& words);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_TOKENS_H_
