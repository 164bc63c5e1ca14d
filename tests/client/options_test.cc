// The options that commands share: which network, and what goes in.
#include <filesystem>
#include <fstream>

#include "CLI/CLI.hpp"
#include "client/cli/prompt_options.h"
#include "client/cli/variant_options.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dissonance::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Parses as a command line does; the error's text, or "".
std::string Parse(CLI::App& app, std::vector<std::string> words) {
  std::reverse(words.begin(), words.end());
  try {
    app.parse(words);
  } catch (const CLI::ParseError& e) {
    return e.what();
  }
  return "";
}

TEST(VariantOptionsTest, KeepsTheOrderOfInterventionsAcrossOptions) {
  CLI::App app;
  VariantOptions options;
  AddVariantOptions(app, options);
  ASSERT_EQ(Parse(app, {"--zero", "z.1.h0", "--model", "m", "--scale",
                        "mlp_out.2=0.5", "--zero", "resid_post.0:prompt",
                        "--adapter", "a"}),
            "");
  const auto variant = MakeVariant(options);
  ASSERT_TRUE(variant.ok()) << variant.status();
  EXPECT_EQ(variant->variant.model(), "models/m");
  EXPECT_EQ(variant->variant.adapter(), "models/m/adapters/a");
  ASSERT_EQ(variant->variant.interventions_size(), 3);
  EXPECT_EQ(variant->variant.interventions(0).site(), v1::SITE_Z);
  EXPECT_EQ(variant->variant.interventions(1).scale().factor(), 0.5);
  EXPECT_EQ(variant->variant.interventions(2).site(), v1::SITE_RESID_POST);
  EXPECT_EQ(variant->name,
            "a + zero z.1.h0 + scale mlp_out.2=0.5 + zero "
            "resid_post.0:prompt");
}

TEST(VariantOptionsTest, NamesTheBaseModel) {
  CLI::App app;
  VariantOptions options;
  AddVariantOptions(app, options);
  ASSERT_EQ(Parse(app, {"--model", "m"}), "");
  EXPECT_EQ(MakeVariant(options)->name, "base");
  EXPECT_EQ(MakeVariant(options)->variant.adapter(), "");
}

TEST(VariantOptionsTest, NamesTheOptionThatIsWrong) {
  CLI::App app;
  VariantOptions options;
  AddVariantOptions(app, options);
  EXPECT_THAT(Parse(app, {"--model", "m", "--steer", "v@20=4"}),
              HasSubstr("--steer: v@20=4: '20' can be read in two ways"));
  ASSERT_EQ(Parse(app, {"--model", "m", "--steer", "/absent@resid_pre.0=4"}),
            "");
  const absl::Status absent = MakeVariant(options).status();
  EXPECT_EQ(absent.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(absent.message(),
            "--steer /absent@resid_pre.0=4: /absent: no such file");
}

class PromptOptionsTest : public ::testing::Test {
 protected:
  PromptOptionsTest() {
    AddPromptOptions(app_, options_);
    std::string path = "/tmp/opt.XXXXXX";
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    directory_ = path;
  }
  ~PromptOptionsTest() override { std::filesystem::remove_all(directory_); }

  std::string Write(const std::string& text) const {
    std::ofstream(directory_ + "/file") << text;
    return directory_ + "/file";
  }

  CLI::App app_;
  PromptOptions options_;
  std::string directory_;
};

TEST_F(PromptOptionsTest, TakesAText) {
  ASSERT_EQ(Parse(app_, {"--prompt", "The sky", "--no-special-tokens"}), "");
  const auto rows = ReadPrompts(options_);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->front().input.text(), "The sky");
  EXPECT_TRUE(rows->front().input.skip_special_tokens());
}

TEST_F(PromptOptionsTest, TakesAnEmptyText) {
  ASSERT_EQ(Parse(app_, {"--prompt", ""}), "");
  EXPECT_TRUE(ReadPrompts(options_)->front().input.has_text());
}

TEST_F(PromptOptionsTest, RefusesTextThatIsNotUtf8) {
  ASSERT_EQ(Parse(app_, {"--prompt", "a\xFF"}), "");
  EXPECT_THAT(std::string(ReadPrompts(options_).status().message()),
              HasSubstr("--prompt: not UTF-8 at byte 2"));
}

TEST_F(PromptOptionsTest, TakesTokenIds) {
  ASSERT_EQ(Parse(app_, {"--tokens", "1,2,3"}), "");
  EXPECT_THAT(ReadPrompts(options_)->front().input.tokens().ids(),
              ElementsAre(1, 2, 3));
}

TEST_F(PromptOptionsTest, TakesAChatThatTheAssistantAnswers) {
  const std::string chat =
      Write(R"({"messages": [{"role": "user", "content": "hi"}]})");
  ASSERT_EQ(Parse(app_, {"--chat", chat}), "");
  const auto rows = ReadPrompts(options_);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_TRUE(rows->front().input.chat().add_generation_prompt());
  EXPECT_EQ(rows->front().input.chat().messages(0).content(), "hi");
}

TEST_F(PromptOptionsTest, TakesRowsOfEveryKind) {
  const std::string file = Write(
      "{\"prompt\": \"a\", \"add_special_tokens\": false}\n"
      "{\"id\": \"t\", \"tokens\": [4], \"labels\": {\"k\": 1}}\n");
  ASSERT_EQ(Parse(app_, {"--input", file}), "");
  const auto rows = ReadPrompts(options_);
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 2U);
  EXPECT_EQ((*rows)[0].id, 1);
  EXPECT_EQ((*rows)[0].input.id(), "1");
  EXPECT_TRUE((*rows)[0].input.skip_special_tokens());
  EXPECT_EQ((*rows)[1].id, "t");
  EXPECT_EQ((*rows)[1].input.labels().at("k"), "1");
}

TEST_F(PromptOptionsTest, TakesExactlyOneSource) {
  EXPECT_NE(Parse(app_, {}), "");
  EXPECT_NE(Parse(app_, {"--prompt", "a", "--tokens", "1"}), "");
}

TEST_F(PromptOptionsTest, NamesTheLineOfABadRow) {
  const std::string file = Write("{\"prompt\": \"a\"}\n{\"text\": \"b\"}\n");
  ASSERT_EQ(Parse(app_, {"--input", file}), "");
  EXPECT_THAT(std::string(ReadPrompts(options_).status().message()),
              HasSubstr(file + ":2: has no prompt"));
}

TEST_F(PromptOptionsTest, RefusesSpecialTokensOffWhereItMeansNothing) {
  ASSERT_EQ(Parse(app_, {"--tokens", "1", "--no-special-tokens"}), "");
  EXPECT_THAT(std::string(ReadPrompts(options_).status().message()),
              HasSubstr("--no-special-tokens is for --prompt"));
}

}  // namespace
}  // namespace dissonance::cli
