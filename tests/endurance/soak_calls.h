// The kinds of calls of a soak: each makes one or a few calls as a user would,
// and compares what comes back with the first answer to the same request.
//
//   for (const CallKind& kind : CallKinds()) {
//     ledger.Count(kind.name, kind.run({client, random, ledger, 0}));
//   }
#ifndef DISSONANCE_TESTS_ENDURANCE_SOAK_CALLS_H_
#define DISSONANCE_TESTS_ENDURANCE_SOAK_CALLS_H_

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "dissonance/v1/common.pb.h"
#include "tests/endurance/client.h"

namespace dissonance {

// What came of all calls. Thread safe.
class SoakLedger {
 public:
  struct Tally {
    int64_t ok = 0;
    int64_t failed = 0;
  };

  // Keeps the first reply to `request`; DATA_LOSS if a later one differs.
  absl::Status Compare(const std::string& request, const std::string& reply);
  void Count(const std::string& kind, const absl::Status& status);

  std::map<std::string, Tally> tallies() const;
  // "KIND: what" of failures, each once.
  std::vector<std::string> failures() const;
  int64_t compared_count() const;

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, std::string> first_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Tally> tallies_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int64_t> failures_ ABSL_GUARDED_BY(mutex_);
  int64_t compared_count_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What a call is made with. Used by one thread.
struct SoakCall {
  Client& client;
  std::mt19937_64& random;
  SoakLedger& ledger;
  int client_index = 0;
};

struct CallKind {
  const char* name;
  absl::Status (*run)(const SoakCall& call);
  int weight;  // how often, beside the others
};

// All of them. See compute_calls.cc and record_calls.cc.
std::vector<CallKind> CallKinds();
// Those with these names; all if there are none.
std::vector<CallKind> CallKindsNamed(absl::Span<const std::string> names);
std::vector<CallKind> ComputeCallKinds();
std::vector<CallKind> RecordCallKinds();
// Those that may be made again from their beginning when they end UNAVAILABLE.
std::vector<CallKind> RepeatableCallKinds();

// A number below `limit`.
int Draw(const SoakCall& call, int limit);
// The tiny model with no adapter, the shipped one or the one with dropout.
v1::Variant VariantOf(int number);
// Prompt `number`: 16 to 79 tokens.
v1::Input PromptOf(int number);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_SOAK_CALLS_H_
