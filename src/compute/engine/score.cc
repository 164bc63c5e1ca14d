#include "src/compute/engine/score.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

// Continuations as a tree with equal beginnings shared. A continuation's last
// token is never a row: nothing is asked after it.
struct ContinuationTree {
  std::vector<int32_t> tokens;
  std::vector<int32_t> parents;
  // The task's first continuation in this tree.
  size_t begin = 0;
  // Rows of the tokens but the last, for each continuation from `begin` on.
  std::vector<std::vector<int32_t>> paths;

  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
};

class TreeBuilder {
 public:
  std::vector<int32_t> Add(const std::vector<int32_t>& continuation,
                           ContinuationTree& tree) {
    std::vector<int32_t> path;
    int32_t node = -1;
    for (size_t i = 0; i + 1 < continuation.size(); ++i) {
      const auto [child, is_new] = children_.try_emplace(
          {node, continuation[i]}, static_cast<int32_t>(tree.tokens.size()));
      if (is_new) {
        tree.tokens.push_back(continuation[i]);
        tree.parents.push_back(node);
      }
      node = child->second;
      path.push_back(node);
    }
    return path;
  }

 private:
  std::map<std::pair<int32_t, int32_t>, int32_t> children_;
};

// Fills trees up to the row limit, in the task's order.
std::vector<ContinuationTree> BuildTrees(
    const std::vector<std::vector<int32_t>>& continuations) {
  std::vector<ContinuationTree> trees;
  std::optional<TreeBuilder> builder;
  for (size_t i = 0; i < continuations.size(); ++i) {
    const auto most_new = static_cast<int64_t>(continuations[i].size()) - 1;
    if (trees.empty() || trees.back().rows() + most_new > kTreeRowLimit) {
      trees.emplace_back().begin = i;
      builder.emplace();
    }
    ContinuationTree& tree = trees.back();
    tree.paths.push_back(builder->Add(continuations[i], tree));
  }
  return trees;
}

// Where a row's targets belong: continuation and token of each.
struct Destination {
  size_t continuation = 0;
  size_t token = 0;
};

class ScoreSequence : public Sequence {
 public:
  ScoreSequence(ScoreTask task, ScoreDone done)
      : task_(std::move(task)), done_(std::move(done)), linear_(task_.prompt) {
    if (task_.continuations.size() == 1) {
      // A single continuation simply goes on with the prompt.
      const std::vector<int32_t>& only = task_.continuations.front();
      linear_.insert(linear_.end(), only.begin(), only.end() - 1);
    } else {
      trees_ = BuildTrees(task_.continuations);
    }
    for (const std::vector<int32_t>& continuation : task_.continuations) {
      ContinuationResult& result = result_.continuations.emplace_back();
      result.token_logprobs.resize(continuation.size());
    }
  }

  int64_t prompt_count() const override {
    return static_cast<int64_t>(task_.prompt.size());
  }

  int64_t cache_tokens() const override { return linear_count(); }

  absl::Span<const int32_t> SharedPrefix() const override {
    // The prompt's last row is always computed: it predicts first tokens.
    return absl::MakeConstSpan(task_.prompt)
        .subspan(0, task_.prompt.size() - 1);
  }
  void SkipPrefix(int64_t count) override { computed_ = count; }

  bool fits_one_step(int64_t limit) const override {
    return computed_ == 0 && linear_count() <= limit && trees_.size() <= 1;
  }

  int64_t next_row_count(int64_t limit) const override {
    const int64_t linear = next_linear_count(limit);
    return linear + (hangs_tree(linear) ? trees_[tree_].rows() : 0);
  }

  StepWork Next(int64_t limit) override {
    StepWork work;
    asked_.clear();
    step_linear_ = next_linear_count(limit);
    work.tokens.assign(linear_.begin() + computed_,
                       linear_.begin() + computed_ + step_linear_);
    if (trees_.empty()) {
      AskLinear(step_linear_, work);
    } else if (hangs_tree(step_linear_)) {
      AskTree(step_linear_, work);
    }
    step_rows_ = static_cast<int64_t>(work.tokens.size());
    return work;
  }

  bool Accept(StepResult result) override {
    for (size_t row = 0; row < result.rows.size(); ++row) {
      for (size_t i = 0; i < asked_[row].size(); ++i) {
        Record(asked_[row][i], result.rows[row], i);
      }
    }
    result_.computed_tokens += step_rows_;
    if (hangs_tree(step_linear_)) ++tree_;
    computed_ += step_linear_;
    return computed_ < linear_count() || tree_ < trees_.size();
  }

