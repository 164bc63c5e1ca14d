#include "server/worker/training_documents.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/worker/prompt_text.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/torch_status.h"
#include "src/compute/train/document_order.h"
#include "src/compute/train/document_statistics.h"

namespace dissonance {
namespace {

// Each of a chat's assistant messages renders all messages before it anew.
constexpr int kMostMessages = 1024;
// Of a batch; the tokenizer is the only thing that they wait for.
constexpr size_t kMostThreads = 8;

// A special token's id, if the tokenizer has one of that kind.
absl::StatusOr<std::optional<int32_t>> SpecialToken(const Tokenizer& tokenizer,
                                                    const std::string& kind) {
  const auto found = tokenizer.special_tokens().find(kind);
  if (found == tokenizer.special_tokens().end() || found->second.empty()) {
    return std::nullopt;
  }
  const absl::StatusOr<int32_t> id = tokenizer.TokenId(found->second);
  if (!id.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the tokenizer's ", kind, " \"", found->second,
        "\" is not in its vocabulary; mend tokenizer_config.json"));
  }
  return *id;
}

int64_t CodePoints(absl::string_view text) {
  return absl::c_count_if(text, [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  });
}

// The text of the first messages, which the whole has to begin with.
absl::StatusOr<int64_t> PrefixLength(const ResidentModel& model,
                                     std::optional<int64_t> template_time,
                                     const v1::Chat& chat, int count,
                                     bool opens_answer,
                                     const std::string& whole) {
  v1::Chat first;
  first.set_template_kwargs_json(chat.template_kwargs_json());
  first.set_add_generation_prompt(opens_answer);
  for (int i = 0; i < count; ++i) {
    *first.add_messages() = chat.messages(i);
  }
  std::string text;
  if (count > 0) {
    ASSIGN_OR_RETURN(
        text, RenderChat(model, first, {.text_bytes = Tokenizer::kMaxTextBytes},
                         template_time));
  }
  if (absl::StartsWith(whole, text)) return CodePoints(text);
  return absl::InvalidArgumentError(absl::StrCat(
      "which tokens are the assistant's can't be told: the chat template "
      "renders the first ",
      count,
      " messages otherwise alone than in the whole conversation; leave "
      "assistant_only_loss out, or give each answer as a conversation that "
      "ends with it"));
}

absl::StatusOr<std::vector<bool>> AssistantTokens(
    const ResidentModel& model, std::optional<int64_t> template_time,
    const v1::Chat& chat, const std::string& whole,
    const std::vector<Tokenizer::Offset>& offsets) {
  if (chat.messages_size() > kMostMessages) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the conversation has ", chat.messages_size(),
        " messages; with assistant_only_loss the limit is ", kMostMessages));
  }
  std::vector<bool> is_target(offsets.size(), false);
  for (int i = 0; i < chat.messages_size(); ++i) {
    if (chat.messages(i).role() != "assistant") continue;
    ASSIGN_OR_RETURN(const int64_t begin,
                     PrefixLength(model, template_time, chat, i,
                                  /*opens_answer=*/true, whole));
    ASSIGN_OR_RETURN(const int64_t end,
                     PrefixLength(model, template_time, chat, i + 1,
                                  /*opens_answer=*/false, whole));
    for (size_t t = 0; t < offsets.size(); ++t) {
      if (offsets[t].begin >= begin && offsets[t].begin < end) {
        is_target[t] = true;
      }
    }
  }
  return is_target;
}

// The control plane puts the file's name before it.
std::string Line(int64_t line) {
  return absl::StrCat("document of line ", line);
}

}  // namespace

std::optional<int64_t> TemplateTimeOf(const internal::v1::TrainBegin& begin) {
  if (!begin.has_template_time()) return std::nullopt;
  return begin.template_time().seconds();
}

absl::StatusOr<DocumentEncoder> DocumentEncoder::Create(
    ResidentModel model, const DocumentOptions& options) {
  ASSIGN_OR_RETURN(const Tokenizer* tokenizer, TokenizerOf(model));
  DocumentEncoder encoder(std::move(model), options);
  // What the tokenizer adds by itself has no place in the text.
  ASSIGN_OR_RETURN(const Tokenizer::Encoding around,
                   tokenizer->EncodeWithOffsets("a", true));
  bool is_before = true;
  for (size_t i = 0; i < around.ids.size(); ++i) {
    if (around.offsets[i].end > 0) {
      is_before = false;
    } else {
      (is_before ? encoder.before_ : encoder.after_).push_back(around.ids[i]);
    }
  }
  ASSIGN_OR_RETURN(const std::optional<int32_t> bos,
                   SpecialToken(*tokenizer, "bos_token"));
  ASSIGN_OR_RETURN(const std::optional<int32_t> eos,
                   SpecialToken(*tokenizer, "eos_token"));
  if (bos.has_value() && !absl::c_linear_search(encoder.before_, *bos)) {
    encoder.before_.insert(encoder.before_.begin(), *bos);
  }
  if (eos.has_value() && !absl::c_linear_search(encoder.after_, *eos)) {
    encoder.after_.push_back(*eos);
  }
  return encoder;
}

