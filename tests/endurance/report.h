// What a long run found, for people and for programs. A value; not thread
// safe.
//
//   Report report{.name = "storm"};
//   report.Add("kills", 200);
//   report.violations.push_back("jobs/01J... is RUNNING");
//   RETURN_IF_ERROR(report.Publish("build/storm"));
#ifndef DISSONANCE_TESTS_ENDURANCE_REPORT_H_
#define DISSONANCE_TESTS_ENDURANCE_REPORT_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

namespace dissonance {

struct Report {
  std::string name;
  // In the order of the table.
  std::vector<std::pair<std::string, nlohmann::ordered_json>> figures = {};
  // Beyond the table, for programs only.
  nlohmann::ordered_json details = nlohmann::ordered_json::object();
  // Promises that did not hold, each with what to look at.
  std::vector<std::string> violations = {};

  void Add(const std::string& figure, nlohmann::ordered_json value) {
    figures.emplace_back(figure, std::move(value));
  }
  // A table of the figures, then the violations.
  std::string ToMarkdown() const;
  nlohmann::ordered_json ToJson() const;
  // Prints the table; with an `out_dir` also writes NAME.md and NAME.json
  // there.
  absl::Status Publish(const std::string& out_dir) const;
};

// To three decimals, as figures are shown.
double Rounded(double value);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_REPORT_H_
