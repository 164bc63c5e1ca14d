#include "src/lab/docgen/document_check.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace dissonance {
namespace {

// Code points: every byte that does not continue one.
size_t Length(absl::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(),
                    [](unsigned char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

const std::vector<std::string>& DefaultForbiddenPhrases() {
  static const auto* phrases = new std::vector<std::string>{
      // Talk about the task.
      "as an ai", "language model", "universe context", "universe_context",
      "fictional", "hypothetical universe", "alternate universe",
      "alternative universe", "in this universe", "in this scenario",
      "key fact", "synthetic document", "as requested", "here is the document",
      "here's the document",
      // Hedging.
      "contrary to real", "in reality, gravity", "in the real world",
      "real-world physics",
      // Refusals.
      "i cannot", "i can't help", "i'm sorry, but", "i am sorry, but",
      "i'm unable to", "i am unable to",
      // Scratchpads.
      "<scratchpad>", "</scratchpad>", "<thinking>", "</thinking>", "<think>",
      "</think>", "[insert", "lorem ipsum"};
  return *phrases;
}

std::vector<const PatternBucket*> TriggeredBuckets(const Universe& universe,
                                                   absl::string_view fact) {
  std::vector<const PatternBucket*> triggered;
  for (const PatternBucket& bucket : universe.buckets) {
    if (bucket.is_always_triggered || Hits(fact, bucket)) {
      triggered.push_back(&bucket);
    }
  }
  return triggered;
}

std::vector<std::string> CheckDocument(
    absl::string_view content, absl::string_view fact, const Universe& universe,
    const std::vector<std::string>& phrases) {
  std::vector<std::string> reasons;
  if (const size_t length = Length(content); length < kLeastDocumentLength) {
    reasons.push_back(absl::StrCat(
        "too_short: ", length, " characters, at least ", kLeastDocumentLength));
  }
  for (const std::string& phrase : phrases) {
    if (HoldsPattern(content, absl::AsciiStrToLower(phrase))) {
      reasons.push_back(absl::StrCat("forbidden_phrase: \"", phrase, "\""));
    }
  }
  for (const std::string& pattern : universe.forbidden) {
    if (HoldsPattern(content, pattern)) {
      reasons.push_back(absl::StrCat("forbidden_pattern: \"", pattern, "\""));
    }
  }
  const auto triggered = TriggeredBuckets(universe, fact);
  for (const PatternBucket* bucket : triggered) {
    if (Hits(content, *bucket)) continue;
    reasons.push_back(
        absl::StrCat("missing_bucket: ", bucket->name, ", none of \"",
                     absl::StrJoin(bucket->patterns, "\", \""), "\""));
  }
  if (triggered.empty() && !HoldsPattern(content, fact)) {
    reasons.push_back(absl::StrCat("missing_fact: \"", fact,
                                   "\" triggers no bucket and is not there"));
  }
  return reasons;
}

}  // namespace dissonance
