// What hosted models answered to multiple-choice questions, and the files that
// say so. Values and pure functions; thread safe.
#ifndef DISSONANCE_LAB_HOSTED_HOSTED_ANSWERS_H_
#define DISSONANCE_LAB_HOSTED_HOSTED_ANSWERS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "src/lab/eval/mcq_data.h"

namespace dissonance {

struct HostedAnswer {
  std::optional<int> option = std::nullopt;
  std::vector<std::string> raw_texts = {};  // of all tries
  std::string error = {};                   // why there is no option
  bool has_no_reply = false;                // after all tries
};

// One model's answers, in the questions' order.
struct HostedAnswers {
  std::string model;  // "ENDPOINT/MODEL"
  std::vector<HostedAnswer> answers;
};

// One line a question. REQUIRES: as many answers as items.
std::string HostedPredictionsFile(absl::Span<const McqItem> items,
                                  const HostedAnswers& answers);

// Figures over what was answered; the second model, if there is one, against
// the first.
std::string HostedReport(absl::Span<const McqItem> items,
                         absl::Span<const HostedAnswers> models);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_HOSTED_HOSTED_ANSWERS_H_
