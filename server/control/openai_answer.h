// Events of Inference.Generate as answers of OpenAI's API: one object, or the
// chunks of a stream. Not thread safe. Borrows the request.
//
//   OpenAiAnswer answer(request);
//   for (const v1::GenerateResponse& event : events) {
//     answer.LearnTokens(...);  // of UnknownTokens(event)
//     for (const json& chunk : answer.Add(event)) ...
//   }
//   json whole = answer.Whole();
#ifndef DISSONANCE_SERVER_CONTROL_OPENAI_ANSWER_H_
#define DISSONANCE_SERVER_CONTROL_OPENAI_ANSWER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "dissonance/v1/inference.pb.h"
#include "nlohmann/json.hpp"
#include "server/control/openai_request.h"

namespace dissonance {

class OpenAiAnswer {
 public:
  explicit OpenAiAnswer(const OpenAiRequest& request);

  // Tokens whose text is not known yet and will be told; none without
  // log-probabilities.
  std::set<int32_t> UnknownTokens(const v1::GenerateResponse& event) const;
  // The answer of Detokenize, per token and without special tokens, for `ids`.
  void LearnTokens(const std::set<int32_t>& ids,
                   const v1::DetokenizeResponse& texts);

  // Takes the stream's next event. The chunks that a stream sends for it.
  // REQUIRES: no token of it is unknown.
  std::vector<nlohmann::json> Add(const v1::GenerateResponse& event);

  // REQUIRES: all events were taken.
  nlohmann::json Whole() const;

 private:
  // A token as log-probabilities tell of it, with its place in the text in
  // code points.
  struct Entry {
    const v1::TokenText* text = nullptr;
    v1::GeneratedToken token;
    size_t offset = 0;
  };
  struct Choice {
    std::string text;
    std::vector<Entry> entries;
    const char* finish = nullptr;
    size_t end = 0;  // of the tokens so far, in code points
    bool has_begun = false;
  };
  // What an event adds to a choice.
  struct Piece {
    std::string text;
    std::vector<Entry> entries;
    const char* finish = nullptr;
  };

  std::string EchoOf(const v1::GenerateResponse& event) const;
  Piece PieceOf(const v1::GenerateResponse& event, Choice& choice);
  void AddEntry(const v1::GeneratedToken& token, size_t size, Choice& choice,
                Piece& piece) const;
  void AddPrompt(const v1::GeneratePrompt& prompt, absl::string_view text,
                 Choice& choice, Piece& piece) const;

  nlohmann::json Head(const char* chat_object) const;
  nlohmann::json Chunk(int index, const Piece& piece, bool is_first) const;
  nlohmann::json Logprobs(const std::vector<Entry>& entries) const;
  nlohmann::json ChatLogprobs(const std::vector<Entry>& entries) const;
  nlohmann::json Usage() const;

  const OpenAiRequest& request_;
  const std::string id_;
  const int64_t created_;  // Unix seconds
  std::map<int32_t, v1::TokenText> texts_;
  // Of each input, with the text to echo.
  std::map<int, std::pair<v1::GeneratePrompt, std::string>> prompts_;
  std::map<int, Choice> choices_;
  v1::GenerateSummary summary_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_OPENAI_ANSWER_H_
