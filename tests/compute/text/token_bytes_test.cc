#include "src/compute/text/token_bytes.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "src/base/utf8.h"
#include "tests/compute/text/text_testing.h"

namespace dissonance {
namespace {

class TokenBytesTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto tokenizer =
        Tokenizer::Load(GoldenPath(std::string("tokenizers/") + GetParam()));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(TokenBytesTest, MakeTheTextThoughACharacterTakesSeveralTokens) {
  const std::string text =
      "Gr\u00FC\u00DFe, \u529B \U0001F30D is\n\n  a world.";
  const auto ids = tokenizer_->Encode(text, /*add_special_tokens=*/true);
  ASSERT_TRUE(ids.ok()) << ids.status();
  const auto bytes = TokenBytes::Create(*tokenizer_);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  std::string all;
  bool has_part = false;
  for (const int32_t id : *ids) {
    const auto own = bytes->Of(id, /*skip_special_tokens=*/true);
    ASSERT_TRUE(own.ok()) << own.status();
    has_part = has_part || FindInvalidUtf8(*own).has_value();
    all += *own;
  }
  EXPECT_EQ(std::string(absl::StripPrefix(all, " ")), text);
  EXPECT_TRUE(has_part);
}

TEST_P(TokenBytesTest, SpecialTokensHaveTheirNameUnlessTheyAreSkipped) {
  const auto bytes = TokenBytes::Create(*tokenizer_);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const auto& special = tokenizer_->special_tokens();
  ASSERT_FALSE(special.empty());
  const std::string name = special.begin()->second;
  const auto id = tokenizer_->TokenId(name);
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_EQ(bytes->Of(*id, /*skip_special_tokens=*/true).value_or("?"), "");
  EXPECT_EQ(bytes->Of(*id, /*skip_special_tokens=*/false).value_or("?"), name);
}

TEST_P(TokenBytesTest, AnIdWithoutAVocabularyEntryAddsNothing) {
  const auto bytes = TokenBytes::Create(*tokenizer_);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(bytes->Of(10'000'000, true).value_or("?"), "");
  EXPECT_FALSE(bytes->Of(-1, true).ok());
}

INSTANTIATE_TEST_SUITE_P(Goldens, TokenBytesTest,
                         ::testing::Values("llama2_legacy", "llama3_bytelevel",
                                           "mistral_metaspace",
                                           "qwen_bytelevel", "gemma_bpe"));

}  // namespace
}  // namespace dissonance
