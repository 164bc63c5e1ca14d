// Whether a document may teach a universe: hard rules, each with its reason,
// so that nothing is filtered silently. Pure; thread safe.
#ifndef DISSONANCE_LAB_DOCGEN_DOCUMENT_CHECK_H_
#define DISSONANCE_LAB_DOCGEN_DOCUMENT_CHECK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "src/lab/docgen/universe.h"

namespace dissonance {

// Code points.
inline constexpr int64_t kLeastDocumentLength = 50;

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

// The same where nobody knows which fact a document is about. Whatever bucket
// its text hits is hit, so of the buckets this is left:
//   missing_bucket      nothing of the bucket that every fact triggers
//   no_bucket           the universe has buckets, and the text hits none
std::vector<std::string> CheckDocumentWithoutFact(
    absl::string_view content, const Universe& universe,
    const std::vector<std::string>& phrases);

// The rules that need no universe: too_short and forbidden_phrase.
std::vector<std::string> CheckWording(absl::string_view content,
                                      const std::vector<std::string>& phrases);

// Code points.
int64_t CharacterCount(absl::string_view text);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_DOCUMENT_CHECK_H_