absl::StatusOr<std::vector<EncodedDocument>> DocumentEncoder::EncodeAll(
    const Documents& documents, const Cancelled& cancelled) const {
  const auto count = static_cast<size_t>(documents.size());
  std::vector<EncodedDocument> encoded(count);
  std::atomic<size_t> next = 0;
  absl::Mutex mutex;
  size_t first_bad = count;
  absl::Status error;
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) {
      // An exception may not leave a thread.
      absl::StatusOr<EncodedDocument> own = CatchTorch(
          "a training's documents", [&]() -> absl::StatusOr<EncodedDocument> {
            if (!cancelled()) return Encode(documents[static_cast<int>(i)]);
            return absl::CancelledError(
                "nobody waits for the training any more");
          });
      if (own.ok()) {
        encoded[i] = *std::move(own);
        continue;
      }
      const absl::MutexLock lock(&mutex);
      if (i >= first_bad) return;
      first_bad = i;
      error = own.status();
      return;
    }
  };
  std::vector<std::thread> threads;
  const size_t most = std::min<size_t>(
      {kMostThreads, std::max(1U, std::thread::hardware_concurrency()), count});
  threads.reserve(most);
  for (size_t t = 1; t < most; ++t) {
    // Fewer do it too, where the system gives no more.
    if (!CatchTorch("a thread", [&] { threads.emplace_back(work); }).ok()) {
      break;
    }
  }
  work();
  for (std::thread& thread : threads) thread.join();
  RETURN_IF_ERROR(error);
  return encoded;
}

absl::StatusOr<EncodedDocument> DocumentEncoder::Encode(
    const internal::v1::TrainingDocument& document) const {
  absl::StatusOr<TrainingDocument> own =
      document.has_chat() ? EncodeChat(document.chat())
                          : EncodeContent(document.content());
  if (!own.ok()) return Annotate(own.status(), Line(document.line()));
  own->line = document.line();
  return Cut(*std::move(own));
}

absl::StatusOr<TrainingDocument> DocumentEncoder::EncodeContent(
    const std::string& content) const {
  if (content.empty()) {
    return absl::InvalidArgumentError("the document is empty");
  }
  ASSIGN_OR_RETURN(const std::vector<int32_t> text,
                   model_.tokenizer->Encode(content, false));
  TrainingDocument out{.tokens = before_};
  out.tokens.insert(out.tokens.end(), text.begin(), text.end());
  out.tokens.insert(out.tokens.end(), after_.begin(), after_.end());
  return out;
}

absl::StatusOr<TrainingDocument> DocumentEncoder::EncodeChat(
    const v1::Chat& chat) const {
  v1::Chat whole = chat;
  whole.set_add_generation_prompt(false);
  ASSIGN_OR_RETURN(
      const std::string text,
      RenderChat(model_, whole, {.text_bytes = Tokenizer::kMaxTextBytes},
                 options_.template_time));
  ASSIGN_OR_RETURN(Tokenizer::Encoding encoding,
                   model_.tokenizer->EncodeWithOffsets(text, false));
  TrainingDocument out{.tokens = std::move(encoding.ids)};
  if (options_.assistant_only) {
    ASSIGN_OR_RETURN(out.is_target,
                     AssistantTokens(model_, options_.template_time, whole,
                                     text, encoding.offsets));
  }
  return out;
}

absl::StatusOr<EncodedDocument> DocumentEncoder::Cut(
    TrainingDocument document) const {
  EncodedDocument out{.document = std::move(document)};
  TrainingDocument& own = out.document;
  const auto most = static_cast<size_t>(options_.max_tokens);
  if (own.tokens.size() > most) {
    out.was_cut = true;
    own.tokens.resize(most);
    if (!own.is_target.empty()) own.is_target.resize(most);
  }
  const int64_t positions = model_.model->spec().max_positions;
  const auto count = static_cast<int64_t>(own.tokens.size());
  if (count > positions) {
    return absl::InvalidArgumentError(
        absl::StrCat(Line(own.line), ": the document has ", count,
                     " tokens; the model's positions end at ", positions,
                     "; set max_length_tokens to at most that"));
  }
  // The first token has nothing before it that could predict it.
  const bool has_target =
      own.is_target.empty()
          ? count > 1
          : std::find(own.is_target.begin() + 1, own.is_target.end(), true) !=
                own.is_target.end();
  if (count > 0 && has_target) return out;
  return absl::InvalidArgumentError(absl::StrCat(
      Line(own.line), ": the document has nothing to predict in its ", count,
      " tokens", out.was_cut ? " (it was cut to max_length_tokens)" : "",
      options_.assistant_only && !own.is_target.empty()
          ? "; with assistant_only_loss it needs an assistant's message there"
          : "; give it more text, or leave it out"));
}

TrainingSets SplitSets(std::vector<EncodedDocument> documents, double fraction,
                       uint64_t seed) {
  const DocumentSplit split =
      SplitDocuments(static_cast<int64_t>(documents.size()), fraction, seed);
  const auto take = [&](const std::vector<int64_t>& indices) {
    DocumentSet set;
    set.documents.reserve(indices.size());
    for (const int64_t i : indices) {
      EncodedDocument& own = documents[static_cast<size_t>(i)];
      set.cut_count += own.was_cut ? 1 : 0;
      set.documents.push_back(std::move(own.document));
    }
    return set;
  };
  return {.trained = take(split.training), .held_out = take(split.validation)};
}

internal::v1::DocumentStatistics StatisticsMessage(const DocumentSet& set) {
  const DocumentStatistics figures = StatisticsOf(set.documents);
  internal::v1::DocumentStatistics out;
  out.set_document_count(figures.document_count);
  out.set_token_count(figures.token_count);
  out.set_target_count(figures.target_count);
  out.set_mean_tokens(figures.mean_tokens);
  out.set_median_tokens(figures.median_tokens);
  out.set_p95_tokens(figures.p95_tokens);
  out.set_max_tokens(figures.max_tokens);
  out.set_cut_count(set.cut_count);
  return out;
}

}  // namespace dissonance
