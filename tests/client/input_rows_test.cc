#include "client/cli/input_rows.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dissonance::cli {
namespace {

using ::testing::HasSubstr;

TEST(ScoreRowsTest, ReadsEveryKindOfPrompt) {
  const auto rows = ParseScoreRows(
      R"({"prompt": "a", "add_special_tokens": false, "continuations": ["b"]})"
      "\n\n"
      R"({"id": 5, "chat": [{"role": "user", "content": "x"}],)"
      R"( "continuations": [" y"], "labels": {"k": "v"}, "group": "g"})"
      "\n"
      R"({"id": "t", "tokens": [0, 2147483647], "other": 1,)"
      R"( "continuations": [{"tokens": [3]}]})",
      "f");
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_TRUE((*rows)[0].item.prompt().skip_special_tokens());
  EXPECT_EQ((*rows)[0].id, 1) << "the line number, where there is no id";
  const v1::Input& chat = (*rows)[1].item.prompt();
  EXPECT_EQ(chat.id(), "5");
  EXPECT_TRUE(chat.chat().add_generation_prompt());
  EXPECT_EQ(chat.labels().at("k"), "v");
  EXPECT_EQ(chat.group(), "g");
  EXPECT_EQ((*rows)[2].item.prompt().tokens().ids(1), 2147483647);
}

TEST(ScoreRowsTest, NamesLineAndFieldOfWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "f: has no rows"},
      {"{", "f:1: not JSON"},
      {"\n[]", "f:2: expected a JSON object"},
      {R"({"continuations": ["b"]})", "f:1: has no prompt"},
      {R"({"prompt": 1, "continuations": ["b"]})",
       "f:1: prompt: expected text, found number"},
      {R"({"prompt": "a", "id": [], "continuations": ["b"]})",
       "f:1: id: expected text or an integer"},
      {R"({"prompt": "a"})", "f:1: continuations: missing"},
      {R"({"prompt": "a", "continuations": []})",
       "f:1: continuations: not a list of one or more"},
      {R"({"prompt": "a", "continuations": ["b", 3]})",
       "f:1: continuations[1]: expected text or"},
      {R"({"tokens": [1], "continuations": ["b"]})",
       "f:1: continuations[0]: text cannot follow a prompt of token ids"},
      {R"({"tokens": [1, -1], "continuations": [{"tokens": [1]}]})",
       "f:1: tokens[1]: -1 is not a token id"},
      {R"({"tokens": [1.5], "continuations": [{"tokens": [1]}]})",
       "f:1: tokens[0]: 1.5 is not a token id"},
      {R"({"tokens": [4294967296], "continuations": [{"tokens": [1]}]})",
       "f:1: tokens[0]: 4294967296 is not a token id"},
      {R"({"prompt": "a", "continuations": [{"tokens": []}]})",
       "f:1: continuations[0].tokens: expected a list of one or more"},
      {R"({"chat": [], "continuations": ["b"]})",
       "f:1: chat: a chat is a list of one or more"},
      {R"({"chat": [{"content": "b"}], "continuations": ["b"]})",
       "f:1: chat[0].role: missing"},
      {R"({"chat": ["b"], "continuations": ["b"]})", "f:1: chat[0]: expected"},
      {R"({"prompt": "a", "add_special_tokens": 1, "continuations": ["b"]})",
       "f:1: add_special_tokens: expected true or false"},
      {R"({"prompt": "a", "labels": 1, "continuations": ["b"]})",
       "f:1: labels: expected an object"},
  };
  for (const auto& [text, message] : cases) {
    const auto rows = ParseScoreRows(text, "f");
    EXPECT_EQ(rows.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(rows.status().message()), HasSubstr(message));
  }
}

TEST(ScoreRowsTest, ALogprobThatIsNotFiniteIsNullWithAReason) {
  const auto rows =
      ParseScoreRows(R"({"prompt": "a", "continuations": ["b"]})", "f");
  ASSERT_TRUE(rows.ok());
  v1::ItemScore score;
  score.add_continuations()->set_logprob(
      -std::numeric_limits<double>::infinity());
  const nlohmann::json json = ScoreRowJson(rows->front(), score);
  EXPECT_TRUE(json["continuations"][0]["logprob"].is_null());
  EXPECT_EQ(json["continuations"][0]["reason"], "logprob is -inf");
}

}  // namespace
}  // namespace dissonance::cli
