#include "server/control/openai_request.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/control/openai_error.h"

namespace dissonance {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A request with further fields.
std::string Completion(const std::string& fields) {
  return absl::StrCat(R"({"model": "m", "prompt": "x")",
                      fields.empty() ? "" : ", ", fields, "}");
}
std::string Chat(const std::string& fields) {
  return absl::StrCat(
      R"({"model": "m", "messages": [{"role": "user", "content": "x"}])",
      fields.empty() ? "" : ", ", fields, "}");
}

// The field that an error is about, as a client sees it.
std::string ParamOf(const absl::StatusOr<OpenAiRequest>& parsed) {
  if (parsed.ok()) return "(no error)";
  const json error = OpenAiErrorBody(parsed.status())["error"];
  EXPECT_EQ(error["type"], "invalid_request_error");
  EXPECT_THAT(error["message"].get<std::string>(),
              HasSubstr(error["param"].get<std::string>()));
  return error["param"];
}

TEST(OpenAiRequestTest, NamesAreThoseThatUsersKnow) {
  const auto base = ParseCompletion(R"({"model": "tiny", "prompt": "x"})");
  ASSERT_TRUE(base.ok()) << base.status();
  EXPECT_EQ(base->generate.variants(0).model(), "models/tiny");
  EXPECT_EQ(base->generate.variants(0).adapter(), "");
  const auto tuned = ParseCompletion(R"({"model": "tiny:cubic",
                                         "prompt": "x"})");
  ASSERT_TRUE(tuned.ok()) << tuned.status();
  EXPECT_EQ(tuned->model, "tiny:cubic");
  EXPECT_EQ(tuned->generate.variants(0).model(), "models/tiny");
  EXPECT_EQ(tuned->generate.variants(0).adapter(),
            "models/tiny/adapters/cubic");
}

TEST(OpenAiRequestTest, DefaultsAreThoseOfOpenAi) {
  const auto first = ParseCompletion(Completion(""));
  ASSERT_TRUE(first.ok()) << first.status();
  const v1::GenerationOptions& options = first->generate.options();
  EXPECT_EQ(options.max_new_token_count(), 16);
  EXPECT_EQ(options.sampling().temperature(), 1);
  EXPECT_EQ(first->generate.sample_count(), 1);
  EXPECT_FALSE(first->generate.echo());
  EXPECT_FALSE(first->wants_logprobs);
  EXPECT_FALSE(first->streams);
  const auto second = ParseCompletion(Completion(""));
  EXPECT_NE(options.sampling().seed(),
            second->generate.options().sampling().seed());
  const auto chat = ParseChatCompletion(Chat(""));
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->generate.options().max_new_token_count(), 0);
  EXPECT_TRUE(chat->generate.inputs(0).chat().add_generation_prompt());
}

TEST(OpenAiRequestTest, OptionsAreGenerates) {
  const auto parsed = ParseCompletion(Completion(
      R"("max_tokens": 3, "temperature": 0.5, "top_p": 0.9, "seed": 7,
         "stop": ["a", "b"], "n": 2, "echo": true, "logprobs": 4,
         "top_k": -1, "min_p": 0.1, "repetition_penalty": 1.1,
         "stream": true, "stream_options": {"include_usage": true})"));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const v1::GenerateRequest& request = parsed->generate;
  const v1::Sampling& sampling = request.options().sampling();
  EXPECT_EQ(request.options().max_new_token_count(), 3);
  EXPECT_EQ(sampling.temperature(), 0.5);
  EXPECT_EQ(sampling.top_p(), 0.9);
  EXPECT_EQ(sampling.seed(), 7U);
  EXPECT_EQ(sampling.top_k(), 0);
  EXPECT_EQ(sampling.min_p(), 0.1);
  EXPECT_EQ(sampling.repetition_penalty(), 1.1);
  EXPECT_THAT(request.options().stop_strings(), ElementsAre("a", "b"));
  EXPECT_EQ(request.sample_count(), 2);
  EXPECT_EQ(request.top_logprob_count(), 4);
  EXPECT_TRUE(request.echo());
  EXPECT_TRUE(parsed->streams);
  EXPECT_TRUE(parsed->includes_usage);
}

TEST(OpenAiRequestTest, APromptIsTextOrTokensOrAListOfThem) {
  const auto inputs = [](const std::string& prompt) {
    const auto parsed = ParseCompletion(
        absl::StrCat(R"({"model": "m", "prompt": )", prompt, "}"));
    EXPECT_TRUE(parsed.ok()) << prompt << parsed.status();
    std::string out;
    if (!parsed.ok()) return out;
    for (const v1::Input& input : parsed->generate.inputs()) {
      absl::StrAppend(&out, input.text(), "|");
      for (const int32_t id : input.tokens().ids()) {
        absl::StrAppend(&out, id, " ");
      }
    }
    return out;
  };
  EXPECT_EQ(inputs(R"("a")"), "a|");
  EXPECT_EQ(inputs(R"(["a", "b"])"), "a|b|");
  EXPECT_EQ(inputs("[1, 2]"), "|1 2 ");
  EXPECT_EQ(inputs("[[1, 2], [3]]"), "|1 2 |3 ");
}

TEST(OpenAiRequestTest, NoNewTokensAreAskedForAsOneThatIsDropped) {
  const auto parsed = ParseCompletion(Completion(R"("max_tokens": 0)"));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE(parsed->drops_new_tokens);
  EXPECT_EQ(parsed->generate.options().max_new_token_count(), 1);
}

TEST(OpenAiRequestTest, AConversationsTextMayComeInParts) {
  const auto parsed = ParseChatCompletion(R"({"model": "m", "messages": [
      {"role": "system", "content": "be short"},
      {"role": "user", "content": [{"type": "text", "text": "one "},
                                   {"type": "text", "text": "two"}]}],
      "max_tokens": 5, "max_completion_tokens": 6, "logprobs": true,
      "top_logprobs": 2, "chat_template_kwargs": {"thinking": false}})");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const v1::Chat& chat = parsed->generate.inputs(0).chat();
  EXPECT_EQ(chat.messages(0).role(), "system");
  EXPECT_EQ(chat.messages(1).content(), "one two");
  EXPECT_EQ(chat.template_kwargs_json(), R"({"thinking":false})");
  EXPECT_EQ(parsed->generate.options().max_new_token_count(), 6);
  EXPECT_EQ(parsed->generate.top_logprob_count(), 2);
}

