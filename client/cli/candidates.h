// Watched answers, and the tokens of prompts. Thread safe if the connection is.
//
//   ASSIGN_OR_RETURN(auto candidates,
//                    ReadCandidates(connection, model, {"square= quarter"}));
#ifndef DISSONANCE_CLIENT_CLI_CANDIDATES_H_
#define DISSONANCE_CLIENT_CLI_CANDIDATES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/connection.h"
#include "dissonance/v1/interpretability.pb.h"

namespace dissonance::cli {

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

#endif  // DISSONANCE_CLIENT_CLI_CANDIDATES_H_
