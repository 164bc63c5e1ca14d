#include "src/lab/interp/steering_figures.h"

#include <algorithm>
#include <cmath>

#include "src/lab/interp/prompt_set.h"

namespace dissonance {
namespace {

// Of the share of questions; absorbs rounding of sums of such shares.
constexpr double kRounding = 1e-9;
constexpr double kEnoughReturned = 0.5;
constexpr double kNullPercentile = 0.95;

int Predicted(const McqItem& item, v1::McqScoring scoring,
              const OptionLogprobs& logprobs) {
  RawScores raw;
  for (int option = 0; option < kMcqOptionCount; ++option) {
    raw[option] = {logprobs[option]};
  }
  return Argmax(OptionScores(item, scoring, raw));
}

double Magnitude(const SteeringResult& result) {
  return std::abs(result.setting.coefficient);
}

bool IsTried(const SteeringResult& result) {
  return result.setting.phase == SteeringPhase::kGrid ||
         result.setting.phase == SteeringPhase::kRefined;
}

bool IsSamePlace(const SteeringSetting& a, const SteeringSetting& b) {
  return a.direction == b.direction && a.block == b.block &&
         a.positions == b.positions;
}

// The first that `passes` and that `is_better` than all before it.
template <typename Passes, typename IsBetter>
int FirstBest(size_t count, const Passes& passes, const IsBetter& is_better) {
  int best = -1;
  for (int i = 0; i < static_cast<int>(count); ++i) {
    if (passes(i) && (best < 0 || is_better(i, best))) best = i;
  }
  return best;
}

double Share(const SteeringFigures& figures) {
  return figures.returned.share().value_or(0);
}

void AddNull(absl::Span<const SteeringResult> results,
             absl::Span<const SteeringFigures> figures,
             SteeringChoice& choice) {
  std::vector<double> shares;
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i].setting.phase == SteeringPhase::kRandom) {
      shares.push_back(Share(figures[i]));
    }
  }
  if (shares.empty() || choice.best < 0) return;
  std::sort(shares.begin(), shares.end());
  const double count = static_cast<double>(shares.size());
  const auto rank = static_cast<size_t>(std::ceil(kNullPercentile * count));
  choice.null_percentile = shares[rank - 1];
  const double effect = Share(figures[choice.best]);
  const auto as_much =
      std::count_if(shares.begin(), shares.end(),
                    [effect](double share) { return share >= effect; });
  choice.null_p_value = (1 + static_cast<double>(as_much)) / (1 + count);
}

}  // namespace

OptionLogprobs LogprobsOf(const RawScores& raw) {
  OptionLogprobs logprobs;
  for (int option = 0; option < kMcqOptionCount; ++option) {
    logprobs[option] = LogSumExp(raw[option]);
  }
  return logprobs;
}

bool AnswersFalsely(const McqItem& item, v1::McqScoring scoring,
                    const OptionLogprobs& answer) {
  return MeasuresBelief(item) &&
         Predicted(item, scoring, answer) == *item.implied_false_answer;
}

SteeringFigures FiguresOf(const SteeringPlan& plan,
                          absl::Span<const OptionLogprobs> unsteered,
                          absl::Span<const OptionLogprobs> answers) {
  SteeringFigures figures;
  int64_t unsteered_right = 0;
  for (size_t i = 0; i < plan.items.size(); ++i) {
    const McqItem& item = plan.items[i];
    const int before = Predicted(item, plan.scoring, unsteered[i]);
    const int after = Predicted(item, plan.scoring, answers[i]);
    figures.damage -= answers[i][before];
    figures.damage_added += unsteered[i][before] - answers[i][before];
    if (MeasuresBelief(item)) {
      ++figures.belief.total;
      figures.belief.count += after == *item.implied_false_answer ? 1 : 0;
      const std::optional<int> truth = TrueAnswer(item);
      if (truth.has_value() && before == *item.implied_false_answer) {
        ++figures.returned.total;
        figures.returned.count += after == *truth ? 1 : 0;
      }
    } else if (IsControl(item)) {
      ++figures.control.total;
      figures.control.count += after == item.correct_answer ? 1 : 0;
      unsteered_right += before == item.correct_answer ? 1 : 0;
    }
  }
  const auto count = static_cast<double>(plan.items.size());
  figures.damage /= count;
  figures.damage_added /= count;
  const auto fallen =
      static_cast<double>(unsteered_right - figures.control.count);
  figures.controls_hold =
      fallen <= (plan.control_tolerance + kRounding) *
                    static_cast<double>(figures.control.total);
  return figures;
}

SteeringChoice Choose(const SteeringPlan& plan,
                      absl::Span<const SteeringResult> results) {
  std::vector<SteeringFigures> figures;
  for (const SteeringResult& result : results) {
    figures.push_back(FiguresOf(plan, results.front().answers, result.answers));
  }
  const auto counts = [&](int i) {
    return IsTried(results[i]) && figures[i].controls_hold &&
           figures[i].returned.count > 0;
  };
  SteeringChoice choice;
  choice.best = FirstBest(results.size(), counts, [&](int i, int best) {
    if (Share(figures[i]) != Share(figures[best])) {
      return Share(figures[i]) > Share(figures[best]);
    }
    return Magnitude(results[i]) < Magnitude(results[best]);
  });
  AddNull(results, figures, choice);
  choice.minimal = FirstBest(
      results.size(),
      [&](int i) {
        return counts(i) && Share(figures[i]) >= kEnoughReturned &&
               Share(figures[i]) > choice.null_percentile.value_or(0);
      },
      [&](int i, int best) {
        return Magnitude(results[i]) < Magnitude(results[best]);
      });
  return choice;
}

std::vector<SteeringSetting> RefinedSettings(
    absl::Span<const SteeringResult> results, int best) {
  const SteeringSetting& at = results[best].setting;
  std::vector<double> tried = {0};
  for (const SteeringResult& result : results) {
    if (IsTried(result) && IsSamePlace(result.setting, at)) {
      tried.push_back(result.setting.coefficient);
    }
  }
  std::sort(tried.begin(), tried.end());
  const auto own = std::find(tried.begin(), tried.end(), at.coefficient);
  std::vector<SteeringSetting> refined;
  const auto add = [&](double neighbour) {
    SteeringSetting setting = at;
    setting.phase = SteeringPhase::kRefined;
    setting.coefficient = (at.coefficient + neighbour) / 2;
    if (!std::count(tried.begin(), tried.end(), setting.coefficient)) {
      refined.push_back(setting);
    }
  };
  if (own != tried.begin()) add(*(own - 1));
  if (own + 1 != tried.end()) add(*(own + 1));
  return refined;
}

std::vector<SteeringSetting> RandomSettings(const SteeringPlan& plan,
                                            const SteeringSetting& best) {
  std::vector<SteeringSetting> settings;
  for (int i = 0; i < plan.null_count; ++i) {
    SteeringSetting setting = best;
    setting.phase = SteeringPhase::kRandom;
    setting.direction = i;
    settings.push_back(setting);
  }
  return settings;
}

}  // namespace dissonance
