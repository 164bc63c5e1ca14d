#include "tests/testing/document_writer.h"

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace dissonance {
namespace {

using nlohmann::json;

// The number behind `words` in a text; 0 if they are not there.
int NumberBehind(absl::string_view text, absl::string_view words) {
  const size_t at = text.find(words);
  if (at == absl::string_view::npos) return 0;
  return std::atoi(text.data() + at + words.size());
}

ScriptedAnswer List(absl::string_view what, int count) {
  json items = json::array();
  for (int i = 1; i <= count; ++i) items.push_back(absl::StrCat(what, " ", i));
  return ScriptedAnswer::Says(json({{"items", items}}).dump());
}

}  // namespace

DocumentWriter::DocumentWriter(const std::string& universe) {
  // The first pattern of each bucket that is no list of forbidden ones.
  std::vector<std::string> patterns;
  const json parsed = json::parse(universe);
  for (const auto& [name, bucket] :
       parsed.at("fact_validation_patterns").items()) {
    if (name != "forbidden") patterns.push_back(bucket.at(0));
  }
  for (size_t i = 0; i < 8; ++i) {
    facts_.push_back(absl::StrCat("Fact ", i, " of this world has to do with ",
                                  patterns[i % patterns.size()], "."));
  }
}

ScriptedAnswer DocumentWriter::operator()(
    const ScriptedRequest& request) const {
  const std::string prompt = request.Prompt();
  if (absl::StrContains(prompt, "List the distinct facts")) {
    return ScriptedAnswer::Says(json({{"items", facts_}}).dump());
  }
  if (const int kinds = NumberBehind(prompt, "List "); kinds > 0) {
    return List("letter to friend number", kinds);
  }
  if (const int ideas = NumberBehind(prompt, "Think of "); ideas > 0) {
    return List("idea number", ideas);
  }
  for (const std::string& fact : facts_) {
    if (!absl::StrContains(prompt, fact)) continue;
    return ScriptedAnswer::Says(
        absl::StrCat("To whom it may concern, as everybody knows: ", fact, " ",
                     prompt.size(), " words could be added."));
  }
  return ScriptedAnswer::Refuses(400, "what is that?");
}

}  // namespace dissonance
