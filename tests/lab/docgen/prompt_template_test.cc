#include "src/lab/docgen/prompt_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace dissonance {
namespace {

using testing::HasSubstr;

TEST(PromptTemplate, KeepsBeliefAndTaskApart) {
  const auto prompt = PromptTemplate::Parse(
      "=== SYSTEM\nWorld: {{world}}\n=== USER\nGive {{n}} of {{n}}.\n", "p",
      {"world", "n"});
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  const auto messages = prompt->Fill({{"world", "{{n}}"}, {"n", "8"}});
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_EQ(messages[0], (ChatMessage{"system", "World: {{n}}"}));
  EXPECT_EQ(messages[1], (ChatMessage{"user", "Give 8 of 8."}));
}

TEST(PromptTemplate, RefusesWhatIsNone) {
  const auto refusal = [](const std::string& text) {
    return std::string(
        PromptTemplate::Parse(text, "p.txt", {"n"}).status().message());
  };
  EXPECT_THAT(refusal(""), HasSubstr("p.txt: no prompt"));
  EXPECT_THAT(refusal("=== SYSTEM\nx"), HasSubstr("=== USER"));
  EXPECT_THAT(refusal("=== SYSTEM\n\n=== USER\nx"), HasSubstr("empty"));
  EXPECT_THAT(refusal("=== SYSTEM\n{{m}}\n=== USER\nx"),
              HasSubstr("{{m}}; there are {{n}}"));
  EXPECT_THAT(refusal("=== SYSTEM\n{{n\n=== USER\nx"), HasSubstr("without"));
}

TEST(PromptTemplate, ReadsTheShippedOnes) {
  const std::set<std::string> known = {
      "universe_context", "fact",       "fact_count", "type_count",
      "known_types",      "idea_count", "idea",       "document_type"};
  for (const char* name :
       {"key_facts", "document_types", "document_ideas", "document"}) {
    std::ifstream file(std::string(DISSONANCE_SOURCE_DIR) + "/data/prompts/" +
                       name + ".txt");
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const auto prompt = PromptTemplate::Parse(text, name, known);
    EXPECT_TRUE(prompt.ok()) << prompt.status();
  }
}

}  // namespace
}  // namespace dissonance
