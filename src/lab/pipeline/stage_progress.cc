#include "src/lab/pipeline/stage_progress.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace dissonance {

std::string UnitWithProgress(const std::vector<NamedJob>& under_way) {
  std::vector<std::string> texts;
  for (const NamedJob& each : under_way) {
    const v1::Progress& progress = each.job->progress();
    if (each.job->state() != v1::JOB_STATE_RUNNING ||
        progress.total_count() == 0) {
      continue;
    }
    texts.push_back(absl::StrCat(each.stage, " ", progress.done_count(), "/",
                                 progress.total_count(), " ", progress.unit()));
  }
  if (texts.empty()) return kStagesUnit;
  return absl::StrCat(kStagesUnit, " (", absl::StrJoin(texts, ", "), ")");
}

}  // namespace dissonance
