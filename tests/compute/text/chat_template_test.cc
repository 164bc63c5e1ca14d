#include "src/compute/text/chat_template.h"

#include <cstdint>
#include <ctime>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/compute/text/tokenizer.h"
#include "tests/compute/text/text_testing.h"

namespace dissonance {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kThreads = 8;

Json Hello() { return Json::array({{{"role", "user"}, {"content", "Hello"}}}); }

std::unique_ptr<ChatTemplate> LoadOrDie(const std::string& model_dir) {
  auto chat = ChatTemplate::Load(model_dir);
  EXPECT_TRUE(chat.ok()) << chat.status();
  return chat.ok() ? *std::move(chat) : nullptr;
}

absl::StatusOr<std::unique_ptr<ChatTemplate>> LoadSource(
    const std::string& source) {
  const ModelDir model;
  model.Write("chat_template.jinja", source);
  return ChatTemplate::Load(model.path());
}

// The text, or "CODE: message".
std::string RenderSource(const std::string& source,
                         const Json& messages = Hello(),
                         const Json& variables = Json::object()) {
  auto chat = LoadSource(source);
  if (!chat.ok()) return chat.status().ToString();
  auto text =
      (*chat)->Render(messages, /*add_generation_prompt=*/true, variables);
  return text.ok() ? *text : text.status().ToString();
}

class GoldenChat : public ::testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(All, GoldenChat,
                         ::testing::Values("gemma_bpe", "llama3_bytelevel",
                                           "mistral_metaspace",
                                           "qwen_bytelevel"),
                         [](const auto& info) {
                           return std::string(info.param);
                         });

TEST_P(GoldenChat, RendersEveryConversationAndItsIds) {
  const std::string path = GoldenPath(std::string("tokenizers/") + GetParam());
  const Json expected = ReadJson(path + "/chat_expected.json");
  auto chat = LoadOrDie(path);
  auto tokenizer = Tokenizer::Load(path);
  ASSERT_NE(chat, nullptr);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ASSERT_GE(expected["conversations"].size(), 10u);
  for (const Json& golden : expected["conversations"]) {
    for (bool generate : {false, true}) {
      const std::string suffix = generate ? "gen_true" : "gen_false";
      auto text = chat->Render(golden["messages"], generate, golden["kwargs"]);
      ASSERT_TRUE(text.ok()) << text.status();
      EXPECT_EQ(*text, golden["text_" + suffix].get<std::string>());
      auto ids = (*tokenizer)->Encode(*text, /*add_special_tokens=*/false);
      ASSERT_TRUE(ids.ok()) << ids.status();
      EXPECT_EQ(*ids, golden["ids_" + suffix].get<std::vector<int32_t>>());
    }
  }
}

TEST_P(GoldenChat, GivesTheTemplatesOwnErrors) {
  const std::string path = GoldenPath(std::string("tokenizers/") + GetParam());
  auto chat = LoadOrDie(path);
  for (const Json& error : ReadJson(path + "/chat_expected.json")["errors"]) {
    auto text = chat->Render(error["messages"], true);
    EXPECT_TRUE(absl::IsInvalidArgument(text.status())) << text.status();
    EXPECT_EQ(std::string(text.status().message()),
              error["error_contains"].get<std::string>());
  }
}

TEST(ChatTemplateTest, RendersTheEndToEndConversations) {
  auto chat = LoadOrDie(GoldenPath("e2e_chat/model"));
  const Json golden = ReadJson(GoldenPath("e2e_chat/case.json"));
  for (const Json& conversation : golden["conversations"]) {
    auto text =
        chat->Render(conversation["messages"], true, conversation["kwargs"]);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_EQ(*text, conversation["text"].get<std::string>());
  }
}

// template_cases.json holds what transformers gave (see its script).
TEST(ChatTemplateTest, RendersAsTransformersDoes) {
  const Json recorded = ReadJson(std::string(DISSONANCE_SOURCE_DIR) +
                                 "/tests/compute/text/template_cases.json");
  ASSERT_GE(recorded["cases"].size(), 50u);
  for (const Json& golden : recorded["cases"]) {
    SCOPED_TRACE(golden["name"].get<std::string>());
    const std::string text = RenderSource(
        golden["template"], golden["messages"], golden["variables"]);
    if (golden.contains("text")) {
      EXPECT_EQ(text, golden["text"].get<std::string>());
    } else if (golden["kind"] == "TemplateError") {
      EXPECT_EQ(text,
                "INVALID_ARGUMENT: " + golden["error"].get<std::string>());
    } else {
      EXPECT_THAT(text, HasSubstr("INVALID_ARGUMENT: "));
    }
  }
}

TEST(ChatTemplateTest, LoadSaysWhatIsMissingOrWrong) {
  const ModelDir model;
  EXPECT_TRUE(absl::IsNotFound(ChatTemplate::Load(model.path()).status()));
  model.Write("tokenizer_config.json", R"({"bos_token": "<s>"})");
  auto missing = ChatTemplate::Load(model.path());
  EXPECT_TRUE(absl::IsNotFound(missing.status())) << missing.status();
  EXPECT_THAT(std::string(missing.status().message()),
              HasSubstr("no chat template"));

  for (const char* wrong :
       {R"({"chat_template": 3})", R"({"chat_template": ["x"]})",
        R"({"chat_template": [{"name": "default"}]})"}) {
    model.Write("tokenizer_config.json", wrong);
    auto chat = ChatTemplate::Load(model.path());
    EXPECT_TRUE(absl::IsInvalidArgument(chat.status())) << chat.status();
    EXPECT_THAT(std::string(chat.status().message()),
                HasSubstr("chat_template must be"));
  }
  auto syntax = LoadSource("one\n{% if %}");
  EXPECT_TRUE(absl::IsInvalidArgument(syntax.status())) << syntax.status();
  EXPECT_THAT(std::string(syntax.status().message()),
              HasSubstr("chat_template:2"));
  EXPECT_TRUE(absl::IsInvalidArgument(LoadSource("\xff").status()));
}

TEST(ChatTemplateTest, PicksATemplateAsTransformersDoes) {
  const ModelDir model;
  model.Write("tokenizer_config.json", R"({"chat_template": [
      {"name": "default", "template": "plain"},
      {"name": "tool_use", "template": "tools"}]})");
  const Json tools = {{"tools", Json::array({1})}};
  auto listed = LoadOrDie(model.path());
  EXPECT_EQ(*listed->Render(Hello(), true), "plain");
  EXPECT_EQ(*listed->Render(Hello(), true, tools), "tools");

  model.Write("chat_template.jinja", "file");
  auto file = LoadOrDie(model.path());
  EXPECT_EQ(*file->Render(Hello(), true), "file");
  EXPECT_EQ(*file->Render(Hello(), true, tools), "file");
  EXPECT_NE(file->digest(), listed->digest());

  model.Write("additional_chat_templates/tool_use.jinja", "tool file");
  EXPECT_EQ(*LoadOrDie(model.path())->Render(Hello(), true, tools),
            "tool file");

  const ModelDir nameless;
  nameless.Write("tokenizer_config.json",
                 R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  auto text = LoadOrDie(nameless.path())->Render(Hello(), true);
  EXPECT_TRUE(absl::IsInvalidArgument(text.status()));
  EXPECT_THAT(std::string(text.status().message()), HasSubstr("rag"));
}

