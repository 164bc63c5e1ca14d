#include "src/compute/text/tokenizer.h"

#include <array>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/compute/text/text_testing.h"

namespace dissonance {
namespace {

using Json = nlohmann::ordered_json;
using Ids = std::vector<int32_t>;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kThreads = 8;
constexpr int kTexts = 200;
// First byte of a character with so many more bytes.
constexpr std::array<unsigned char, 4> kLead = {0, 0xc0, 0xe0, 0xf0};

std::unique_ptr<Tokenizer> LoadOrDie(const std::string& model_dir) {
  auto tokenizer = Tokenizer::Load(model_dir);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

Ids EncodeOrDie(const Tokenizer& tokenizer, absl::string_view text,
                bool add_special_tokens) {
  auto ids = tokenizer.Encode(text, add_special_tokens);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.value_or(Ids{-1});
}

std::string DecodeOrDie(const Tokenizer& tokenizer, const Ids& ids,
                        bool skip_special_tokens) {
  auto text = tokenizer.Decode(ids, skip_special_tokens);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.value_or("");
}

class GoldenTokenizer : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    path_ = GoldenPath(std::string("tokenizers/") + GetParam());
    tokenizer_ = LoadOrDie(path_);
    ASSERT_NE(tokenizer_, nullptr);
  }

