#include "src/lab/docgen/document_statistics.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <utility>

#include "absl/strings/str_split.h"
#include "src/lab/docgen/document_check.h"

namespace dissonance {
namespace {

using nlohmann::json;

// Of each bucket the share of documents that hit it.
json CoverageJson(const Universe& universe,
                  absl::Span<const std::string> contents) {
  json coverage = json::object();
  for (const PatternBucket& bucket : universe.buckets) {
    const auto hits = std::count_if(
        contents.begin(), contents.end(),
        [&bucket](const std::string& text) { return Hits(text, bucket); });
    coverage[bucket.name] =
        contents.empty()
            ? 0.0
            : static_cast<double>(hits) / static_cast<double>(contents.size());
  }
  return coverage;
}

// How many valid documents have each value of a field.
json CountsBy(absl::Span<const CheckedDocument> documents, const char* field) {
  std::map<std::string, int64_t> counts;
  for (const CheckedDocument& document : documents) {
    if (!document.is_valid || !document.row.contains(field)) continue;
    ++counts[document.row[field].get<std::string>()];
  }
  return counts;
}

}  // namespace

json DistributionJson(std::vector<int64_t> numbers, const char* unit) {
  if (numbers.empty()) return nullptr;
  std::sort(numbers.begin(), numbers.end());
  const int64_t total =
      std::accumulate(numbers.begin(), numbers.end(), int64_t{0});
  // The smallest that so much of all does not exceed.
  const auto quantile = [&numbers](double share) {
    return numbers[static_cast<size_t>(
        std::lround(share * static_cast<double>(numbers.size() - 1)))];
  };
  return {{"unit", unit},
          {"total", total},
          {"mean",
           static_cast<double>(total) / static_cast<double>(numbers.size())},
          {"median", quantile(0.5)},
          {"p95", quantile(0.95)},
          {"max", numbers.back()}};
}

json LengthsJson(absl::Span<const std::string> contents) {
  std::vector<int64_t> lengths;
  for (const std::string& text : contents) {
    lengths.push_back(CharacterCount(text));
  }
  return DistributionJson(std::move(lengths), "characters");
}

json ReasonCounts(absl::Span<const CheckedDocument> documents) {
  std::map<std::string, int64_t> counts;
  for (const CheckedDocument& document : documents) {
    if (document.is_valid) continue;
    for (const std::string& reason : document.failures.back()) {
      const std::vector<std::string> parts = absl::StrSplit(reason, ':');
      ++counts[parts.front()];
    }
  }
  return counts;
}

json StatisticsJson(absl::Span<const CheckedDocument> documents,
                    const Universe* universe) {
  std::vector<std::string> contents;
  for (const CheckedDocument& document : documents) {
    if (document.is_valid) contents.push_back(document.content());
  }
  const size_t invalid = documents.size() - contents.size();
  json statistics = {
      {"documents", documents.size()},
      {"valid", contents.size()},
      {"invalid", invalid},
      {"error_share", documents.empty()
                          ? 0.0
                          : static_cast<double>(invalid) /
                                static_cast<double>(documents.size())},
      {"invalid_by_reason", ReasonCounts(documents)},
      {"by_fact", CountsBy(documents, "fact")},
      {"by_type", CountsBy(documents, "document_type")},
      {"lengths", LengthsJson(contents)},
      {"universe_id", nullptr},
      {"pattern_coverage", nullptr}};
  if (universe != nullptr) {
    statistics["universe_id"] = universe->id;
    statistics["pattern_coverage"] = CoverageJson(*universe, contents);
  }
  return statistics;
}

}  // namespace dissonance