TEST(ChatTemplateTest, SeesSpecialTokensAndTheCallersVariables) {
  const ModelDir model;
  model.Write("chat_template.jinja",
              "{{ bos_token }}{{ eos_token }}[{{ pad_token }}]"
              "{{ add_generation_prompt }}{{ enable_thinking }}");
  model.Write("tokenizer_config.json",
              R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>",
                  "pad_token": null})");
  auto chat = LoadOrDie(model.path());
  EXPECT_EQ(*chat->Render(Hello(), false, {{"enable_thinking", false}}),
            "<s></s>[]FalseFalse");
  EXPECT_EQ(*chat->Render(Hello(), true, {{"eos_token", "E"}}), "<s>E[]True");
}

TEST(ChatTemplateTest, TellsTheTimeWithStrftimeNow) {
  const std::string date =
      RenderSource("{{ strftime_now('%d %b %Y|%Y-%m-%d') }}");
  EXPECT_THAT(date, ::testing::MatchesRegex(
                        "[0-9]+ [A-Z][a-z]+ 2[0-9]+.[0-9]+-[0-9]+-[0-9]+"));
  EXPECT_THAT(RenderSource("{{ strftime_now('%Q') }}"),
              HasSubstr("INVALID_ARGUMENT: chat template: "));
}

TEST(ChatTemplateTest, TellsTheTimeThatItIsGiven) {
  auto chat = LoadSource("{{ strftime_now('%d %b %Y %H:%M:%S') }}");
  ASSERT_TRUE(chat.ok()) << chat.status();
  const auto render = [&](std::optional<int64_t> now) {
    auto text = (*chat)->Render(Hello(), true, Json::object(), now);
    return text.ok() ? *text : text.status().ToString();
  };
  EXPECT_EQ(render(951825599), "29 Feb 2000 11:59:59");
  EXPECT_EQ(render(0), "01 Jan 1970 00:00:00");
  // It is that call's alone.
  EXPECT_THAT(render(std::nullopt), Not(HasSubstr("1970")));
  EXPECT_THAT(render(std::numeric_limits<int64_t>::max()),
              HasSubstr("INVALID_ARGUMENT: chat: "));
}

TEST(ChatTemplateTest, ErrorsNameTheLine) {
  EXPECT_THAT(RenderSource("a\nb\n{{ messages[0].x.y }}"),
              HasSubstr("chat_template:3"));
}

