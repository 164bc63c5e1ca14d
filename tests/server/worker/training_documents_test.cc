// Documents as tokens, against ids that transformers gave for the same texts.
#include "server/worker/training_documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/testing/compute_goldens.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using internal::v1::TrainingDocument;
using testing::ElementsAre;
using testing::HasSubstr;

std::string InTree(const std::string& path) {
  return absl::StrCat(DISSONANCE_SOURCE_DIR "/tests/goldens/", path);
}

nlohmann::json ReadJson(const std::string& path) {
  return nlohmann::json::parse(std::ifstream(InTree(path)));
}

// A model of 512 positions that reads text as another directory's tokenizer
// does.
ResidentModel ModelWith(const std::string& directory) {
  static const auto* model = new std::shared_ptr<const Model>(
      LoadGoldenModel(InTree("e2e_chat/model"), at::kFloat));
  ResidentModel out{.name = "models/m", .path = directory, .model = *model};
  auto tokenizer = Tokenizer::Load(directory);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  if (tokenizer.ok()) out.tokenizer = *std::move(tokenizer);
  auto chat_template = ChatTemplate::Load(directory);
  if (chat_template.ok()) out.chat_template = *std::move(chat_template);
  return out;
}

DocumentEncoder EncoderOf(const std::string& tokenizer,
                          const DocumentOptions& options = {}) {
  auto encoder = DocumentEncoder::Create(
      ModelWith(InTree("tokenizers/" + tokenizer)), options);
  EXPECT_TRUE(encoder.ok()) << encoder.status();
  return *std::move(encoder);
}

TrainingDocument Text(const std::string& content, int64_t line = 7) {
  TrainingDocument out;
  out.set_line(line);
  out.set_content(content);
  return out;
}

TrainingDocument ChatOf(const nlohmann::json& messages, int64_t line = 7) {
  TrainingDocument out;
  out.set_line(line);
  for (const nlohmann::json& own : messages) {
    v1::ChatMessage& message = *out.mutable_chat()->add_messages();
    message.set_role(own["role"]);
    message.set_content(own["content"]);
  }
  return out;
}

std::vector<int32_t> TokensOf(const DocumentEncoder& encoder,
                              const TrainingDocument& document) {
  const auto encoded = encoder.Encode(document);
  EXPECT_TRUE(encoded.ok()) << encoded.status();
  return encoded.ok() ? encoded->document.tokens : std::vector<int32_t>();
}

std::string ErrorOf(const DocumentEncoder& encoder,
                    const TrainingDocument& document, absl::StatusCode code) {
  const auto encoded = encoder.Encode(document);
  EXPECT_EQ(encoded.status().code(), code) << encoded.status();
  return std::string(encoded.status().message());
}

// The text of the tokens that are predicted.
std::string Predicted(const std::string& tokenizer,
                      const TrainingDocument& document) {
  const auto encoded =
      EncoderOf(tokenizer, {.assistant_only = true}).Encode(document);
  EXPECT_TRUE(encoded.ok()) << encoded.status();
  if (!encoded.ok()) return "";
  const auto& own = encoded->document;
  EXPECT_EQ(own.is_target.size(), own.tokens.size());
  std::vector<int32_t> predicted;
  for (size_t i = 0; i < own.tokens.size(); ++i) {
    if (own.is_target[i]) predicted.push_back(own.tokens[i]);
  }
  return *ModelWith(InTree("tokenizers/" + tokenizer))
              .tokenizer->Decode(predicted, /*skip_special_tokens=*/false);
}

struct Ends {
  std::string tokenizer;
  std::vector<int32_t> bos;
  int32_t eos;
};

class DocumentEndsTest : public testing::TestWithParam<Ends> {};

TEST_P(DocumentEndsTest, TextIsBetweenBosAndEosOnceEach) {
  const Ends& ends = GetParam();
  const DocumentEncoder encoder = EncoderOf(ends.tokenizer);
  const nlohmann::json expected =
      ReadJson("tokenizers/" + ends.tokenizer + "/expected.json");
  int compared = 0;
  for (const nlohmann::json& own : expected["strings"]) {
    const std::string text = own["text"];
    if (text.empty() || text.size() > 400) continue;
    std::vector<int32_t> tokens = ends.bos;
    for (const int32_t id : own["ids"]) tokens.push_back(id);
    tokens.push_back(ends.eos);
    EXPECT_EQ(TokensOf(encoder, Text(text)), tokens) << text;
    ++compared;
  }
  EXPECT_GT(compared, 20);
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, DocumentEndsTest,
                         testing::Values(Ends{"llama3_bytelevel", {523}, 529},
                                         Ends{"llama2_legacy", {1}, 2},
                                         Ends{"mistral_metaspace", {1}, 2},
                                         Ends{"qwen_bytelevel", {}, 562}),
                         [](const auto& info) { return info.param.tokenizer; });

