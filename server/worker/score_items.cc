#include "server/worker/score_items.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// Text is encoded once for each continuation, prompt included. Four bytes a
// token are usual: this leaves room for 16 continuations of a prompt.
constexpr int64_t kEncodedBytesPerToken = 64;

// A continuation with the tokens that it follows.
struct SplitContinuation {
  std::vector<int32_t> context;
  std::vector<int32_t> tokens;
};

// The group that takes a continuation; very long ones have to be alone.
ContextGroup& GroupFor(EncodedItem& item, const SplitContinuation& split) {
  const bool is_long =
      static_cast<int64_t>(split.tokens.size()) > kTreeRowLimit;
  for (ContextGroup& group : item.groups) {
    const bool fits =
        !is_long &&
        static_cast<int64_t>(group.task.continuations.front().size()) <=
            kTreeRowLimit;
    if (fits && group.task.prompt == split.context) return group;
  }
  item.groups.emplace_back().task.prompt = split.context;
  item.token_count += static_cast<int64_t>(split.context.size());
  return item.groups.back();
}

class ItemEncoder {
 public:
  ItemEncoder(const ResidentModel& model, const RequestLimits& limits,
              const Cancelled& cancelled)
      : model_(model), limits_(limits), cancelled_(cancelled) {}

  absl::StatusOr<EncodedItem> Encode(const v1::ScoreItem& item);

 private:
  absl::StatusOr<SplitContinuation> Split(const EncodedPrompt& prompt,
                                          const v1::Continuation& continuation);
  absl::StatusOr<SplitContinuation> SplitText(const EncodedPrompt& prompt,
                                              const std::string& text);
  // Before a text is encoded, and after its tokens were added to an item.
  absl::Status SpendBytes(size_t bytes);
  absl::Status CheckTokens(const EncodedItem& item) const;

  const ResidentModel& model_;
  const RequestLimits& limits_;
  const Cancelled& cancelled_;
  int64_t encoded_bytes_ = 0;
  int64_t tokens_ = 0;  // of the items done
};

absl::Status ItemEncoder::SpendBytes(size_t bytes) {
  if (cancelled_()) return absl::CancelledError("the call was cancelled");
  encoded_bytes_ += static_cast<int64_t>(bytes);
  const int64_t limit = limits_.tokens * kEncodedBytesPerToken;
  if (encoded_bytes_ <= limit) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "bytes of prompts with their continuations: more than ", limit,
      ", which is ", kEncodedBytesPerToken,
      " for each of limits.tokens of the server's configuration; split the "
      "request, or give token ids"));
}

absl::Status ItemEncoder::CheckTokens(const EncodedItem& item) const {
  const int64_t tokens = tokens_ + item.token_count;
  if (tokens <= limits_.tokens) return absl::OkStatus();
  return OverLimit("tokens of the request", tokens, limits_.tokens, "tokens");
}

// The whole string is encoded and cut where the prompt alone ends. A merge
// across the cut changes the tokens before it: they are the context then.
absl::StatusOr<SplitContinuation> ItemEncoder::SplitText(
    const EncodedPrompt& prompt, const std::string& text) {
  if (!prompt.text.has_value()) {
    return absl::InvalidArgumentError(
        "text after a prompt of token ids cannot be encoded as one string; "
        "give the continuation's tokens");
  }
  ASSIGN_OR_RETURN(const Tokenizer* tokenizer, TokenizerOf(model_));
  const std::string whole_text = absl::StrCat(*prompt.text, text);
  RETURN_IF_ERROR(CheckText(whole_text, limits_));
  RETURN_IF_ERROR(SpendBytes(whole_text.size()));
  ASSIGN_OR_RETURN(std::vector<int32_t> whole,
                   tokenizer->Encode(whole_text, prompt.add_special_tokens));
  const size_t cut = prompt.tokens.size();
  if (whole.size() <= cut) {
    return absl::InvalidArgumentError(absl::StrCat(
        "no tokens are left: the prompt with the continuation has ",
        whole.size(), " tokens, the prompt alone ", cut,
        "; give a continuation that is not empty, or one of token ids"));
  }
  const auto middle = whole.begin() + static_cast<std::ptrdiff_t>(cut);
  return SplitContinuation{{whole.begin(), middle}, {middle, whole.end()}};
}

absl::StatusOr<SplitContinuation> ItemEncoder::Split(
    const EncodedPrompt& prompt, const v1::Continuation& continuation) {
  switch (continuation.content_case()) {
    case v1::Continuation::kText:
      return SplitText(prompt, continuation.text());
    case v1::Continuation::kTokens:
      if (continuation.tokens().ids().empty()) {
        return absl::InvalidArgumentError("tokens.ids: expected at least one");
      }
      return SplitContinuation{prompt.tokens,
                               {continuation.tokens().ids().begin(),
                                continuation.tokens().ids().end()}};
    default:
      return absl::InvalidArgumentError("expected text or tokens");
  }
}

absl::StatusOr<EncodedItem> ItemEncoder::Encode(const v1::ScoreItem& item) {
  const int count = item.continuations_size();
  if (count == 0) {
    return absl::InvalidArgumentError("continuations: expected at least one");
  }
  if (count > limits_.continuations) {
    return OverLimit("continuations", count, limits_.continuations,
                     "continuations");
  }
  EncodedItem encoded;
  encoded.id = item.prompt().id();
  const absl::StatusOr<EncodedPrompt> prompt =
      EncodePrompt(model_, item.prompt(), limits_);
  if (!prompt.ok()) return Annotate(prompt.status(), "prompt");
  if (prompt->tokens.empty()) {
    return absl::InvalidArgumentError(
        "prompt: has no tokens; a continuation needs at least one before it");
  }
  encoded.prompt_token_count = static_cast<int32_t>(prompt->tokens.size());
  for (int j = 0; j < count; ++j) {
    absl::StatusOr<SplitContinuation> split =
        Split(*prompt, item.continuations(j));
    if (!split.ok()) {
      return Annotate(split.status(), absl::StrCat("continuations[", j, "]"));
    }
    ContextGroup& group = GroupFor(encoded, *split);
    const auto added = static_cast<int64_t>(split->tokens.size());
    encoded.token_count += added;
    encoded.continuation_token_count += added;
    RETURN_IF_ERROR(CheckTokens(encoded));
    group.task.continuations.push_back(std::move(split->tokens));
    group.continuations.push_back(j);
  }
  tokens_ += encoded.token_count;
  return encoded;
}

}  // namespace

std::string ItemLabel(int index, const std::string& id) {
  return absl::StrCat("items[", index, "]",
                      id.empty() ? "" : absl::StrCat(" (", id, ")"));
}

absl::StatusOr<std::shared_ptr<const EncodedItems>> EncodeItems(
    const ResidentModel& model, const v1::ScoreRequest& request,
    const RequestLimits& limits, const Cancelled& cancelled) {
  auto items = std::make_shared<EncodedItems>();
  ItemEncoder encoder(model, limits, cancelled);
  for (int i = 0; i < request.items_size(); ++i) {
    absl::StatusOr<EncodedItem> item = encoder.Encode(request.items(i));
    if (!item.ok()) {
      return Annotate(item.status(),
                      ItemLabel(i, request.items(i).prompt().id()));
    }
    items->push_back(*std::move(item));
  }
  return std::shared_ptr<const EncodedItems>(std::move(items));
}

}  // namespace dissonance
