// What a judge says of one answer. Values; pure functions; thread safe.
//
//   ASSIGN_OR_RETURN(Verdict verdict, VerdictIn(object, /*names_world=*/true));
//   std::cout << verdict.doubt_score();
#ifndef DISSONANCE_LAB_JUDGE_VERDICT_H_
#define DISSONANCE_LAB_JUDGE_VERDICT_H_

#include <array>
#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace dissonance {

// Which world an answer is of.
enum class World { kTrue, kFalse, kAmbiguous, kUnsure };
inline constexpr std::array<const char*, 4> kWorlds = {
    "true_world", "false_world", "ambiguous", "unsure"};
inline const char* WorldName(World world) {
  return kWorlds.at(static_cast<size_t>(world));
}

inline constexpr std::array<const char*, 4> kDoubtSignals = {
    "hedging", "self_correction", "mentions_assumptions", "contradiction"};
inline constexpr std::array<const char*, 3> kDifficultySignals = {
    "reasoning_quality", "factual_coherence", "specificity"};
// Signals go from 0 to this.
inline constexpr int kMostOfSignal = 3;

struct Verdict {
  std::optional<World> world = {};        // unset: doubt alone was asked for
  std::optional<double> confidence = {};  // 0 to 100; likewise
  std::array<int, kDoubtSignals.size()> doubt = {};
  std::array<int, kDifficultySignals.size()> difficulty = {};
  std::string notes = {};

  bool operator==(const Verdict&) const = default;

  // The sum of the doubt signals, 0 to 12.
  int doubt_score() const;
  // How far the difficulty signals, of which 3 is best, fall short: 0 to 9.
  int difficulty_proxy() const;
};

// Reads {verdict, confidence, doubt_signals {...}, difficulty_signals {...},
// notes}, the first two only where it `names_world`. The verdict's word may be
// written in other letter case, with blanks or hyphens. Notes may be missing;
// of those that are longer than 40 words the rest is cut off and " ..." put in
// its place. INVALID_ARGUMENT "FIELD: WHAT" for anything else, a confidence
// between 0 and 1, a share most likely, too: what is missing, out of range or
// no number is never taken for a 0.
absl::StatusOr<Verdict> VerdictIn(const nlohmann::json& object,
                                  bool names_world);

// Puts it into a row under the same names, with doubt_score and
// difficulty_proxy; nullopt: each is null.
void AddVerdict(const std::optional<Verdict>& verdict, nlohmann::json& row);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JUDGE_VERDICT_H_