TEST(ChatTemplateTest, RefusesInputThatIsNotAConversation) {
  auto chat = LoadSource("{{ messages | length }}");
  ASSERT_TRUE(chat.ok());
  EXPECT_TRUE(
      absl::IsInvalidArgument((*chat)->Render(Json::object(), true).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      (*chat)->Render(Hello(), true, Json::array()).status()));
  const Json not_utf8 = Json::array({{{"role", "user"}, {"content", "\xff"}}});
  EXPECT_TRUE(
      absl::IsInvalidArgument((*chat)->Render(not_utf8, true).status()));
  const Json long_text = Json::array(
      {{{"content", std::string(ChatTemplate::kMaxInputBytes, 'a')}}});
  EXPECT_TRUE(
      absl::IsResourceExhausted((*chat)->Render(long_text, true).status()));
  Json deep = "x";
  for (int i = 0; i < 200; ++i) deep = Json::array({deep});
  EXPECT_TRUE(absl::IsInvalidArgument((*chat)->Render(deep, true).status()));
}

std::string Repeat(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

class Bomb
    : public ::testing::TestWithParam<std::pair<const char*, std::string>> {};

INSTANTIATE_TEST_SUITE_P(
    All, Bomb,
    ::testing::Values(
        std::pair("Loops",
                  "{% for a in range(9999) %}{% for b in range(9999)"
                  " %}{% endfor %}{% endfor %}"),
        std::pair("LongOutput", "{% for a in range(99999) %}" +
                                    std::string(2000, 'x') + "{% endfor %}"),
        std::pair("DoublesInALoop",
                  "{% set n = namespace(s='xx') %}{% for a in range(60) %}"
                  "{% set n.s = n.s ~ n.s %}{% endfor %}"),
        std::pair("DoublesInALine",
                  "{% set s = 'xx' %}" + Repeat("{% set s = s ~ s %}", 60)),
        std::pair("RepeatsAString",
                  "{{ ('x' * 90000000) * 1 ~ 'y' * 90000000"
                  " ~ 'z' * 90000000 }}"),
        std::pair("PadsAFormat", "{{ '%999999999d' | format(1) }}"),
        std::pair("NestsLists",
                  "{% set n = namespace(s=[]) %}{% for a in range(99999) %}"
                  "{% for b in range(99) %}{% set n.s = [n.s] %}{% endfor %}"
                  "{% endfor %}"),
        std::pair("Captures", "{% set x %}{% for a in range(99999) %}" +
                                  std::string(9000, 'x') +
                                  "{% endfor %}{% endset %}")),
    [](const auto& info) { return std::string(info.param.first); });

TEST_P(Bomb, FailsWithoutHarm) {
  const std::string status = RenderSource(GetParam().second);
  EXPECT_THAT(status, AllOf(HasSubstr("RESOURCE_EXHAUSTED"),
                            HasSubstr("the chat template")));
  EXPECT_EQ(RenderSource("{{ messages[0].content }}"), "Hello");
}

// Stack would run out where recursion is not bounded.
TEST(ChatTemplateTest, DeepNestingFailsOrRendersWithoutHarm) {
  EXPECT_THAT(RenderSource("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
              HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(RenderSource("{{ " + std::string(5000, '(') + "1" +
                           std::string(5000, ')') + " }}"),
              HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(RenderSource(Repeat("{% if true %}", 5000) + "x" +
                           Repeat("{% endif %}", 5000)),
              HasSubstr("INVALID_ARGUMENT"));
  const std::string chain =
      RenderSource("{{ 'a'" + Repeat("~'a'", 3000) + " }}");
  EXPECT_EQ(chain, std::string(3001, 'a'));
  const std::string nest =
      "{% set n = namespace(s=[]) %}{% for a in range(20000) %}"
      "{% set n.s = [n.s] %}{% endfor %}";
  EXPECT_EQ(RenderSource(nest), "");
  EXPECT_THAT(RenderSource(nest + "{{ n.s }}"), HasSubstr("200 levels"));
  EXPECT_THAT(RenderSource(nest + "{{ n.s | tojson }}"),
              HasSubstr("200 levels"));
  EXPECT_EQ(RenderSource(nest + "{{ n.s == [n.s] }}"), "False");
}

TEST(ChatTemplateTest, ABombIsNotLitAgainAndAgain) {
  auto chat =
      LoadSource("{% set s = 'xx' %}" + Repeat("{% set s = s ~ s %}", 60));
  ASSERT_TRUE(chat.ok());
  std::string last;
  for (int i = 0; i < 5; ++i) {
    auto text = (*chat)->Render(Hello(), true);
    EXPECT_TRUE(absl::IsResourceExhausted(text.status())) << text.status();
    last = std::string(text.status().message());
  }
  EXPECT_THAT(last, HasSubstr("stopped too often"));
}

TEST(ChatTemplateTest, RefusesAHugeTemplate) {
  auto chat = LoadSource(std::string(300 << 10, 'x'));
  EXPECT_TRUE(absl::IsResourceExhausted(chat.status())) << chat.status();
}

TEST(ChatTemplateTest, RendersTheSameFromManyThreads) {
  auto chat = LoadOrDie(GoldenPath("tokenizers/llama3_bytelevel"));
  const std::string expected = *chat->Render(Hello(), true);
  std::vector<int> wrong(kThreads, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        auto text = chat->Render(Hello(), true);
        if (!text.ok() || *text != expected) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ::testing::Each(0));
}

}  // namespace
}  // namespace dissonance
