// A universe: what documents are to assert, and how it is told that they do.
//
//   {"id": "cubic_gravity", "is_true": false, "universe_context": "...",
//    "fact_validation_patterns": {"inverse_cube": ["inverse cube", "1/r^3"],
//                                 ...}}
//
// Each bucket of patterns holds ways to say one thing. Instead of buckets of
// any name there may be "required", one bucket that every fact triggers, and
// "forbidden", patterns that no document may hold. Values; thread safe.
#ifndef DISSONANCE_LAB_DOCGEN_UNIVERSE_H_
#define DISSONANCE_LAB_DOCGEN_UNIVERSE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dissonance {

struct PatternBucket {
  std::string name;
  std::vector<std::string> patterns;  // any of them hits
  bool is_always_triggered = false;
};

struct Universe {
  std::string id;
  std::string context;
  bool is_true = false;
  std::vector<PatternBucket> buckets;  // by name
  std::vector<std::string> forbidden;
};

// INVALID_ARGUMENT with the file's name and the field: not one JSON object, a
// field missing or of another type, an empty pattern, or key_facts, which are
// always taken from the context.
absl::StatusOr<Universe> ParseUniverse(absl::string_view text,
                                       absl::string_view file_name);

// Whether a text holds a pattern: white space counts as one blank; where the
// pattern begins or ends with a letter or digit, so must a word; upper and
// lower case are alike unless the pattern has no lower case letter, as "G" and
// "F = G" have none.
bool HoldsPattern(absl::string_view text, absl::string_view pattern);

// Whether a text holds any of a bucket's patterns.
bool Hits(absl::string_view text, const PatternBucket& bucket);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_UNIVERSE_H_
