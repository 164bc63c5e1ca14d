#include "client/cli/job_comparison.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/columns.h"
#include "client/cli/names.h"
#include "client/cli/output.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr size_t kDigestBytes = 19;  // "sha256:" and 12 digits
constexpr int kValueWidth = 48;

// A value short enough to stand beside another; -o json has all of it.
std::string Shortened(const std::string& value) {
  if (value.empty()) return "-";
  const std::string name =
      absl::StartsWith(value, "artifacts/") ? ShortName(value) : value;
  if (absl::StartsWith(name, "sha256:")) return name.substr(0, kDigestBytes);
  const std::string line = Printable(name);
  if (DisplayWidth(line) <= kValueWidth) return line;
  return absl::StrCat(WrapLines(line, kValueWidth - 3).front(), "...");
}

void AddDifferences(
    const char* part,
    const google::protobuf::RepeatedPtrField<v1::JobDifference>& differences,
    Table& table) {
  for (const v1::JobDifference& each : differences) {
    table.AddRow({part, each.field(), Shortened(each.first()),
                  Shortened(each.second())});
  }
}

}  // namespace

absl::StatusOr<v1::CompareJobsResponse> CompareJobs(Connection& connection,
                                                    const std::string& first,
                                                    const std::string& second) {
  v1::CompareJobsRequest request;
  request.set_first_job(first);
  request.set_second_job(second);
  return connection.CallAgain(&v1::Jobs::Stub::CompareJobs, request);
}

std::string VerdictOf(const v1::ComparedOutput& output) {
  if (output.equal()) return "same";
  if (output.first().empty()) return "in the second job only";
  if (output.second().empty()) return "in the first job only";
  // Names the run, time and job, so that it never has the same bytes.
  return output.names_run() ? "differs, as it names its run" : "differs";
}

std::string RenderDifferences(const v1::CompareJobsResponse& comparison,
                              const std::string& first,
                              const std::string& second) {
  if (comparison.inputs().empty() && comparison.provenance().empty()) {
    return "they were asked the same, and the same computed them\n";
  }
  Table table({{"PART"}, {"FIELD"}, {ShortName(first)}, {ShortName(second)}});
  AddDifferences("input", comparison.inputs(), table);
  AddDifferences("provenance", comparison.provenance(), table);
  return table.Render();
}

std::string RenderVerdicts(const v1::CompareJobsResponse& comparison) {
  Table table({{"FILE"}, {"RESULT"}});
  for (const v1::ComparedOutput& output : comparison.outputs()) {
    table.AddRow({output.file_name(), VerdictOf(output)});
  }
  return table.Render();
}

std::string RenderComparison(const v1::CompareJobsResponse& comparison,
                             const std::string& first,
                             const std::string& second) {
  std::string out = RenderDifferences(comparison, first, second);
  if (comparison.outputs().empty()) {
    return absl::StrCat(out, "\nneither has files\n");
  }
  Table table({{"FILE"}, {"RESULT"}, {ShortName(first)}, {ShortName(second)}});
  for (const v1::ComparedOutput& output : comparison.outputs()) {
    table.AddRow({output.file_name(), VerdictOf(output),
                  Shortened(output.first()), Shortened(output.second())});
  }
  return absl::StrCat(out, "\n", table.Render());
}

}  // namespace dissonance::cli
