// Looks over a data directory that no server uses, and says what is wrong and
// what to do about it. Thread safe; holds the directory's lock meanwhile.
//
//   ASSIGN_OR_RETURN(const CheckReport report,
//                    CheckDataDir({.data_dir = "/srv/dissonance"}));
//   for (const Finding& finding : report.findings) Print(finding);
#ifndef DISSONANCE_LAB_BACKUP_CHECK_H_
#define DISSONANCE_LAB_BACKUP_CHECK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dissonance {

struct CheckOptions {
  std::string data_dir;  // absolute
  // Leaves out what reads every byte: digests, and indexes against tables.
  bool quick = false;
  // Removes files that no record names and what interrupted writes left, unless
  // the database itself is damaged. Nothing else is ever changed.
  bool repair = false;
  // Tells how old an unfinished upload is: one may go on for a day.
  absl::Time now = absl::InfinitePast();
};

struct Finding {
  std::string what;    // one line
  std::string advice;  // what it means and what to do
  bool repaired = false;
};

struct CheckReport {
  int64_t schema_version = 0;
  int64_t artifact_count = 0;
  int64_t artifact_bytes = 0;
  std::vector<Finding> findings;

  // Whether nothing is wrong, or nothing any more.
  bool clean() const;
};

// Checks the schema, the database's pages and references, that no job's events
// and items have gaps, size and digest of every artifact, files without a
// record, and what interrupted writes left. NOT_FOUND without a database there;
// FAILED_PRECONDITION with the pid while a server uses the folder.
absl::StatusOr<CheckReport> CheckDataDir(const CheckOptions& options);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_BACKUP_CHECK_H_
