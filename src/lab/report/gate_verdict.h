// What a criterion says of a stage's results. A value; thread safe.
#ifndef DISSONANCE_LAB_REPORT_GATE_VERDICT_H_
#define DISSONANCE_LAB_REPORT_GATE_VERDICT_H_

#include <string>
#include <utility>
#include <vector>

namespace dissonance {

enum class GateStatus { kPass, kWarn, kAbort };

struct GateVerdict {
  std::string gate;   // "behaviour"
  std::string stage;  // whose results were judged
  GateStatus status = GateStatus::kPass;
  // What was found and what was asked for, a sentence for people.
  std::string text;
  // The figures that decided, by name; shares from 0 to 1.
  std::vector<std::pair<std::string, double>> figures;
  // It aborted and the pipeline went on, as its owner asked.
  bool is_forced = false;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_REPORT_GATE_VERDICT_H_
