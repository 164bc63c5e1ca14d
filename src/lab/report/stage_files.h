// The files of one stage of a report, read. Refers to the stage, which must
// outlive it. Thread safe.
//
//   ASSIGN_OR_RETURN(const Lens lens,
//                    files.Document<Lens>("trajectories.json", ReadLens));
#ifndef DISSONANCE_LAB_REPORT_STAGE_FILES_H_
#define DISSONANCE_LAB_REPORT_STAGE_FILES_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/lab/report/report.h"

namespace dissonance {

class StageFiles {
 public:
  // `id` begins the ids of what the stage adds to the page.
  StageFiles(const ReportStage& stage, std::string id)
      : stage_(stage), id_(std::move(id)) {}

  const ReportStage& stage() const { return stage_; }
  // Of an element or a file of the stage, e.g. "mcq.accuracy".
  std::string Id(const std::string& name) const {
    return absl::StrCat(id_, ".", name);
  }
  bool Has(const std::string& name) const {
    return stage_.files.contains(name);
  }

  // What `read`, which may throw nlohmann::json::exception, makes of the JSON
  // of a file. DATA_LOSS, naming stage and file, if it is not there, no JSON,
  // or not of the form that `read` expects.
  template <typename T, typename Read>
  absl::StatusOr<T> Document(const std::string& name, const Read& read) const {
    const auto file = stage_.files.find(name);
    if (file == stage_.files.end()) return Lost(name, "is missing");
    absl::StatusOr<nlohmann::json> json = ParseJson(file->second, name);
    if (!json.ok()) return Lost(name, json.status().message());
    return Guarded<T>(name, [&] { return read(*json); });
  }

  // The same of a file of JSON lines, as a vector of them.
  template <typename T, typename Read>
  absl::StatusOr<T> Lines(const std::string& name, const Read& read) const {
    const auto file = stage_.files.find(name);
    if (file == stage_.files.end()) return Lost(name, "is missing");
    absl::StatusOr<std::vector<JsonLine>> lines =
        ParseJsonLines(file->second, name);
    if (!lines.ok()) return Lost(name, lines.status().message());
    std::vector<nlohmann::json> values;
    for (JsonLine& line : *lines) values.push_back(std::move(line.value));
    return Guarded<T>(name, [&] { return read(values); });
  }

 private:
  absl::Status Lost(const std::string& name, absl::string_view what) const {
    return absl::DataLossError(
        absl::StrCat("stage ", stage_.name, ": ", name, ": ", what,
                     "; the report needs the file as the job wrote it"));
  }

  template <typename T, typename Read>
  absl::StatusOr<T> Guarded(const std::string& name, const Read& read) const {
    try {
      return read();
    } catch (const nlohmann::json::exception& e) {
      return Lost(name, absl::StrCat("is not of the job's form: ", e.what()));
    }
  }

  const ReportStage& stage_;
  const std::string id_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_REPORT_STAGE_FILES_H_
