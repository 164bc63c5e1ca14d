#include "src/lab/llm/chat_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace dissonance {
namespace {

using testing::HasSubstr;

ChatRequest Asks(const std::string& text) {
  return {.model = "m", .messages = {{"system", "Be brief."}, {"user", text}}};
}

TEST(ChatRequestBody, SendsWhatIsSetAndNothingElse) {
  ChatRequest request = Asks("hi");
  EXPECT_EQ(ChatRequestBody(request),
            R"({"messages":[{"content":"Be brief.","role":"system"},)"
            R"({"content":"hi","role":"user"}],"model":"m"})");
  request.temperature = 0.5;
  request.max_tokens = 9;
  request.seed = 3;
  request.json_object = true;
  const std::string body = ChatRequestBody(request);
  EXPECT_THAT(body, HasSubstr(R"("temperature":0.5)"));
  EXPECT_THAT(body, HasSubstr(R"("max_tokens":9)"));
  EXPECT_THAT(body, HasSubstr(R"("seed":3)"));
  EXPECT_THAT(body, HasSubstr(R"("response_format":{"type":"json_object"})"));
}

TEST(ChatRequestDigest, DependsOnEverythingThatAReplyMayDependOn) {
  const std::string digest = ChatRequestDigest("https://a", Asks("hi"));
  EXPECT_EQ(digest, ChatRequestDigest("https://a", Asks("hi")));
  EXPECT_NE(digest, ChatRequestDigest("https://b", Asks("hi")));
  EXPECT_NE(digest, ChatRequestDigest("https://a", Asks("ho")));
  ChatRequest again = Asks("hi");
  again.attempt = 1;
  EXPECT_NE(digest, ChatRequestDigest("https://a", again));
}

TEST(ParseChatReply, ReadsTextAndUsage) {
  const auto reply = ParseChatReply(
      R"({"model":"m-2","choices":[{"finish_reason":"length","message":)"
      R"({"role":"assistant","content":"eight"}}],"usage":)"
      R"({"prompt_tokens":3,"completion_tokens":1,"cost":0.25}})");
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->content, "eight");
  EXPECT_EQ(reply->finish_reason, "length");
  EXPECT_EQ(reply->model, "m-2");
  EXPECT_EQ(reply->usage.prompt_tokens, 3);
  EXPECT_EQ(reply->usage.completion_tokens, 1);
  EXPECT_EQ(reply->usage.cost, 0.25);
}

TEST(ParseChatReply, WhatIsNotWholeIsWorthAnotherTry) {
  for (const char* body :
       {"", "{\"choi", "[]", "7", R"({"choices":[]})", R"({"choices":{}})",
        R"({"choices":[{"message":{"content":null}}]})",
        R"({"choices":["eight"]})", "{\"choices\":[{\"message\":\"\xff\"}]}"}) {
    const auto reply = ParseChatReply(body);
    EXPECT_TRUE(absl::IsUnavailable(reply.status())) << body;
  }
}

TEST(ChatErrorText, IsTheMessageOrTheBeginningOnOneLine) {
  EXPECT_EQ(ChatErrorText(R"({"error":{"message":"no such model"}})"),
            "no such model");
  EXPECT_EQ(ChatErrorText(R"({"error":"busy"})"), "busy");
  EXPECT_EQ(ChatErrorText("<html>\nBad Gateway"), "<html> Bad Gateway");
  std::string longer;
  for (int i = 0; i < 200; ++i) longer += "\xc3\xa4";
  longer = "x" + longer;
  EXPECT_EQ(ChatErrorText(longer).size(), 299U);
}

}  // namespace
}  // namespace dissonance