TEST(OpenAiRequestTest, InterventionsAreThePublicMessages) {
  const auto parsed = ParseCompletion(Completion(
      R"("interventions": [{"site": "SITE_RESID_POST", "blocks": [2],
          "add": {"vector": {"direction": "directions/d"},
                  "coefficient": 4}}])"));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const v1::Intervention& own = parsed->generate.variants(0).interventions(0);
  EXPECT_EQ(own.site(), v1::SITE_RESID_POST);
  EXPECT_EQ(own.add().vector().direction(), "directions/d");
  EXPECT_EQ(own.add().coefficient(), 4);
  for (const char* wrong :
       {"3", R"([{"sight": 1}])", R"([{"site": "SITE_NOWHERE"}])"}) {
    EXPECT_EQ(ParamOf(ParseCompletion(
                  Completion(absl::StrCat(R"("interventions": )", wrong)))),
              "interventions")
        << wrong;
  }
}

TEST(OpenAiRequestTest, UnknownFieldsAndThoseThatChangeNothingAreIgnored) {
  EXPECT_TRUE(
      ParseCompletion(
          Completion(
              R"("user": "u", "logit_bias": {}, "tools": [], "suffix": null,
                     "frequency_penalty": 0, "presence_penalty": 0.0,
                     "best_of": 1, "whatever": {"a": 1})"))
          .ok());
  EXPECT_TRUE(ParseChatCompletion(
                  Chat(R"("response_format": {"type": "text"}, "tools": null,
                          "modalities": ["text"])"))
                  .ok());
}

TEST(OpenAiRequestTest, WhatCantBeHonouredIsRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {"logit_bias", R"({"5": 1})"},
      {"frequency_penalty", "0.5"},
      {"presence_penalty", "1"},
      {"suffix", R"("x")"},
      {"best_of", "3"},
      {"tools", R"([{"type": "function"}])"},
      {"response_format", R"({"type": "json_object"})"},
      {"modalities", R"(["text", "audio"])"},
      {"audio", R"({"voice": "x"})"}};
  for (const auto& [name, value] : cases) {
    EXPECT_EQ(ParamOf(ParseCompletion(
                  Completion(absl::StrCat("\"", name, "\": ", value)))),
              name);
  }
}

TEST(OpenAiRequestTest, WrongTypesAndRangesAreRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {"max_tokens", "-1"},
      {"max_tokens", R"("5")"},
      {"max_tokens", "1e300"},
      {"n", "0"},
      {"temperature", R"("x")"},
      {"seed", "18446744073709551615"},
      {"stop", "5"},
      {"stop", R"(["a", 1])"},
      {"stream", "1"},
      {"stream_options", "1"},
      {"logprobs", "true"},
      {"echo", "1"}};
  for (const auto& [name, value] : cases) {
    EXPECT_EQ(ParamOf(ParseCompletion(
                  Completion(absl::StrCat("\"", name, "\": ", value)))),
              name)
        << value;
  }
  for (const char* prompt : {"5", "[]", "[[]]", "[1, -2]", "[1.5]", "{}",
                             R"([1, "a"])", R"(["a", 1])", "[99999999999]"}) {
    EXPECT_EQ(ParamOf(ParseCompletion(
                  absl::StrCat(R"({"model": "m", "prompt": )", prompt, "}"))),
              "prompt")
        << prompt;
  }
  EXPECT_EQ(ParamOf(ParseCompletion(R"({"prompt": "x"})")), "model");
  EXPECT_EQ(ParamOf(ParseCompletion(R"({"model": "m"})")), "prompt");
  EXPECT_EQ(ParamOf(ParseChatCompletion(R"({"model": "m"})")), "messages");
  EXPECT_EQ(ParamOf(ParseChatCompletion(Chat(R"("top_logprobs": 1)"))),
            "top_logprobs");
}

TEST(OpenAiRequestTest, ImagesAreRefusedWhereTheyStand) {
  EXPECT_EQ(ParamOf(ParseChatCompletion(R"({"model": "m", "messages": [
                {"role": "user", "content": "a"},
                {"role": "user", "content": [{"type": "image_url"}]}]})")),
            "messages[1].content");
  EXPECT_EQ(ParamOf(ParseChatCompletion(R"({"model": "m", "messages": [
                {"role": "assistant", "content": null}]})")),
            "messages[0].content");
}

TEST(OpenAiRequestTest, WhatIsNotAJsonObjectIsRefused) {
  for (const char* body : {"", "{", "[]", "5", R"({"model": "m",})",
                           R"({"a": 1, "a": 2})", "\xff"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseCompletion(body).status()))
        << body;
  }
}

}  // namespace
}  // namespace dissonance
