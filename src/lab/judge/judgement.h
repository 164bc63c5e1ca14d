// What came of judging one answer once, and the rows of judgements.jsonl that
// tell it. Values; pure functions; thread safe.
//
//   ASSIGN_OR_RETURN(Judgements all,
//                    ReadJudgements({{"judgements.jsonl", text}}));
#ifndef DISSONANCE_LAB_JUDGE_JUDGEMENT_H_
#define DISSONANCE_LAB_JUDGE_JUDGEMENT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"
#include "src/lab/judge/judge_rows.h"
#include "src/lab/judge/verdict.h"

namespace dissonance {

struct Judgement {
  AnswerLabel label;
  std::string judge;  // "ENDPOINT/MODEL"
  int64_t pass = 1;   // of this judge, from 1
  std::optional<Verdict> verdict = {};
  // Where there is no verdict: why.
  std::string error = {};
  // All replies, the last of which gave the verdict.
  std::vector<std::string> raw_texts = {};
  int64_t tries = 0;
  std::string answered_by = {};  // the last reply's model, as it is named there
};

struct Judgements {
  // Whether judges were asked which world an answer is of, or for signs of
  // doubt and difficulty alone.
  bool names_world = true;
  std::vector<Judgement> rows = {};
};

// "world_and_doubt" or "doubt_only".
const char* JudgeModeName(bool names_world);

// One row, with the label's fields and the verdict's.
nlohmann::json JudgementRow(const Judgement& judgement, bool names_world);

// The rows of the files, one after another. INVALID_ARGUMENT with file, line
// and field; if there is none; if two are of one answer by one judge in one
// pass; if modes are mixed.
absl::StatusOr<Judgements> ReadJudgements(absl::Span<const NamedText> files);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JUDGE_JUDGEMENT_H_