  std::string path_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

INSTANTIATE_TEST_SUITE_P(
    All, GoldenTokenizer,
    ::testing::Values("gemma_bpe", "llama2_legacy", "llama3_bytelevel",
                      "mistral_metaspace", "qwen_bytelevel", "unigram"),
    [](const auto& info) { return std::string(info.param); });

TEST_P(GoldenTokenizer, EncodesEveryString) {
  const Json expected = ReadJson(path_ + "/expected.json");
  ASSERT_GE(expected["strings"].size(), 50u);
  for (const Json& string : expected["strings"]) {
    const std::string text = string["text"];
    SCOPED_TRACE(text);
    EXPECT_EQ(EncodeOrDie(*tokenizer_, text, false), string["ids"].get<Ids>());
    const Ids with_special = EncodeOrDie(*tokenizer_, text, true);
    EXPECT_EQ(with_special, string["ids_with_special"].get<Ids>());

    auto encoding = tokenizer_->EncodeWithOffsets(text, false);
    ASSERT_TRUE(encoding.ok()) << encoding.status();
    EXPECT_EQ(encoding->ids, string["ids"].get<Ids>());
    Json offsets = Json::array();
    for (size_t i = 0; i < encoding->ids.size(); ++i) {
      offsets.push_back(
          Json::array({encoding->offsets[i].begin, encoding->offsets[i].end}));
      // The golden has the text of unknown tokens, and added tokens with the
      // white space that they took along.
      const std::string piece =
          tokenizer_->Piece(encoding->ids[i]).value_or("?");
      if (piece != "<unk>") {
        EXPECT_THAT(string["tokens"][i].get<std::string>(), HasSubstr(piece));
      }
    }
    EXPECT_EQ(offsets, string["offsets"]);
    EXPECT_EQ(DecodeOrDie(*tokenizer_, with_special, false),
              string["decode_keep_special"].get<std::string>());
    EXPECT_EQ(DecodeOrDie(*tokenizer_, with_special, true),
              string["decode_skip_special"].get<std::string>());
  }
}

TEST_P(GoldenTokenizer, DecodesEveryIdListAlsoCutCharacters) {
  const Json expected = ReadJson(path_ + "/expected.json");
  ASSERT_GE(expected["decode"].size(), 20u);
  for (const Json& decode : expected["decode"]) {
    SCOPED_TRACE(decode["ids"].dump());
    const Ids ids = decode["ids"];
    EXPECT_EQ(DecodeOrDie(*tokenizer_, ids, false),
              decode["text_keep_special"].get<std::string>());
    EXPECT_EQ(DecodeOrDie(*tokenizer_, ids, true),
              decode["text_skip_special"].get<std::string>());
  }
}

TEST_P(GoldenTokenizer, KnowsItsVocabulary) {
  const Json golden = ReadJson(path_ + "/case.json");
  EXPECT_EQ(tokenizer_->vocab_size(), golden["vocab_size"].get<int32_t>());
  EXPECT_EQ(
      Json(tokenizer_->special_tokens()),
      Json(golden["special_tokens"].get<std::map<std::string, std::string>>()));
  for (int32_t id = 0; id < tokenizer_->vocab_size(); ++id) {
    auto piece = tokenizer_->Piece(id);
    ASSERT_TRUE(piece.ok()) << id;
    EXPECT_EQ(tokenizer_->TokenId(*piece).value_or(-1), id) << *piece;
  }
  EXPECT_TRUE(
      absl::IsNotFound(tokenizer_->Piece(tokenizer_->vocab_size()).status()));
  EXPECT_TRUE(absl::IsNotFound(tokenizer_->Piece(-1).status()));
  EXPECT_TRUE(absl::IsNotFound(tokenizer_->TokenId("no such token").status()));
}

TEST(TokenizerTest, EncodesTheEndToEndConversations) {
  const Json golden = ReadJson(GoldenPath("e2e_chat/case.json"));
  auto tokenizer = LoadOrDie(GoldenPath("e2e_chat/model"));
  ASSERT_NE(tokenizer, nullptr);
  for (const Json& chat : golden["conversations"]) {
    const std::string text = chat["text"];
    EXPECT_EQ(EncodeOrDie(*tokenizer, text, false), chat["ids"].get<Ids>());
    const Ids generated = chat["gen_ids"];
    EXPECT_EQ(DecodeOrDie(*tokenizer, generated, false),
              chat["gen_text_keep_special"].get<std::string>());
    EXPECT_EQ(DecodeOrDie(*tokenizer, generated, true),
              chat["gen_text_skip_special"].get<std::string>());
    Ids until_stop = chat["stop"]["gen_ids_including_stop"];
    until_stop.pop_back();
    EXPECT_EQ(DecodeOrDie(*tokenizer, until_stop, true),
              chat["stop"]["text_without_stop"].get<std::string>());
  }
  const std::string prompt = golden["mcq"]["prompt"];
  const Ids prompt_ids = EncodeOrDie(*tokenizer, prompt, true);
  EXPECT_EQ(prompt_ids, golden["mcq"]["prompt_ids_with_special"].get<Ids>());
  for (const Json& option : golden["mcq"]["options"]) {
    Ids ids = EncodeOrDie(*tokenizer,
                          prompt + option["option"].get<std::string>(), true);
    ids.erase(ids.begin(), ids.begin() + prompt_ids.size());
    EXPECT_EQ(ids, option["ids"].get<Ids>());
  }
}

// Random Unicode: letters of several scripts, controls, spaces, combining
// marks, emoji and anything else that is a scalar value.
std::string RandomText(uint64_t& state) {
  auto next = [&state](uint64_t bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>((state >> 33) % bound);
  };
  std::string text;
  for (uint32_t left = next(40); left > 0; --left) {
    uint32_t c = 0;
    switch (next(8)) {
      case 0:
        c = next(0x80);
        break;
      case 1:
        c = next(0x20);
        break;
      case 2:
        c = 0x20;
        break;
      case 3:
        c = 0x300 + next(0x70);
        break;
      case 4:
        c = 0x4e00 + next(0x5000);
        break;
      case 5:
        c = 0x1f300 + next(0x300);
        break;
      case 6:
        c = next(0x800);
        break;
      default:
        c = next(0x110000);
        break;
    }
    if (c >= 0xd800 && c < 0xe000) c = 0xfffd;
    if (c < 0x80) {
      text += static_cast<char>(c);
    } else {
      const int extra = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
      text += static_cast<char>(kLead[extra] | (c >> (6 * extra)));
      for (int i = extra - 1; i >= 0; --i) {
        text += static_cast<char>(0x80 | (c >> (6 * i) & 0x3f));
      }
    }
  }
  return text;
}

TEST(TokenizerTest, ByteLevelDecodesWhatItEncodedOnRandomUnicode) {
  auto exact = LoadOrDie(GoldenPath("tokenizers/llama3_bytelevel"));
  auto normalizing = LoadOrDie(GoldenPath("tokenizers/qwen_bytelevel"));
  ASSERT_NE(exact, nullptr);
  ASSERT_NE(normalizing, nullptr);
  uint64_t state = 20240229;
  for (int i = 0; i < 1500; ++i) {
    const std::string text = RandomText(state);
    SCOPED_TRACE(Json(text).dump());
    const Ids ids = EncodeOrDie(*exact, text, false);
    EXPECT_EQ(DecodeOrDie(*exact, ids, false), text);
    auto encoding = exact->EncodeWithOffsets(text, false);
    ASSERT_TRUE(encoding.ok());
    EXPECT_EQ(encoding->ids, ids);

    const Ids normal = EncodeOrDie(*normalizing, text, false);
    const std::string normal_text = DecodeOrDie(*normalizing, normal, false);
    EXPECT_EQ(EncodeOrDie(*normalizing, normal_text, false), normal);
  }
}

TEST(TokenizerTest, RefusesTextThatIsNotUtf8AndSaysWhere) {
  auto tokenizer = LoadOrDie(GoldenPath("tokenizers/llama3_bytelevel"));
  for (const std::string bad :
       {"abc\xff", "abc\xc3", "abc\xed\xa0\x80", "abc\xc0\xaf"}) {
    auto ids = tokenizer->Encode(bad, false);
    EXPECT_TRUE(absl::IsInvalidArgument(ids.status())) << ids.status();
    EXPECT_THAT(std::string(ids.status().message()), HasSubstr("byte 3"));
  }
}

TEST(TokenizerTest, NulIsTextLikeAnyOther) {
  auto tokenizer = LoadOrDie(GoldenPath("tokenizers/llama3_bytelevel"));
  const std::string text("a\0b\0", 4);
  const Ids ids = EncodeOrDie(*tokenizer, text, false);
  EXPECT_EQ(DecodeOrDie(*tokenizer, ids, false), text);
}

TEST(TokenizerTest, RefusesTextAndIdsBeyondTheLimits) {
  auto tokenizer = LoadOrDie(GoldenPath("tokenizers/llama3_bytelevel"));
  const std::string text(Tokenizer::kMaxTextBytes + 1, 'a');
  auto ids = tokenizer->Encode(text, false);
  EXPECT_TRUE(absl::IsResourceExhausted(ids.status())) << ids.status();
  EXPECT_THAT(std::string(ids.status().message()), HasSubstr("16777217"));
  auto decoded = tokenizer->Decode(Ids(Tokenizer::kMaxIds + 1, 1), false);
  EXPECT_TRUE(absl::IsResourceExhausted(decoded.status()));
}

TEST(TokenizerTest, DecodesOddIds) {
  auto tokenizer = LoadOrDie(GoldenPath("tokenizers/llama3_bytelevel"));
  EXPECT_EQ(DecodeOrDie(*tokenizer, {}, false), "");
  // Rows that pad the embedding have no text.
  EXPECT_EQ(DecodeOrDie(*tokenizer, {64, 100000, 65}, false), "ab");
  auto negative = tokenizer->Decode(Ids{64, -1}, false);
  EXPECT_TRUE(absl::IsInvalidArgument(negative.status()));
}

TEST(TokenizerTest, LoadSaysWhatIsMissingOrWrong) {
  ModelDir model;
  auto missing = Tokenizer::Load(model.path());
  EXPECT_TRUE(absl::IsNotFound(missing.status())) << missing.status();
  EXPECT_THAT(std::string(missing.status().message()),
              HasSubstr("no tokenizer.json: only token ids"));

  for (const char* contents :
       {"", "{", "[]", "{\"version\": \"1.0\"}", "\x80\x02}q", "\xff\xfe"}) {
    model.Write("tokenizer.json", contents);
    auto wrong = Tokenizer::Load(model.path());
    EXPECT_TRUE(absl::IsInvalidArgument(wrong.status())) << wrong.status();
    EXPECT_THAT(std::string(wrong.status().message()),
                HasSubstr("tokenizer.json"));
  }
}

TEST(TokenizerTest, LoadNamesTheWrongFieldOfTheConfiguration) {
  const ModelDir model = ModelDir::CopyOf("tokenizers/llama2_legacy");
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"nonsense", "not JSON"},
      {"[1]", "not a JSON object"},
      {R"({"bos_token": 3})", "bos_token"},
      {R"({"eos_token": {"text": "</s>"}})", "eos_token"},
      {R"({"added_tokens_decoder": [1]})", "added_tokens_decoder"},
      {R"({"added_tokens_decoder": {"x": "a"}})", "added_tokens_decoder.x"},
      {R"({"added_tokens_decoder": {"7": {}}})", "added_tokens_decoder.7"},
      {R"({"extra_special_tokens": 4})", "extra_special_tokens"},
  };
  for (const auto& [config, mentioned] : wrong) {
    model.Write("tokenizer_config.json", config);
    auto tokenizer = Tokenizer::Load(model.path());
    EXPECT_TRUE(absl::IsInvalidArgument(tokenizer.status())) << config;
    EXPECT_THAT(std::string(tokenizer.status().message()),
                HasSubstr("tokenizer_config.json"));
    EXPECT_THAT(std::string(tokenizer.status().message()),
                HasSubstr(mentioned));
  }
}

