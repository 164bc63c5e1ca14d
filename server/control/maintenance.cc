#include "server/control/maintenance.h"

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "absl/strings/str_cat.h"
#include "src/base/clock.h"
#include "src/base/status_macros.h"
#include "src/lab/backup/check.h"
#include "src/lab/backup/owner_token.h"
#include "src/lab/backup/restore.h"
#include "src/lab/storage/database.h"

namespace dissonance {
namespace {

void Print(const std::string& line) { std::printf("%s\n", line.c_str()); }

absl::StatusOr<int> RunCheck(const Maintenance& maintenance) {
  ASSIGN_OR_RETURN(const CheckReport report,
                   CheckDataDir({.data_dir = maintenance.data_dir,
                                 .quick = maintenance.quick,
                                 .repair = maintenance.repair,
                                 .now = Clock::Real().Now()}));
  for (const Finding& finding : report.findings) {
    Print(finding.what);
    Print(absl::StrCat("    ", finding.repaired ? "removed" : finding.advice));
  }
  Print(absl::StrCat(maintenance.data_dir, ": schema ", report.schema_version,
                     ", ", report.artifact_count, " artifacts of ",
                     report.artifact_bytes, " bytes, ", report.findings.size(),
                     " findings",
                     maintenance.quick ? "; digests were not checked" : ""));
  return report.clean() ? EXIT_SUCCESS : EXIT_FAILURE;
}

absl::StatusOr<int> RunRestore(const Maintenance& maintenance) {
  ASSIGN_OR_RETURN(
      const BackupSummary summary,
      RestoreBackup(maintenance.from, maintenance.data_dir, Clock::Real()));
  Print(absl::StrCat(
      "restored ", summary.artifact_count, " artifacts of ",
      summary.artifact_bytes, " bytes and the records as of ",
      absl::FormatTime(absl::RFC3339_sec, summary.time, absl::UTCTimeZone()),
      " into ", maintenance.data_dir));
  Print(absl::StrCat("a new owner's token is in ", maintenance.data_dir,
                     "/owner.token; tokens that were valid then are valid "
                     "again, revoke those you don't want"));
  Print(
      absl::StrCat("see that the files of models and adapters are where they "
                   "were, then start it: dissonance server start --data-dir ",
                   maintenance.data_dir));
  return EXIT_SUCCESS;
}

absl::StatusOr<int> RunOwnerToken(const Maintenance& maintenance) {
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Database> database,
      Database::Open({.data_dir = maintenance.data_dir, .must_exist = true}));
  RETURN_IF_ERROR(WriteOwnerToken(*database, Clock::Real()));
  Print(absl::StrCat("a new owner's token is in ", maintenance.data_dir,
                     "/owner.token; older ones stay valid until they are "
                     "revoked (dissonance admin token list)"));
  return EXIT_SUCCESS;
}

}  // namespace

absl::StatusOr<int> RunMaintenance(const Maintenance& maintenance) {
  switch (maintenance.kind) {
    case Maintenance::Kind::kCheck:
      return RunCheck(maintenance);
    case Maintenance::Kind::kRestore:
      return RunRestore(maintenance);
    case Maintenance::Kind::kOwnerToken:
      return RunOwnerToken(maintenance);
  }
  return EXIT_FAILURE;
}

}  // namespace dissonance
