#include "src/lab/eval/mcq_scorer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_scores.h"

namespace dissonance {
namespace {

// More than a chat template adds to a conversation.
constexpr int64_t kTemplateTokens = 1024;

int64_t PromptBytes(const v1::ScoreItem& item) {
  size_t bytes = item.prompt().text().size();
  for (const v1::ChatMessage& message : item.prompt().chat().messages()) {
    bytes += message.content().size();
  }
  return static_cast<int64_t>(bytes);
}

int64_t LongestContinuationBytes(const v1::ScoreItem& item) {
  size_t longest = 0;
  for (const v1::Continuation& continuation : item.continuations()) {
    longest = std::max(longest, continuation.text().size());
  }
  return static_cast<int64_t>(longest);
}

}  // namespace

absl::StatusOr<std::string> McqScorer::ReadModels() {
  std::string without_template;
  for (const v1::Variant& variant : variants_) {
    ASSIGN_OR_RETURN(const v1::Model model, compute_.GetModel(variant.model()));
    max_positions_ =
        std::min<int64_t>(max_positions_, model.max_position_count());
    if (model.has_chat_template() || !format_.chat) continue;
    format_.chat = false;
    without_template = variant.model();
  }
  return without_template;
}

absl::Status McqScorer::CheckLengths(absl::Span<const McqItem> items) {
  for (const McqItem& item : items) {
    if (call_.cancelled && call_.cancelled()) {
      return absl::CancelledError("cancelled");
    }
    const v1::ScoreRequest request = MakeScoreRequest(
        absl::MakeConstSpan(&item, 1), variants_, scoring_, format_);
    // A token has a byte or more. Where that does not settle it, the prompt's
    // tokens may, and else the worker's own answer.
    const int64_t bytes = LongestContinuationBytes(request.items(0));
    if (PromptBytes(request.items(0)) + bytes + kTemplateTokens <=
        max_positions_) {
      continue;
    }
    absl::StatusOr<McqPrompt> prompt = Render(item);
    if (prompt.ok() &&
        static_cast<int64_t>(prompt->tokens.size()) + bytes <= max_positions_) {
      continue;
    }
    RETURN_IF_ERROR(Annotate(compute_.Score(request, call_).status(),
                             absl::StrCat("question ", item.id)));
  }
  return absl::OkStatus();
}

absl::StatusOr<McqPrompt> McqScorer::Render(const McqItem& item) {
  const std::string& model = variants_.front().model();
  const v1::Input input = McqPromptInput(item, scoring_, format_);
  if (input.has_text()) {
    v1::TokenizeRequest request;
    request.set_model(model);
    request.set_text(input.text());
    ASSIGN_OR_RETURN(const v1::TokenizeResponse response,
                     compute_.Tokenize(request, call_));
    return McqPrompt{.text = input.text(),
                     .tokens = {response.ids().begin(), response.ids().end()}};
  }
  v1::RenderChatRequest request;
  request.set_model(model);
  *request.mutable_chat() = input.chat();
  ASSIGN_OR_RETURN(const v1::RenderChatResponse response,
                   compute_.RenderChat(request, call_));
  return McqPrompt{.text = response.text(),
                   .tokens = {response.ids().begin(), response.ids().end()}};
}

absl::StatusOr<McqAnswers> McqScorer::Score(absl::Span<const McqItem> items) {
  const v1::ScoreRequest request =
      MakeScoreRequest(items, variants_, scoring_, format_);
  ASSIGN_OR_RETURN(const v1::ScoreResponse response,
                   compute_.Score(request, call_));
  ASSIGN_OR_RETURN(McqScoreGrid grid,
                   UnpackScores(request, response, scoring_));
  McqAnswers answers;
  answers.provenance.assign(response.provenance().begin(),
                            response.provenance().end());
  answers.scores.resize(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    for (std::vector<std::vector<RawScores>>& variant : grid) {
      answers.scores[i].push_back({.scores = std::move(variant[i][0])});
    }
  }
  return answers;
}

}  // namespace dissonance
