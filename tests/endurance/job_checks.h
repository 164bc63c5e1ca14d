// What must hold of a job that has ended, whatever happened meanwhile. Thread
// safe.
#ifndef DISSONANCE_TESTS_ENDURANCE_JOB_CHECKS_H_
#define DISSONANCE_TESTS_ENDURANCE_JOB_CHECKS_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dissonance/v1/jobs.pb.h"
#include "tests/endurance/client.h"

namespace dissonance {

// Events by number, as bytes.
using SeenEvents = std::map<int64_t, std::string>;

// What is wrong with the events of an ended job, one line each: numbers have
// gaps, states do not follow each other as jobs.proto says, an end that is not
// the last state, starts that are not attempts, progress that goes back.
std::vector<std::string> FindEventFaults(const v1::Job& job,
                                         absl::Span<const v1::JobEvent> events);

// Files of a job by name, by digest: manifest.json without what names the run.
absl::StatusOr<std::map<std::string, std::string>> OutputDigests(
    Client& client, const v1::Job& job);

// Watches until the job has ended or `most` events are in `seen`, through any
// number of lost connections, each time from the event after the last one seen;
// adds what it sees to `seen`. Returns the ended job, or an empty one.
// DATA_LOSS if an event comes twice or one is left out.
absl::StatusOr<v1::Job> WatchJob(
    Client& client, const std::string& name, SeenEvents& seen,
    size_t most = std::numeric_limits<size_t>::max());

// All events of an ended job, in one go.
absl::StatusOr<std::vector<v1::JobEvent>> Replay(Client& client,
                                                 const std::string& name);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_JOB_CHECKS_H_
