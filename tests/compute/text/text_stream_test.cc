#include "src/compute/text/text_stream.h"

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "src/base/utf8.h"
#include "tests/compute/text/text_testing.h"

namespace dissonance {
namespace {

class TextStreamTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto tokenizer =
        Tokenizer::Load(GoldenPath(std::string("tokenizers/") + GetParam()));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }

  static bool IsByteLevel() {
    return std::string(GetParam()).ends_with("bytelevel");
  }
  std::vector<int32_t> Encode(const std::string& text) const {
    auto ids = tokenizer_->Encode(text, /*add_special_tokens=*/false);
    EXPECT_TRUE(ids.ok()) << ids.status();
    return ids.value_or(std::vector<int32_t>());
  }
  std::string Decode(const std::vector<int32_t>& ids) const {
    auto text = tokenizer_->Decode(ids, /*skip_special_tokens=*/true);
    EXPECT_TRUE(text.ok()) << text.status();
    return text.value_or("");
  }

  // What the stream gives for tokens behind a prompt, until a stop string.
  std::string Stream(const std::vector<int32_t>& prompt,
                     const std::vector<int32_t>& tokens,
                     std::vector<std::string> stops = {}) const {
    TextStream stream(*tokenizer_, prompt, std::move(stops));
    std::string text;
    for (const int32_t token : tokens) {
      const auto piece = stream.Add(token);
      EXPECT_TRUE(piece.ok()) << piece.status();
      if (!piece.ok()) return text;
      EXPECT_EQ(FindInvalidUtf8(piece->text), std::nullopt);
      text += piece->text;
      if (piece->has_stopped) return text;
    }
    return text + stream.Finish().value_or("");
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(TextStreamTest, PiecesMakeTheWholeText) {
  const std::string prompt = "The force between two masses";
  const std::string text =
      " falls with the square, doesn't it? \xE4\xB8\xAD\xE6\x96\x87 "
      "\xF0\x9F\x9A\x80\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x94\xAC end .";
  const std::vector<int32_t> ids = Encode(prompt + text);
  for (size_t cut = 1; cut < ids.size(); ++cut) {
    const std::vector<int32_t> before(ids.begin(), ids.begin() + cut);
    const std::vector<int32_t> after(ids.begin() + cut, ids.end());
    std::string known = Decode(before);
    // The prompt's own cut character comes with what completes it; where single
    // bytes are tokens it has spoiled whole characters before it.
    if (known.ends_with("\xEF\xBF\xBD") && !IsByteLevel()) continue;
    while (known.ends_with("\xEF\xBF\xBD")) known.resize(known.size() - 3);
    EXPECT_EQ(known + Stream(before, after), Decode(ids)) << "cut at " << cut;
  }
}

TEST_P(TextStreamTest, RandomTokensAreNeverBrokenCharacters) {
  std::mt19937 random(3);
  const std::vector<int32_t> prompt = Encode("Once");
  for (int i = 0; i < 20; ++i) {
    std::vector<int32_t> tokens(60);
    for (int32_t& token : tokens) {
      token = static_cast<int32_t>(
          random() % static_cast<uint32_t>(tokenizer_->vocab_size()));
    }
    std::vector<int32_t> all = prompt;
    all.insert(all.end(), tokens.begin(), tokens.end());
    // The context is a few tokens only, so the whole text may differ in how
    // many replacement characters stand for a run of stray bytes.
    const auto plain = [](std::string text) {
      for (size_t at = text.find("\xEF\xBF\xBD"); at != std::string::npos;
           at = text.find("\xEF\xBF\xBD")) {
        text.erase(at, 3);
      }
      return text;
    };
    const std::string streamed = Stream(prompt, tokens);
    // Where a token may be a single byte, a stray byte spoils whole characters
    // before it, which were given already.
    if (IsByteLevel()) {
      EXPECT_EQ(plain(Decode(prompt) + streamed), plain(Decode(all)));
    }
  }
}

TEST_P(TextStreamTest, EndsBeforeAStopStringThatSpansTokens) {
  const std::vector<int32_t> prompt = Encode("Q: why?");
  const std::vector<int32_t> tokens =
      Encode(" because of this and that. Next question");
  EXPECT_EQ(Stream(prompt, tokens, {"s and th", "never"}),
            Stream(prompt, tokens)
                .substr(0, Stream(prompt, tokens).find("s and th")));
  // The beginning of a stop string that does not come is given in the end.
  EXPECT_EQ(Stream(prompt, tokens, {"question!"}), Stream(prompt, tokens));
}

INSTANTIATE_TEST_SUITE_P(All, TextStreamTest,
                         ::testing::Values("gemma_bpe", "llama2_legacy",
                                           "llama3_bytelevel",
                                           "mistral_metaspace",
                                           "qwen_bytelevel", "unigram"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace dissonance
