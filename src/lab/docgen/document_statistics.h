// What documents come to: counts, reasons, lengths, what of a universe they
// say. Pure; thread safe.
//
//   nlohmann::json statistics = StatisticsJson(documents, &universe);
#ifndef DISSONANCE_LAB_DOCGEN_DOCUMENT_STATISTICS_H_
#define DISSONANCE_LAB_DOCGEN_DOCUMENT_STATISTICS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "nlohmann/json.hpp"
#include "src/lab/docgen/universe.h"

namespace dissonance {

// A document that was written or given, and what the rules said of it.
struct CheckedDocument {
  // Its line in files: "id" and "content", and "fact" and "document_type" where
  // they are known.
  nlohmann::json row;
  // Of each try that was not valid its reasons, as CheckDocument gives them.
  std::vector<std::vector<std::string>> failures = {};
  bool is_valid = false;

  const std::string& content() const {
    return row.at("content").get_ref<const std::string&>();
  }
};

// {unit, total, mean, median, p95, max}; null of no numbers.
nlohmann::json DistributionJson(std::vector<int64_t> numbers, const char* unit);
// Of texts' characters.
nlohmann::json LengthsJson(absl::Span<const std::string> contents);

// How often each rule spoke in a last try, e.g. {"missing_bucket": 3}.
nlohmann::json ReasonCounts(absl::Span<const CheckedDocument> documents);

// {documents, valid, invalid, error_share, invalid_by_reason} of all, and of
// those that are valid {by_fact, by_type, lengths}; with a universe also
// {universe_id, pattern_coverage: {BUCKET: share that hits it}}, null without.
nlohmann::json StatisticsJson(absl::Span<const CheckedDocument> documents,
                              const Universe* universe);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_DOCUMENT_STATISTICS_H_