TEST(TokenizerTest, DigestIsOfTheContentsNotOfThePath) {
  const std::string golden = "tokenizers/llama2_legacy";
  auto original = LoadOrDie(GoldenPath(golden));
  EXPECT_THAT(original->digest(), ::testing::MatchesRegex("sha256:[0-9a-f]+"));
  const ModelDir copy = ModelDir::CopyOf(golden);
  EXPECT_EQ(LoadOrDie(copy.path())->digest(), original->digest());

  Json config = copy.Json("tokenizer_config.json");
  config["tokenizer_class"] = "LlamaTokenizer";
  copy.Write("tokenizer_config.json", config.dump());
  EXPECT_NE(LoadOrDie(copy.path())->digest(), original->digest());

  const ModelDir other = ModelDir::CopyOf(golden);
  Json json = other.Json("tokenizer.json");
  json["model"]["merges"].erase(5);
  other.Write("tokenizer.json", json.dump());
  EXPECT_NE(LoadOrDie(other.path())->digest(), original->digest());
}

TEST(TokenizerTest, IgnoresTruncationAndPaddingOfTheFile) {
  const ModelDir model = ModelDir::CopyOf("tokenizers/llama3_bytelevel");
  Json json = model.Json("tokenizer.json");
  json["truncation"] = {{"direction", "Right"},
                        {"max_length", 2},
                        {"strategy", "LongestFirst"},
                        {"stride", 0}};
  json["padding"] = {{"strategy", {{"Fixed", 9}}},
                     {"direction", "Right"},
                     {"pad_to_multiple_of", nullptr},
                     {"pad_id", 0},
                     {"pad_type_id", 0},
                     {"pad_token", "!"}};
  model.Write("tokenizer.json", json.dump());
  auto plain = LoadOrDie(GoldenPath("tokenizers/llama3_bytelevel"));
  auto tokenizer = LoadOrDie(model.path());
  ASSERT_NE(tokenizer, nullptr);
  const std::string text = "more than two tokens";
  EXPECT_EQ(EncodeOrDie(*tokenizer, text, true),
            EncodeOrDie(*plain, text, true));
}

