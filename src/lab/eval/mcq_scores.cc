#include "src/lab/eval/mcq_scores.h"

#include <cmath>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

absl::Status BadResponse(absl::string_view what) {
  return absl::InternalError(absl::StrCat("Score: ", what));
}

int SampleCount(const v1::ScoreRequest& request) {
  return request.has_dropout() ? request.dropout().sample_count() : 1;
}

bool InRange(int index, int count) { return index >= 0 && index < count; }

absl::Status CheckFirstTokens(const v1::ItemScore& score) {
  std::set<int> first_tokens;
  for (const v1::ContinuationScore& letter : score.continuations()) {
    if (letter.token_ids_size() == 0 || letter.token_logprobs_size() == 0) {
      return BadResponse("a continuation has no tokens");
    }
    first_tokens.insert(letter.token_ids(0));
  }
  if (first_tokens.size() < kMcqOptionCount) {
    return absl::FailedPreconditionError(
        "letter_first_token: this model's tokenizer begins several of \" A\", "
        "\" B\", \" C\" and \" D\" with the same token; use letter_variants");
  }
  return absl::OkStatus();
}

absl::StatusOr<RawScores> UnpackItem(const v1::ItemScore& score,
                                     v1::McqScoring scoring,
                                     const std::string& id) {
  const int each = ContinuationsPerOption(scoring);
  if (score.continuations_size() != each * kMcqOptionCount) {
    return BadResponse(
        absl::StrCat("question ", id, ": ", score.continuations_size(),
                     " continuations came back for ", each * kMcqOptionCount));
  }
  const bool first_token = scoring == v1::MCQ_SCORING_LETTER_FIRST_TOKEN;
  if (first_token) RETURN_IF_ERROR(CheckFirstTokens(score));
  RawScores raw;
  for (int i = 0; i < score.continuations_size(); ++i) {
    const v1::ContinuationScore& continuation = score.continuations(i);
    const double logprob =
        first_token ? static_cast<double>(continuation.token_logprobs(0))
                    : continuation.logprob();
    if (!std::isfinite(logprob)) {
      return BadResponse(absl::StrCat(
          "question ", id, ", option ", McqLetter(i / each),
          ": log-probability is ", logprob, ", not a finite number"));
    }
    raw[i / each].push_back(logprob);
  }
  return raw;
}

}  // namespace

v1::ScoreRequest MakeScoreRequest(absl::Span<const McqItem> items,
                                  absl::Span<const v1::Variant> variants,
                                  v1::McqScoring scoring,
                                  const McqPromptFormat& format) {
  v1::ScoreRequest request;
  for (const v1::Variant& variant : variants) {
    *request.add_variants() = variant;
  }
  for (const McqItem& item : items) {
    v1::ScoreItem* score = request.add_items();
    *score->mutable_prompt() = McqPromptInput(item, scoring, format);
    for (std::string& text : McqContinuations(item, scoring, format)) {
      score->add_continuations()->set_text(std::move(text));
    }
  }
  return request;
}

absl::StatusOr<McqScoreGrid> UnpackScores(const v1::ScoreRequest& request,
                                          const v1::ScoreResponse& response,
                                          v1::McqScoring scoring) {
  const int samples = SampleCount(request);
  if (response.provenance_size() != request.variants_size()) {
    return BadResponse(absl::StrCat(response.provenance_size(),
                                    " provenances came back for ",
                                    request.variants_size(), " variants"));
  }
  McqScoreGrid grid(request.variants_size(),
                    {static_cast<size_t>(request.items_size()),
                     std::vector<RawScores>(samples)});
  for (const v1::ItemScore& score : response.scores()) {
    if (!InRange(score.variant_index(), request.variants_size()) ||
        !InRange(score.item_index(), request.items_size()) ||
        !InRange(score.sample_index(), samples)) {
      return BadResponse(
          "a score names a variant, item or sample that was "
          "not asked for");
    }
    const std::string& id = request.items(score.item_index()).prompt().id();
    RawScores& raw =
        grid[score.variant_index()][score.item_index()][score.sample_index()];
    if (!raw[0].empty()) {
      return BadResponse(absl::StrCat("question ", id, " came back twice"));
    }
    ASSIGN_OR_RETURN(raw, UnpackItem(score, scoring, id));
  }
  const int expected = request.variants_size() * request.items_size() * samples;
  if (response.scores_size() != expected) {
    return BadResponse(absl::StrCat(response.scores_size(),
                                    " scores came back for ", expected));
  }
  return grid;
}

}  // namespace dissonance
