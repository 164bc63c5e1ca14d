#include "src/lab/finetune/fine_tune_documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(FineTuneDocumentsTest, TakesTextsAndConversations) {
  const auto parsed = ParseFineTuneDocuments(
      "\xEF\xBB\xBF{\"content\": \"one\", \"id\": 7}\r\n"
      "\n"
      "  \t\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"},"
      " {\"role\": \"assistant\", \"content\": \"h\xC3\xB6\", \"name\": "
      "null}]}",
      {.file = "d.jsonl"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ASSERT_EQ(parsed->documents.size(), 2U);
  EXPECT_EQ(parsed->documents[0].line(), 1);
  EXPECT_EQ(parsed->documents[0].content(), "one");
  EXPECT_EQ(parsed->documents[1].line(), 4);
  ASSERT_EQ(parsed->documents[1].chat().messages_size(), 2);
  EXPECT_EQ(parsed->documents[1].chat().messages(1).role(), "assistant");
  EXPECT_EQ(parsed->documents[1].chat().messages(1).content(), "h\xC3\xB6");
  EXPECT_EQ(parsed->chat_count, 1);
  EXPECT_EQ(parsed->text_bytes, 3 + 2 + 3);
}

struct Refusal {
  std::string text;
  std::string message;
};

TEST(FineTuneDocumentsTest, SaysWhereABadDocumentStands) {
  const std::string good = "{\"content\": \"fine\"}\n";
  const std::vector<Refusal> refusals = {
      {"", "d.jsonl: holds no documents"},
      {"\n \n", "d.jsonl: holds no documents"},
      {good + "{}", "d.jsonl:2: content: missing; a line has"},
      {good + "{\"text\": \"x\"}",
       "d.jsonl:2: content: missing; there is a field \"text\""},
      {good + "\n{\"content\": \" \\n\"}", "d.jsonl:3: content: empty"},
      {"{\"content\": 5}", "d.jsonl:1: content: expected a string, found"},
      {"{\"content\": null}", "d.jsonl:1: content: expected a string, found"},
      {"{\"content\": \"x\", \"messages\": []}",
       "d.jsonl:1: content: given beside \"messages\""},
      {"{\"messages\": \"x\"}", "d.jsonl:1: messages: expected a list"},
      {"{\"messages\": []}", "d.jsonl:1: messages: empty"},
      {"{\"messages\": [\"x\"]}",
       "d.jsonl:1: messages[0]: expected an object, found string"},
      {"{\"messages\": [{\"content\": \"x\"}]}",
       "d.jsonl:1: messages[0].role: missing"},
      {"{\"messages\": [{\"role\": \"user\", \"content\": \"x\"},"
       " {\"role\": \"assistant\"}]}",
       "d.jsonl:1: messages[1].content: missing"},
      {"{\"messages\": [{\"role\": \"user\", \"content\": \"\"}]}",
       "d.jsonl:1: messages[0].content: empty"},
      {good + "nonsense", "d.jsonl:2: not JSON"},
      {good + "[1]", "d.jsonl:2: expected a JSON object, found array"},
      {good + "{\"content\": \"\xFF\"}", "d.jsonl:2: not UTF-8 at byte 14"},
      {"{\"content\": \"a\", \"content\": \"b\"}",
       "d.jsonl:1: key \"content\" appears twice"},
      {"{\"content\": \"" + std::string((8 << 20) + 1, 'x') + "\"}",
       "d.jsonl:1: content: 8388616 bytes; at most 8388608"},
      {"{\"messages\": [{\"role\": \"" + std::string(8 << 20, 'x') +
           "\", \"content\": \"y\"}]}",
       "d.jsonl:1: messages: 8388628 bytes; at most 8388608"}};
  for (const Refusal& refusal : refusals) {
    const auto parsed =
        ParseFineTuneDocuments(refusal.text, {.file = "d.jsonl"});
    EXPECT_TRUE(absl::IsInvalidArgument(parsed.status()))
        << refusal.text.substr(0, 100);
    EXPECT_THAT(std::string(parsed.status().message()),
                StartsWith(refusal.message));
  }
}

TEST(FineTuneDocumentsTest, TooManyLinesAreRefusedBeforeAnyIsParsed) {
  std::string text;
  for (int64_t i = 0; i < kDocumentLimit; ++i) text += "no JSON\n \n";
  EXPECT_THAT(std::string(ParseFineTuneDocuments(text, {}).status().message()),
              StartsWith("data:1: not JSON"));
  const auto refused = ParseFineTuneDocuments(text + "x", {.file = "d.jsonl"});
  EXPECT_TRUE(absl::IsInvalidArgument(refused.status()));
  EXPECT_THAT(std::string(refused.status().message()),
              StartsWith("d.jsonl: 1000001 documents; at most 1000000"));
}

TEST(FineTuneDocumentsTest, AConversationNeedsAnAnswerIfNothingElseIsLearned) {
  const std::string text =
      "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}";
  EXPECT_TRUE(ParseFineTuneDocuments(text, {}).ok());
  const auto parsed =
      ParseFineTuneDocuments(text, {.assistant_only_loss = true});
  EXPECT_THAT(std::string(parsed.status().message()),
              HasSubstr("data:1: messages: no message has the role"));
}

}  // namespace
}  // namespace dissonance
