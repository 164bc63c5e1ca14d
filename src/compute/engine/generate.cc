#include "src/compute/engine/generate.h"

#include <algorithm>
#include <utility>

namespace dissonance {
namespace {

class GenerateSequence : public Sequence {
 public:
  GenerateSequence(GenerateTask task, int64_t chunk, GenerateDone done)
      : task_(std::move(task)), chunk_(chunk), done_(std::move(done)) {}

  int64_t prompt_count() const override {
    return static_cast<int64_t>(task_.prompt.size());
  }

  int64_t cache_tokens() const override {
    return prompt_count() + task_.max_new_tokens;
  }

  int64_t next_row_count() const override {
    return computed_ < prompt_count()
               ? std::min(chunk_, prompt_count() - computed_)
               : 1;
  }

  StepWork Next() override {
    StepWork work;
    if (computed_ >= prompt_count()) {
      work.is_prefill = false;
      work.tokens = {result_.tokens.back()};
      work.wanted = {{0, {}}};
      return work;
    }
    const int64_t count = next_row_count();
    work.tokens.assign(task_.prompt.begin() + computed_,
                       task_.prompt.begin() + computed_ + count);
    if (computed_ + count == prompt_count()) work.wanted = {{count - 1, {}}};
    return work;
  }

  bool Accept(absl::Span<const RowResult> results) override {
    computed_ += next_row_count();
    if (results.empty()) return true;
    const RowResult& row = results.front();
    result_.tokens.push_back(row.best_token);
    result_.logprobs.push_back(row.best_logprob);
    const bool stops =
        std::find(task_.stop_tokens.begin(), task_.stop_tokens.end(),
                  row.best_token) != task_.stop_tokens.end();
    return !stops &&
           static_cast<int64_t>(result_.tokens.size()) < task_.max_new_tokens;
  }

  void Finish(const absl::Status& status) override {
    if (status.ok()) {
      done_(std::move(result_));
    } else {
      done_(status);
    }
  }

 private:
  const GenerateTask task_;
  const int64_t chunk_;
  const GenerateDone done_;
  int64_t computed_ = 0;
  GenerateResult result_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Sequence>> MakeGenerateSequence(
    GenerateTask task, int64_t chunk, GenerateDone done) {
  if (task.prompt.empty()) {
    return absl::InvalidArgumentError(
        "the prompt has no tokens; give at least a begin-of-text token");
  }
  if (task.max_new_tokens < 1) {
    return absl::InvalidArgumentError("max_new_tokens must be at least 1");
  }
  return std::make_unique<GenerateSequence>(std::move(task), chunk,
                                            std::move(done));
}

}  // namespace dissonance