// The ids of these three tests are those of transformers 5.17.
TEST(TokenizerTest, LlamaClassPutsASpaceOnlyAtTheStart) {
  const ModelDir model = ModelDir::CopyOf("tokenizers/llama2_legacy");
  Json config = model.Json("tokenizer_config.json");
  const std::string text = "a</s> b</s>c";
  const std::string spaces = "  a <s> b c";
  config["add_bos_token"] = false;
  config["tokenizer_class"] = "LlamaTokenizer";
  model.Write("tokenizer_config.json", config.dump());
  auto first = LoadOrDie(model.path());
  EXPECT_THAT(EncodeOrDie(*first, text, true),
              ElementsAre(1, 546, 2, 547, 2, 308));
  EXPECT_THAT(EncodeOrDie(*first, spaces, true),
              ElementsAre(1, 433, 546, 433, 1, 547, 548));
  EXPECT_EQ(DecodeOrDie(*first, EncodeOrDie(*first, spaces, true), false),
            "<s>  a <s> b c");

  config["legacy"] = true;
  config["tokenizer_class"] = "LlamaTokenizerFast";
  model.Write("tokenizer_config.json", config.dump());
  auto always = LoadOrDie(model.path());
  EXPECT_THAT(EncodeOrDie(*always, text, true),
              ElementsAre(1, 546, 2, 547, 2, 548));

  config["add_prefix_space"] = false;
  model.Write("tokenizer_config.json", config.dump());
  auto never = LoadOrDie(model.path());
  EXPECT_THAT(EncodeOrDie(*never, text, true),
              ElementsAre(1, 306, 2, 547, 2, 308));
  EXPECT_EQ(DecodeOrDie(*never, EncodeOrDie(*never, text, true), false),
            "<s>a</s> b</s>c");

  // Mistral's own class is another one: tokenizer.json holds.
  model.Write("config.json", R"({"model_type": "mistral"})");
  auto mistral = LoadOrDie(model.path());
  EXPECT_THAT(EncodeOrDie(*mistral, spaces, true),
              ElementsAre(1, 679, 546, 433, 1, 433, 547, 548));
}