  void Finish(const absl::Status& status) override {
    if (!status.ok()) {
      done_(status);
      return;
    }
    for (ContinuationResult& continuation : result_.continuations) {
      for (const double logprob : continuation.token_logprobs) {
        continuation.logprob += logprob;
      }
    }
    done_(std::move(result_));
  }

 private:
  int64_t linear_count() const { return static_cast<int64_t>(linear_.size()); }

  int64_t next_linear_count(int64_t limit) const {
    return std::min(limit, linear_count() - computed_);
  }
  // Whether a step of so many linear rows has tree rows too: all linear
  // tokens are held or computed then.
  bool hangs_tree(int64_t linear) const {
    return tree_ < trees_.size() && computed_ + linear == linear_count();
  }

  void Ask(int64_t row, std::vector<Destination> places, StepWork& work) {
    WantedRow wanted{.row = row, .target_tokens = {}};
    for (const Destination& place : places) {
      wanted.target_tokens.push_back(TokenAt(place));
    }
    work.wanted.push_back(std::move(wanted));
    asked_.push_back(std::move(places));
  }

  // The single continuation's tokens are predicted from the prompt's last
  // token on.
  void AskLinear(int64_t count, StepWork& work) {
    const int64_t first = prompt_count() - 1;
    for (int64_t row = 0; row < count; ++row) {
      const int64_t token = computed_ + row - first;
      if (token >= 0) Ask(row, {{0, static_cast<size_t>(token)}}, work);
    }
  }

  void AskTree(int64_t count, StepWork& work) {
    const ContinuationTree& tree = trees_[tree_];
    work.tokens.insert(work.tokens.end(), tree.tokens.begin(),
                       tree.tokens.end());
    work.tree_parents = tree.parents;
    // The prompt's last row is computed with the first tree only: it answers
    // for the first tokens of all continuations.
    if (tree_ == 0) {
      std::vector<Destination> firsts;
      for (size_t i = 0; i < task_.continuations.size(); ++i) {
        firsts.push_back({i, 0});
      }
      Ask(count - 1, std::move(firsts), work);
    }
    std::map<int32_t, std::vector<Destination>> by_row;
    for (size_t i = 0; i < tree.paths.size(); ++i) {
      for (size_t t = 0; t < tree.paths[i].size(); ++t) {
        by_row[tree.paths[i][t]].push_back({tree.begin + i, t + 1});
      }
    }
    for (auto& [row, places] : by_row) {
      Ask(count + row, std::move(places), work);
    }
  }

  int32_t TokenAt(const Destination& place) const {
    return task_.continuations[place.continuation][place.token];
  }

  void Record(const Destination& place, const RowResult& row, size_t target) {
    ContinuationResult& result = result_.continuations[place.continuation];
    result.token_logprobs[place.token] = row.target_logprobs[target];
    if (row.best_token != TokenAt(place)) result.is_greedy = false;
  }

  const ScoreTask task_;
  const ScoreDone done_;
  std::vector<int32_t> linear_;
  std::vector<ContinuationTree> trees_;
  int64_t computed_ = 0;                         // linear tokens
  int64_t step_linear_ = 0;                      // of the last Next()
  int64_t step_rows_ = 0;                        // of the last Next()
  size_t tree_ = 0;                              // the next one
  std::vector<std::vector<Destination>> asked_;  // of Next()'s wanted rows
  ScoreResult result_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Sequence>> MakeScoreSequence(ScoreTask task,
                                                            ScoreDone done) {
  if (task.prompt.empty()) {
    return absl::InvalidArgumentError(
        "the prompt has no tokens; give at least a begin-of-text token");
  }
  if (task.continuations.empty()) {
    return absl::InvalidArgumentError("there is no continuation to score");
  }
  for (size_t i = 0; i < task.continuations.size(); ++i) {
    const size_t length = task.continuations[i].size();
    if (length == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("continuations[", i, "] has no tokens"));
    }
    if (task.continuations.size() > 1 && length > kTreeRowLimit) {
      return absl::InvalidArgumentError(
          absl::StrCat("continuations[", i, "] has ", length,
                       " tokens; of several, each "
                       "may have ",
                       kTreeRowLimit, ": score a longer one alone"));
    }
  }
  return std::make_unique<ScoreSequence>(std::move(task), std::move(done));
}

}  // namespace dissonance
