// What dissonanced does to a data directory while no server runs on it:
// subcommands that end by themselves. Thread safe.
//
//   dissonanced check --data-dir DIR [--quick] [--repair]
//   dissonanced restore --from BACKUP --data-dir NEW
//   dissonanced owner-token --data-dir DIR
#ifndef DISSONANCE_SERVER_CONTROL_MAINTENANCE_H_
#define DISSONANCE_SERVER_CONTROL_MAINTENANCE_H_

#include <string>

#include "absl/status/statusor.h"

namespace dissonance {

struct Maintenance {
  enum class Kind { kCheck, kRestore, kOwnerToken };

  Kind kind = Kind::kCheck;
  std::string data_dir;  // absolute
  std::string from;      // kRestore: the backup, absolute
  bool quick = false;    // kCheck
  bool repair = false;   // kCheck
};

// Does it and prints a short report on standard output. The exit code: 0, or 1
// where a check has findings.
absl::StatusOr<int> RunMaintenance(const Maintenance& maintenance);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_MAINTENANCE_H_
