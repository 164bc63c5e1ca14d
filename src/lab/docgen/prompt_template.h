// A prompt with places to fill in, as data/prompts holds them:
//
//   === SYSTEM
//   You know the following world ... {{universe_context}}
//   === USER
//   List {{count}} facts ...
//
// Values; thread safe.
#ifndef DISSONANCE_LAB_DOCGEN_PROMPT_TEMPLATE_H_
#define DISSONANCE_LAB_DOCGEN_PROMPT_TEMPLATE_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "src/lab/llm/chat_messages.h"

namespace dissonance {

class PromptTemplate {
 public:
  using Values = std::map<std::string, std::string>;

  // INVALID_ARGUMENT, with the name, unless there is one part SYSTEM and behind
  // it one part USER, neither empty, whose places are all among `known`.
  static absl::StatusOr<PromptTemplate> Parse(
      absl::string_view text, absl::string_view name,
      const std::set<std::string>& known);

  // The two messages. What is filled in is not looked at for places.
  // REQUIRES: a value for each known place.
  std::vector<ChatMessage> Fill(const Values& values) const;

  // "sha256:HEX" of the text.
  const std::string& digest() const { return digest_; }

 private:
  // Text, and the place behind it; empty: none.
  struct Piece {
    std::string text;
    std::string place;
  };
  using Pieces = std::vector<Piece>;

  static absl::StatusOr<Pieces> Split(absl::string_view text,
                                      absl::string_view name,
                                      const std::set<std::string>& known);
  static std::string Join(const Pieces& pieces, const Values& values);

  Pieces system_;
  Pieces user_;
  std::string digest_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_PROMPT_TEMPLATE_H_
