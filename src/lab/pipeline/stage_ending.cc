#include "src/lab/pipeline/stage_ending.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "src/base/status_macros.h"
#include "src/lab/jobs/job_state.h"

namespace dissonance {
namespace {

constexpr char kRunAgain[] =
    "run it again: stages that succeeded are not computed again";

}  // namespace

bool IsOfTheSpec(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsOutOfRange(status) ||
         absl::IsUnimplemented(status) || absl::IsFailedPrecondition(status) ||
         absl::IsNotFound(status);
}

absl::Status WithAdvice(const std::string& stage, const absl::Status& status) {
  const absl::Status named = Annotate(status, absl::StrCat("stage ", stage));
  if (!absl::IsInvalidArgument(status)) return named;
  return absl::InvalidArgumentError(
      absl::StrCat(named.message(), "; mend the file and ", kRunAgain));
}

absl::Status StageEnded(const std::string& stage, const v1::Job& job) {
  const std::string what =
      absl::StrCat("stage ", stage, ": ", job.name(), " ",
                   StateName(job.state()), ": ", job.reason());
  // A job's reason begins with the code.
  for (const absl::string_view code :
       {"INVALID_ARGUMENT: ", "OUT_OF_RANGE: ", "UNIMPLEMENTED: "}) {
    if (!absl::StartsWith(job.reason(), code)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(what, "; mend the file and ", kRunAgain));
  }
  if (absl::StartsWith(job.reason(), "FAILED_PRECONDITION: ")) {
    return absl::FailedPreconditionError(
        absl::StrCat(what, "; mend that and ", kRunAgain));
  }
  return absl::AbortedError(absl::StrCat(
      what, "; mend that, then retry this pipeline or ", kRunAgain));
}

}  // namespace dissonance
