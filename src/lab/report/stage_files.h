// The files of one stage of a report, read. Refers to the stage, which must
// outlive it. Thread safe.
//
//   ASSIGN_OR_RETURN(const Lens lens,
//                    files.Document<Lens>("trajectories.json", ReadLens));
//   RETURN_IF_ERROR(files.EachLine("lens.jsonl", [&](const Json& line) {...}));
#ifndef DISSONANCE_LAB_REPORT_STAGE_FILES_H_
#define DISSONANCE_LAB_REPORT_STAGE_FILES_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
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
  // Whether the job has the file and it is too long for the report.
  bool IsLeftOut(const std::string& name) const {
    return stage_.left_out.contains(name);
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
    try {
      return read(*json);
    } catch (const nlohmann::json::exception& e) {
      return Lost(name, absl::StrCat("is not of the job's form: ", e.what()));
    }
  }

  // Calls `visit`, which may throw as `read` may, with each line of a file of
  // JSON lines. One at a time is in memory: such files are as long as a job's
  // data. DATA_LOSS as above.
  template <typename Visit>
  absl::Status EachLine(const std::string& name, const Visit& visit) const {
    const auto file = stage_.files.find(name);
    if (file == stage_.files.end()) return Lost(name, "is missing");
    int number = 0;
    for (const absl::string_view line : absl::StrSplit(file->second, '\n')) {
      const std::string where = absl::StrCat("line ", ++number);
      if (line.empty()) continue;
      const absl::StatusOr<nlohmann::json> json = ParseJson(line, where);
      if (!json.ok()) return Lost(name, json.status().message());
      try {
        visit(*json);
      } catch (const nlohmann::json::exception& e) {
        return Lost(
            name, absl::StrCat(where, " is not of the job's form: ", e.what()));
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Lost(const std::string& name, absl::string_view what) const {
    return absl::DataLossError(
        absl::StrCat("stage ", stage_.name, ": ", name, ": ", what,
                     "; the report needs the file as the job wrote it"));
  }

  const ReportStage& stage_;
  const std::string id_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_REPORT_STAGE_FILES_H_
