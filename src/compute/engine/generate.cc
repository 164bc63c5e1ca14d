#include "src/compute/engine/generate.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

class GenerateSequence : public Sequence {
 public:
  GenerateSequence(GenerateTask task,
                   std::shared_ptr<GenerateListener> listener)
      : task_(std::move(task)),
        listener_(std::move(listener)),
        tokens_(task_.prompt) {}

  int64_t prompt_count() const override {
    return static_cast<int64_t>(task_.prompt.size());
  }
  const CaptureSpec* capture() const override {
    return is_replaying() ? nullptr : task_.capture.get();
  }
  int64_t cache_tokens() const override {
    return prompt_count() + task_.max_new_tokens;
  }

  absl::Span<const int32_t> SharedPrefix() const override {
    // The last row is always computed: it predicts the first token.
    int64_t count = task_.prompt_logprobs ? 0 : prompt_count() - 1;
    if (task_.capture != nullptr) {
      count = std::min(count,
                       task_.capture->positions.FirstInPrompt(prompt_count()));
    }
    return absl::MakeConstSpan(task_.prompt)
        .subspan(0, static_cast<size_t>(count));
  }
  void SkipPrefix(int64_t count) override {
    computed_ = count;
    known_ = std::max(known_, count);
  }
  bool can_rewind() const override { return true; }
  void Rewind() override { computed_ = 0; }

  bool ready() const override { return listener_->ready(); }
  bool is_decoding() const override { return computed_ >= prompt_count(); }
  bool fits_one_step(int64_t limit) const override {
    const int64_t fed = task_.max_new_tokens - (task_.feeds_last ? 0 : 1);
    return fed <= 0 && computed_ == 0 && known_ == 0 && prompt_count() <= limit;
  }
  int64_t next_row_count(int64_t limit) const override {
    if (is_decoding()) return 1;
    const int64_t end =
        is_replaying() ? std::min(known_, prompt_count()) : prompt_count();
    return std::min(limit, end - computed_);
  }

  StepWork Next(int64_t limit) override {
    StepWork work;
    step_rows_ = next_row_count(limit);
    work.is_prefill = !is_decoding();
    work.tokens.assign(tokens_.begin() + computed_,
                       tokens_.begin() + computed_ + step_rows_);
    if (is_replaying() || is_over_) return work;
    for (int64_t row = 0; row < step_rows_; ++row) {
      const int64_t position = computed_ + row;
      const bool is_last = position + 1 == token_count();
      if (is_last) {
        work.wanted.push_back({.row = row,
                               .target_tokens = {},
                               .top_count = task_.top_logprobs,
                               .whole = !task_.sampling.is_plain_greedy()});
      } else if (task_.prompt_logprobs) {
        work.wanted.push_back(
            {.row = row,
             .target_tokens = {tokens_[static_cast<size_t>(position) + 1]},
             .top_count = task_.top_logprobs});
      }
    }
    return work;
  }

  bool Accept(StepResult result) override {
    const int64_t begin = computed_;
    computed_ += step_rows_;
    if (begin < known_) return true;
    known_ = computed_;
    if (!result.captured.positions.empty()) {
      listener_->OnCaptured(std::move(result.captured));
    }
    if (is_over_) return false;
    const bool is_whole = computed_ == token_count();
    const size_t given = result.rows.size() - (is_whole ? 1 : 0);
    for (size_t i = 0; i < given; ++i) {
      const size_t next = static_cast<size_t>(begin) + i + 1;
      listener_->OnPromptToken(
          {.token = tokens_[next],
           .logprob = result.rows[i].target_logprobs.front(),
           .top = result.rows[i].top});
    }
    if (!is_whole) return true;
    if (task_.max_new_tokens == 0) return false;
    is_over_ = !TakeToken(result.rows.back());
    return !is_over_ || task_.feeds_last;
  }

  void Finish(const absl::Status& status) override {
    if (status.ok()) {
      listener_->OnEnd(reason_);
    } else {
      listener_->OnEnd(status);
    }
  }

 private:
  int64_t token_count() const { return static_cast<int64_t>(tokens_.size()); }
  // Whether the next rows were computed before.
  bool is_replaying() const { return computed_ < known_; }

  // Whether generation goes on.
  bool TakeToken(const RowResult& row) {
    int32_t token = row.best_token;
    double logprob = row.best_logprob;
    const int64_t made = token_count() - prompt_count();
    if (!task_.sampling.is_plain_greedy()) {
      token = SampleToken(task_.sampling, row.logits, tokens_, made);
      logprob = row.logprobs[token].item<double>();
    }
    tokens_.push_back(token);
    if (!listener_->OnToken(
            {.token = token, .logprob = logprob, .top = row.top})) {
      reason_ = FinishReason::kListener;
      return false;
    }
    if (absl::c_linear_search(task_.stop_tokens, token)) {
      reason_ = FinishReason::kStopToken;
      return false;
    }
    return made + 1 < task_.max_new_tokens;
  }

  const GenerateTask task_;
  const std::shared_ptr<GenerateListener> listener_;
  std::vector<int32_t> tokens_;  // prompt and generated
  int64_t computed_ = 0;         // of them
  int64_t known_ = 0;            // of them, whose results were given
  int64_t step_rows_ = 0;        // of the last Next()
  bool is_over_ = false;         // nothing more is generated
  FinishReason reason_ = FinishReason::kLength;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Sequence>> MakeGenerateSequence(
    GenerateTask task, std::shared_ptr<GenerateListener> listener) {
  if (task.prompt.empty()) {
    return absl::InvalidArgumentError(
        "the prompt has no tokens; give at least a begin-of-text token");
  }
  if (task.max_new_tokens < 0) {
    return absl::InvalidArgumentError("max_new_tokens must not be negative");
  }
  RETURN_IF_ERROR(CheckSampling(task.sampling));
  return std::make_unique<GenerateSequence>(std::move(task),
                                            std::move(listener));
}

}  // namespace dissonance