TEST(TokenizerTest, AddsTokensThatOnlyTheConfigurationHas) {
  const ModelDir model = ModelDir::CopyOf("tokenizers/llama2_legacy");
  Json config = model.Json("tokenizer_config.json");
  config["added_tokens_decoder"]["990"] = {
      {"content", "<|new|>"}, {"lstrip", true},      {"rstrip", false},
      {"single_word", false}, {"normalized", false}, {"special", true}};
  config["pad_token"] = "<pad>";
  config["sep_token"] = {{"__type", "AddedToken"}, {"content", "<sep>"}};
  config["additional_special_tokens"] = {"<x>"};
  model.Write("tokenizer_config.json", config.dump());
  auto tokenizer = LoadOrDie(model.path());
  EXPECT_THAT(EncodeOrDie(*tokenizer, "a <|new|> b<pad>", true),
              ElementsAre(1, 546, 682, 433, 547, 684));
  EXPECT_THAT(EncodeOrDie(*tokenizer, "<x>", true), ElementsAre(1, 685));
  EXPECT_THAT(EncodeOrDie(*tokenizer, "<sep><pad>", true),
              ElementsAre(1, 683, 684));
  EXPECT_EQ(tokenizer->vocab_size(), 686);
  EXPECT_EQ(tokenizer->special_tokens().at("sep_token"), "<sep>");
}

TEST(TokenizerTest, ReadsSpecialTokensMapBesideOldConfigurations) {
  const ModelDir model = ModelDir::CopyOf("tokenizers/llama2_legacy");
  Json config = model.Json("tokenizer_config.json");
  config["bos_token"] = "<zzz>";
  model.Write("special_tokens_map.json",
              R"({"bos_token": {"content": "<s>"}, "pad_token": "<pad>"})");
  model.Write("tokenizer_config.json", config.dump());
  EXPECT_EQ(LoadOrDie(model.path())->special_tokens().at("bos_token"), "<zzz>");

  config.erase("added_tokens_decoder");
  model.Write("tokenizer_config.json", config.dump());
  auto tokenizer = LoadOrDie(model.path());
  EXPECT_EQ(tokenizer->special_tokens().at("bos_token"), "<s>");
  EXPECT_EQ(tokenizer->vocab_size(), 683);
  EXPECT_THAT(EncodeOrDie(*tokenizer, "<sep><pad>", true),
              ElementsAre(1, 433, 282, 324, 310, 321, 65, 682));
}

TEST(TokenizerTest, SplitsSpecialTokensWhereAsked) {
  const ModelDir model = ModelDir::CopyOf("tokenizers/llama2_legacy");
  Json config = model.Json("tokenizer_config.json");
  config["split_special_tokens"] = true;
  model.Write("tokenizer_config.json", config.dump());
  EXPECT_THAT(EncodeOrDie(*LoadOrDie(model.path()), "<s>a", true),
              ElementsAre(1, 433, 282, 324, 65, 306));
}

TEST(TokenizerTest, APanicInTheLibraryIsAnError) {
  const ModelDir model = ModelDir::CopyOf("tokenizers/llama3_bytelevel");
  Json json = model.Json("tokenizer.json");
  // Stripping more spaces than a piece has indexes outside of it.
  json["decoder"] = {
      {"type", "Strip"}, {"content", "!"}, {"start", 0}, {"stop", 2}};
  model.Write("tokenizer.json", json.dump());
  auto tokenizer = LoadOrDie(model.path());
  ASSERT_NE(tokenizer, nullptr);
  for (int i = 0; i < 3; ++i) {
    auto text = tokenizer->Decode(Ids{0}, false);
    EXPECT_TRUE(absl::IsInternal(text.status())) << text.status();
    EXPECT_THAT(std::string(text.status().message()), HasSubstr("panicked"));
  }
  EXPECT_THAT(EncodeOrDie(*tokenizer, "!", false), ElementsAre(0));
}

TEST(TokenizerTest, GivesTheSameFromManyThreads) {
  auto tokenizer = LoadOrDie(GoldenPath("tokenizers/llama3_bytelevel"));
  std::vector<std::string> texts;
  std::vector<Ids> expected;
  uint64_t state = 7;
  for (int i = 0; i < kTexts; ++i) {
    texts.push_back(RandomText(state));
    expected.push_back(EncodeOrDie(*tokenizer, texts.back(), true));
  }
  std::vector<int> wrong(kThreads, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kTexts; ++i) {
        const int at = (i + 31 * t) % kTexts;
        auto ids = tokenizer->Encode(texts[at], true);
        auto text = tokenizer->Decode(expected[at], true);
        if (!ids.ok() || *ids != expected[at]) ++wrong[t];
        if (!text.ok() || *text != texts[at]) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ::testing::Each(0));
}

}  // namespace
}  // namespace dissonance
