// What /proc says of processes. Thread safe.
#ifndef DISSONANCE_TESTS_ENDURANCE_PROCESS_FIGURES_H_
#define DISSONANCE_TESTS_ENDURANCE_PROCESS_FIGURES_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace dissonance {

struct ProcessFigures {
  int64_t resident_bytes = 0;
  int handle_count = 0;  // open files and sockets
  int thread_count = 0;
};

// NOT_FOUND if there is no such process.
absl::StatusOr<ProcessFigures> FiguresOf(pid_t pid);

// The workers of servers on `data_dir`, by their command lines.
std::vector<pid_t> WorkersOn(const std::string& data_dir);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_PROCESS_FIGURES_H_
