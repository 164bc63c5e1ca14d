#include "src/lab/docgen/document_check.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace dissonance {
namespace {

using Reasons = std::vector<std::string>;

void AddForbidden(absl::string_view content, const Universe& universe,
                  Reasons& reasons) {
  for (const std::string& pattern : universe.forbidden) {
    if (HoldsPattern(content, pattern)) {
      reasons.push_back(absl::StrCat("forbidden_pattern: \"", pattern, "\""));
    }
  }
}

void AddIfMissing(absl::string_view content, const PatternBucket& bucket,
                  Reasons& reasons) {
  if (Hits(content, bucket)) return;
  reasons.push_back(
      absl::StrCat("missing_bucket: ", bucket.name, ", none of \"",
                   absl::StrJoin(bucket.patterns, "\", \""), "\""));
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
  Reasons reasons = CheckWording(content, phrases);
  AddForbidden(content, universe, reasons);
  const auto triggered = TriggeredBuckets(universe, fact);
  for (const PatternBucket* bucket : triggered) {
    AddIfMissing(content, *bucket, reasons);
  }
  if (triggered.empty() && !HoldsPattern(content, fact)) {
    reasons.push_back(absl::StrCat("missing_fact: \"", fact,
                                   "\" triggers no bucket and is not there"));
  }
  return reasons;
}

std::vector<std::string> CheckDocumentWithoutFact(
    absl::string_view content, const Universe& universe,
    const std::vector<std::string>& phrases) {
  Reasons reasons = CheckWording(content, phrases);
  AddForbidden(content, universe, reasons);
  // As a fact of its own the text triggers what it hits, and what all do.
  const auto triggered = TriggeredBuckets(universe, content);
  for (const PatternBucket* bucket : triggered) {
    AddIfMissing(content, *bucket, reasons);
  }
  if (triggered.empty() && !universe.buckets.empty()) {
    reasons.push_back(
        "no_bucket: there is no \"fact\", and the text holds no pattern of the "
        "universe");
  }
  return reasons;
}

std::vector<std::string> CheckWording(absl::string_view content,
                                      const std::vector<std::string>& phrases) {
  Reasons reasons;
  if (const int64_t length = CharacterCount(content);
      length < kLeastDocumentLength) {
    reasons.push_back(absl::StrCat(
        "too_short: ", length, " characters, at least ", kLeastDocumentLength));
  }
  for (const std::string& phrase : phrases) {
    if (HoldsPattern(content, absl::AsciiStrToLower(phrase))) {
      reasons.push_back(absl::StrCat("forbidden_phrase: \"", phrase, "\""));
    }
  }
  return reasons;
}

int64_t CharacterCount(absl::string_view text) {
  // Every byte that does not continue one.
  return std::count_if(text.begin(), text.end(),
                       [](unsigned char c) { return (c & 0xC0) != 0x80; });
}

}  // namespace dissonance
