#include "server/control/openai_answer.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dissonance {
namespace {

using nlohmann::json;
using ::testing::IsEmpty;

OpenAiRequest Parsed(const std::string& fields) {
  auto request =
      ParseCompletion(R"({"model": "m", "prompt": "a b")" + fields + "}");
  EXPECT_TRUE(request.ok()) << request.status();
  return *std::move(request);
}

// Tokens 0 to 3 are "a", " b", one half of a character, and special.
v1::DetokenizeResponse Texts() {
  v1::DetokenizeResponse texts;
  for (const char* text : {"a", " b", "\xC3", ""}) {
    texts.add_tokens()->set_text(text);
  }
  texts.mutable_tokens(3)->set_piece("<end>");
  return texts;
}

v1::GenerateResponse Prompt() {
  v1::GenerateResponse event;
  v1::GeneratePrompt& prompt = *event.mutable_prompt();
  prompt.set_text("a b");
  prompt.add_tokens()->set_token_id(3);
  prompt.add_tokens()->set_token_id(0);
  prompt.add_tokens()->set_token_id(1);
  prompt.mutable_tokens(1)->set_logprob(-1);
  prompt.mutable_tokens(2)->set_logprob(-2);
  v1::TokenLogprob& top = *prompt.mutable_tokens(2)->add_top();
  top.set_token_id(0);
  top.set_logprob(-0.5);
  return event;
}

v1::GenerateResponse Delta(int32_t id, const std::string& text) {
  v1::GenerateResponse event;
  v1::GeneratedToken& token = *event.mutable_delta()->add_tokens();
  token.set_token_id(id);
  token.set_logprob(-3);
  event.mutable_delta()->set_text(text);
  return event;
}

v1::GenerateResponse End(v1::FinishReason reason, const std::string& text) {
  v1::GenerateResponse event;
  event.mutable_end()->set_finish_reason(reason);
  event.mutable_end()->set_text(text);
  return event;
}

v1::GenerateResponse Summary() {
  v1::GenerateResponse event;
  event.mutable_summary()->set_prompt_token_count(3);
  event.mutable_summary()->set_generated_token_count(2);
  return event;
}

std::vector<v1::GenerateResponse> Events() {
  return {Prompt(), Delta(1, " b"), Delta(2, ""),
          End(v1::FINISH_REASON_LENGTH, "\uFFFD"), Summary()};
}

std::vector<json> AddAll(OpenAiAnswer& answer,
                         const std::vector<v1::GenerateResponse>& events) {
  answer.LearnTokens({0, 1, 2, 3}, Texts());
  std::vector<json> chunks;
  for (const v1::GenerateResponse& event : events) {
    EXPECT_THAT(answer.UnknownTokens(event), IsEmpty());
    for (json& chunk : answer.Add(event)) chunks.push_back(std::move(chunk));
  }
  return chunks;
}

TEST(OpenAiAnswerTest, AnEchoBeginsWithThePromptAndItsLogprobs) {
  const OpenAiRequest request =
      Parsed(R"(, "echo": true, "logprobs": 1, "max_tokens": 2)");
  OpenAiAnswer answer(request);
  EXPECT_THAT(AddAll(answer, Events()), IsEmpty());
  const json whole = answer.Whole();
  EXPECT_EQ(whole["object"], "text_completion");
  EXPECT_EQ(whole["model"], "m");
  EXPECT_EQ(whole["usage"], json({{"prompt_tokens", 3},
                                  {"completion_tokens", 2},
                                  {"total_tokens", 5}}));
  const json& choice = whole["choices"][0];
  EXPECT_EQ(choice["text"], "a b b\uFFFD");
  EXPECT_EQ(choice["finish_reason"], "length");
  const json& logprobs = choice["logprobs"];
  EXPECT_EQ(logprobs["tokens"],
            json({"<end>", "a", " b", " b", "bytes:\\xc3"}));
  EXPECT_EQ(logprobs["token_logprobs"], json({nullptr, -1, -2, -3, -3}));
  EXPECT_EQ(logprobs["text_offset"], json({0, 0, 1, 3, 5}));
  EXPECT_EQ(logprobs["top_logprobs"][0], json());
  // The token itself is there, too.
  EXPECT_EQ(logprobs["top_logprobs"][2], json({{"a", -0.5}, {" b", -2.0}}));
}

TEST(OpenAiAnswerTest, WithoutNewTokensThePromptIsAll) {
  const OpenAiRequest request =
      Parsed(R"(, "echo": true, "logprobs": 1, "max_tokens": 0)");
  OpenAiAnswer answer(request);
  AddAll(answer, Events());
  const json whole = answer.Whole();
  EXPECT_EQ(whole["choices"][0]["text"], "a b");
  EXPECT_EQ(whole["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(whole["choices"][0]["logprobs"]["tokens"].size(), 3U);
  EXPECT_EQ(whole["usage"]["completion_tokens"], 0);
}

TEST(OpenAiAnswerTest, ChunksTogetherAreTheWholeAnswer) {
  const OpenAiRequest request =
      Parsed(R"(, "echo": true, "logprobs": 1, "max_tokens": 2, "stream": true,
               "stream_options": {"include_usage": true})");
  OpenAiAnswer answer(request);
  const std::vector<json> chunks = AddAll(answer, Events());
  ASSERT_EQ(chunks.size(), 4U);
  std::string text;
  json offsets = json::array();
  for (size_t i = 0; i < 3; ++i) {
    const json& choice = chunks[i]["choices"][0];
    text += choice["text"];
    EXPECT_EQ(chunks[i]["usage"], json());
    EXPECT_EQ(choice["finish_reason"], i == 2 ? json("length") : json());
    if (choice["logprobs"].is_null()) continue;
    for (const json& offset : choice["logprobs"]["text_offset"]) {
      offsets.push_back(offset);
    }
  }
  EXPECT_EQ(text, "a b b\uFFFD");
  EXPECT_EQ(offsets, json({0, 0, 1, 3, 5}));
  EXPECT_THAT(chunks[3]["choices"], IsEmpty());
  EXPECT_EQ(chunks[3]["usage"]["total_tokens"], 5);
}

TEST(OpenAiAnswerTest, ChoicesAreByPromptThenSample) {
  OpenAiRequest request = Parsed(R"(, "n": 2, "max_tokens": 1)");
  *request.generate.add_inputs() = request.generate.inputs(0);
  OpenAiAnswer answer(request);
  for (const int input : {1, 0}) {
    for (const int sample : {0, 1}) {
      for (v1::GenerateResponse event :
           {Delta(0, std::to_string(input) + std::to_string(sample)),
            End(v1::FINISH_REASON_STOP_STRING, "")}) {
        event.set_input_index(input);
        event.set_sample_index(sample);
        answer.Add(event);
      }
    }
  }
  const json choices = answer.Whole()["choices"];
  ASSERT_EQ(choices.size(), 4U);
  const char* texts[] = {"00", "01", "10", "11"};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(choices[i]["index"], i);
    EXPECT_EQ(choices[i]["text"], texts[i]);
    EXPECT_EQ(choices[i]["finish_reason"], "stop");
    EXPECT_EQ(choices[i]["logprobs"], json());
  }
}

TEST(OpenAiAnswerTest, AConversationsChunksBeginWithTheRole) {
  auto request = ParseChatCompletion(R"({"model": "m", "stream": true,
      "messages": [{"role": "user", "content": "x"}], "logprobs": true})");
  ASSERT_TRUE(request.ok()) << request.status();
  OpenAiAnswer answer(*request);
  std::vector<v1::GenerateResponse> events = Events();
  events[0].mutable_prompt()->clear_tokens();  // they come with echo only
  const std::vector<json> chunks = AddAll(answer, events);
  ASSERT_EQ(chunks.size(), 3U);
  EXPECT_EQ(chunks[0]["object"], "chat.completion.chunk");
  EXPECT_EQ(chunks[0]["choices"][0]["delta"],
            json({{"role", "assistant"}, {"content", " b"}}));
  EXPECT_EQ(chunks[0]["choices"][0]["logprobs"]["content"][0]["bytes"],
            json({32, 98}));
  EXPECT_EQ(chunks[2]["choices"][0]["delta"], json({{"content", "\uFFFD"}}));
}

}  // namespace
}  // namespace dissonance