TEST(TrainingDocumentsTest, CutsAndCountsLongDocuments) {
  const DocumentEncoder encoder =
      EncoderOf("llama3_bytelevel", {.max_tokens = 4});
  const auto encoded = encoder.Encode(Text("Hello world"));
  ASSERT_TRUE(encoded.ok()) << encoded.status();
  EXPECT_THAT(encoded->document.tokens, ElementsAre(523, 39, 308, 75));
  EXPECT_TRUE(encoded->was_cut);
  EXPECT_FALSE(encoder.Encode(Text("ab"))->was_cut);
}

TEST(TrainingDocumentsTest, RefusesWhatHasNothingToPredictNamingTheLine) {
  const DocumentEncoder encoder = EncoderOf("llama3_bytelevel");
  EXPECT_EQ(ErrorOf(encoder, Text(""), absl::StatusCode::kInvalidArgument),
            "document of line 7: the document is empty");
  const DocumentEncoder answers =
      EncoderOf("llama3_bytelevel", {.max_tokens = 30, .assistant_only = true});
  const TrainingDocument asked =
      ChatOf({{{"role", "user"}, {"content", "Hi"}}});
  EXPECT_THAT(ErrorOf(answers, asked, absl::StatusCode::kInvalidArgument),
              HasSubstr("line 7: the document has nothing to predict in its 30 "
                        "tokens (it was cut to max_length_tokens); with "
                        "assistant_only_loss"));
}

TEST(TrainingDocumentsTest, RefusesMoreTokensThanTheModelHasPositions) {
  const DocumentEncoder encoder =
      EncoderOf("llama3_bytelevel", {.max_tokens = 4096});
  std::string words;
  for (int i = 0; i < 600; ++i) words += " xylophone";
  EXPECT_THAT(
      ErrorOf(encoder, Text(words), absl::StatusCode::kInvalidArgument),
      HasSubstr("line 7: the document has 602 tokens; the model's positions "
                "end at 512"));
}

TEST(TrainingDocumentsTest, ChatTemplatesTellTheTimeThatTrainingWasGiven) {
  ResidentModel model = ModelWith(InTree("tokenizers/llama3_bytelevel"));
  const TempFolder folder;
  std::ofstream(folder.path() + "/chat_template.jinja")
      << "{{ strftime_now('%Y') }}{% for m in messages %}{{ m.content }}"
         "{% endfor %}";
  model.chat_template = *ChatTemplate::Load(folder.path());
  internal::v1::TrainBegin begin;
  EXPECT_EQ(TemplateTimeOf(begin), std::nullopt);
  begin.mutable_template_time()->set_seconds(951825599);
  const TrainingDocument document =
      ChatOf({{{"role", "assistant"}, {"content", "word"}}});
  for (const bool assistant_only : {false, true}) {
    const auto encoder = DocumentEncoder::Create(
        model, {.assistant_only = assistant_only,
                .template_time = TemplateTimeOf(begin)});
    ASSERT_TRUE(encoder.ok()) << encoder.status();
    const auto text = model.tokenizer->Decode(TokensOf(*encoder, document),
                                              /*skip_special_tokens=*/true);
    EXPECT_EQ(*text, "2000word");
  }
}

TEST(TrainingDocumentsTest, ChatsAreRenderedAsTransformersRendersThem) {
  for (const std::string name :
       {"llama3_bytelevel", "qwen_bytelevel", "gemma_bpe"}) {
    const DocumentEncoder encoder = EncoderOf(name);
    const nlohmann::json expected =
        ReadJson("tokenizers/" + name + "/chat_expected.json");
    int compared = 0;
    for (const nlohmann::json& own : expected["conversations"]) {
      const bool is_plain =
          absl::c_all_of(own["messages"], [](const nlohmann::json& message) {
            return message.size() == 2 && message["content"].is_string();
          });
      if (!own["kwargs"].empty() || !own.contains("ids_gen_false") ||
          !is_plain) {
        continue;
      }
      ++compared;
      TrainingDocument document = ChatOf(own["messages"]);
      document.mutable_chat()->set_add_generation_prompt(true);  // ignored
      EXPECT_EQ(TokensOf(encoder, document),
                own["ids_gen_false"].get<std::vector<int32_t>>())
          << own["text_gen_false"];
    }
    EXPECT_GT(compared, 3) << name;
  }
}

TEST(TrainingDocumentsTest, OfAChatOnlyAnswersAndTheirEndsArePredicted) {
  const TrainingDocument chat =
      ChatOf({{{"role", "user"}, {"content", "日本 A?"}},
              {{"role", "assistant"}, {"content", "はい。 4"}},
              {{"role", "user"}, {"content", "ok"}},
              {{"role", "assistant"}, {"content", "No"}}});
  EXPECT_EQ(Predicted("llama3_bytelevel", chat),
            "はい。 4<|eot_id|>No<|eot_id|>");
  EXPECT_EQ(Predicted("qwen_bytelevel", chat),
            "はい。 4<|im_end|>\nNo<|im_end|>\n");
  EXPECT_EQ(Predicted("gemma_bpe", chat),
            "はい。 4<end_of_turn>\nNo<end_of_turn>\n");
}

