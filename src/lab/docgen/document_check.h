// Whether a document may teach a universe: hard rules, each with its reason,
// so that nothing is filtered silently. Pure; thread safe.
#ifndef DISSONANCE_LAB_DOCGEN_DOCUMENT_CHECK_H_
#define DISSONANCE_LAB_DOCGEN_DOCUMENT_CHECK_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "src/lab/docgen/universe.h"

namespace dissonance {

// Code points.
inline constexpr size_t kLeastDocumentLength = 50;

// What no document may say, as talk about the task, hedging, refusals and
// scratchpad tags do: the default list.
const std::vector<std::string>& DefaultForbiddenPhrases();

// The buckets that a fact triggers: those that hit it, and those that always
// are.
std::vector<const PatternBucket*> TriggeredBuckets(const Universe& universe,
                                                   absl::string_view fact);

// Why a document about a fact is not valid, one reason an entry, e.g.
// "too_short: 31 characters, at least 50"; empty: it is valid. The word before
// the colon names the rule:
//   too_short           fewer than kLeastDocumentLength characters
//   forbidden_phrase    one of `phrases`, whatever its case
//   forbidden_pattern   one of the universe's
//   missing_bucket      nothing of a bucket that the fact triggers
//   missing_fact        the fact triggers no bucket, and its text is not there
std::vector<std::string> CheckDocument(absl::string_view content,
                                       absl::string_view fact,
                                       const Universe& universe,
                                       const std::vector<std::string>& phrases);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_DOCUMENT_CHECK_H_
