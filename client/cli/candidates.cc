#include "client/cli/candidates.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "client/cli/errors.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

std::string TokenList(const v1::TokenizeResponse& tokens) {
  std::string out;
  for (int i = 0; i < tokens.ids_size(); ++i) {
    absl::StrAppend(&out, i > 0 ? ", " : "", "#", tokens.ids(i), " '",
                    i < tokens.pieces_size() ? tokens.pieces(i) : "", "'");
  }
  return out;
}

// The one token that `text` is.
absl::StatusOr<int32_t> TokenOf(Connection& connection,
                                const std::string& model,
                                absl::string_view word,
                                absl::string_view text) {
  if (absl::string_view digits = text; absl::ConsumePrefix(&digits, "#")) {
    int32_t id = 0;
    if (absl::SimpleAtoi(digits, &id) && id >= 0) return id;
    return UsageError(absl::StrCat(
        "--candidates: '", word, "': '", text,
        "' is no token id; write # and a number from 0, as in #17"));
  }
  v1::TokenizeRequest request;
  request.set_model(model);
  request.set_text(std::string(text));
  request.set_skip_special_tokens(true);
  ASSIGN_OR_RETURN(const v1::TokenizeResponse tokens,
                   connection.Call(&v1::Inference::Stub::Tokenize, request));
  if (tokens.ids_size() == 1) return tokens.ids(0);
  return WithHint(
      absl::InvalidArgumentError(absl::StrCat(
          "--candidates: '", word, "': '", text, "' is ", tokens.ids_size(),
          " tokens (", TokenList(tokens), "), a candidate is one")),
      absl::StartsWith(text, " ")
          ? "take the first token in which the answers differ, as NAME=#ID"
          : absl::StrCat("with the space before it ('= ", text,
                         "') it may be one; or give a token as NAME=#ID"));
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> TokensOf(Connection& connection,
                                              const std::string& model,
                                              const v1::Input& input) {
  google::protobuf::RepeatedField<int32_t> ids = input.tokens().ids();
  if (input.has_chat()) {
    v1::RenderChatRequest request;
    request.set_model(model);
    *request.mutable_chat() = input.chat();
    ASSIGN_OR_RETURN(
        const v1::RenderChatResponse response,
        connection.CallAgain(&v1::Inference::Stub::RenderChat, request));
    ids = response.ids();
  } else if (input.content_case() == v1::Input::kText) {
    v1::TokenizeRequest request;
    request.set_model(model);
    request.set_text(input.text());
    request.set_skip_special_tokens(input.skip_special_tokens());
    ASSIGN_OR_RETURN(
        const v1::TokenizeResponse response,
        connection.CallAgain(&v1::Inference::Stub::Tokenize, request));
    ids = response.ids();
  }
  return std::vector<int32_t>(ids.begin(), ids.end());
}

absl::StatusOr<std::vector<v1::Candidate>> ReadCandidates(
    Connection& connection, const std::string& model,
    const std::vector<std::string>& words) {
  std::vector<v1::Candidate> candidates;
  for (const std::string& word : words) {
    const size_t at = word.find('=');
    if (at == std::string::npos || at == 0 || at + 1 == word.size()) {
      return UsageError(absl::StrCat("--candidates: '", word,
                                     "' is not of the form NAME=TEXT or "
                                     "NAME=#ID"));
    }
    v1::Candidate candidate;
    candidate.set_name(word.substr(0, at));
    if (absl::c_any_of(candidates, [&](const v1::Candidate& other) {
          return other.name() == candidate.name();
        })) {
      return UsageError(absl::StrCat("--candidates: the name '",
                                     candidate.name(), "' appears twice"));
    }
    ASSIGN_OR_RETURN(const int32_t token,
                     TokenOf(connection, model, word,
                             absl::string_view(word).substr(at + 1)));
    candidate.set_token_id(token);
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

}  // namespace dissonance::cli