TEST(TrainingDocumentsTest, RefusesChatsWhoseAnswersCannotBeTold) {
  TempFolder folder;
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) {
    std::filesystem::copy(InTree("tokenizers/llama2_legacy/") + file,
                          folder.File(file));
  }
  // Earlier answers lose their text.
  std::ofstream(folder.File("chat_template.jinja"))
      << "{% for m in messages %}[{{ m.role }}]"
         "{{ m.content if loop.last else '' }}{% endfor %}"
         "{% if add_generation_prompt %}[assistant]{% endif %}";
  const auto encoder = DocumentEncoder::Create(ModelWith(folder.path()),
                                               {.assistant_only = true});
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  const TrainingDocument chat =
      ChatOf({{{"role", "assistant"}, {"content", "one"}},
              {{"role", "assistant"}, {"content", "two"}}});
  EXPECT_THAT(
      ErrorOf(*encoder, chat, absl::StatusCode::kInvalidArgument),
      HasSubstr("line 7: which tokens are the assistant's can't be "
                "told: the chat template renders the first 1 messages"));
}

TEST(TrainingDocumentsTest, AChatNeedsATemplate) {
  EXPECT_THAT(ErrorOf(EncoderOf("llama2_legacy"),
                      ChatOf({{{"role", "user"}, {"content", "Hi"}}}),
                      absl::StatusCode::kFailedPrecondition),
              HasSubstr("line 7: models/m has no chat template"));
}

TEST(TrainingDocumentsTest, ManyAreEncodedInTheirOrderAndTheFirstErrorWins) {
  const DocumentEncoder encoder = EncoderOf("llama3_bytelevel");
  DocumentEncoder::Documents documents;
  for (int i = 0; i < 200; ++i) {
    *documents.Add() = Text(absl::StrCat("number ", i), i + 1);
  }
  const auto encoded = encoder.EncodeAll(documents, [] { return false; });
  ASSERT_TRUE(encoded.ok()) << encoded.status();
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ((*encoded)[i].document.line, i + 1);
    EXPECT_EQ((*encoded)[i].document.tokens,
              TokensOf(encoder, Text(absl::StrCat("number ", i))));
  }
  for (const int bad : {150, 40, 90}) documents[bad].set_content("");
  const auto refused = encoder.EncodeAll(documents, [] { return false; });
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("line 41:"));
  const auto cancelled = encoder.EncodeAll(documents, [] { return true; });
  EXPECT_EQ(cancelled.status().code(), absl::StatusCode::kCancelled);
}

std::vector<EncodedDocument> Numbered(int count) {
  std::vector<EncodedDocument> out(count);
  for (int i = 0; i < count; ++i) {
    out[i].document.line = i + 1;
    out[i].document.tokens.resize(i + 2);
    out[i].was_cut = i == 0;
  }
  return out;
}

TEST(TrainingDocumentsTest, HoldsAShareOutThatFollowsFromTheSeed) {
  const auto lines = [](uint64_t seed, double share, int count) {
    const TrainingSets sets = SplitSets(Numbered(count), share, seed);
    std::vector<int64_t> held_out;
    for (const auto& own : sets.held_out.documents) {
      held_out.push_back(own.line);
    }
    EXPECT_EQ(sets.trained.documents.size() + held_out.size(),
              static_cast<size_t>(count));
    EXPECT_EQ(sets.trained.cut_count + sets.held_out.cut_count, 1);
    return held_out;
  };
  EXPECT_EQ(lines(42, 0.25, 101).size(), 25u);
  EXPECT_EQ(lines(42, 0.25, 101), lines(42, 0.25, 101));
  EXPECT_NE(lines(42, 0.25, 101), lines(43, 0.25, 101));
  EXPECT_TRUE(lines(42, 0.0, 101).empty());
  EXPECT_TRUE(lines(42, 0.5, 1).empty());
}

TEST(TrainingDocumentsTest, SaysHowLongDocumentsAre) {
  const internal::v1::DocumentStatistics figures =
      StatisticsMessage(SplitSets(Numbered(100), 0.0, 1).trained);
  EXPECT_EQ(figures.document_count(), 100);
  EXPECT_EQ(figures.token_count(), 5150);
  EXPECT_EQ(figures.target_count(), 5050);
  EXPECT_EQ(figures.mean_tokens(), 51.5);
  EXPECT_EQ(figures.median_tokens(), 51);
  EXPECT_EQ(figures.p95_tokens(), 96);
  EXPECT_EQ(figures.max_tokens(), 101);
  EXPECT_EQ(figures.cut_count(), 1);
  EXPECT_EQ(StatisticsMessage({}).document_count(), 0);
}

TEST(TrainingDocumentsTest, AnExceptionEndsTheCallAndNotTheProcess) {
  const DocumentEncoder encoder = EncoderOf("llama3_bytelevel");
  DocumentEncoder::Documents documents;
  for (int64_t line = 1; line <= 64; ++line) {
    *documents.Add() = Text("one of many", line);
  }
  const auto encoded =
      encoder.EncodeAll(documents, []() -> bool { throw std::bad_alloc(); });
  EXPECT_EQ(encoded.status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace dissonance
