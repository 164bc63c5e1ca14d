#include "src/lab/docgen/document_files.h"

#include <utility>
#include <vector>

#include "src/lab/docgen/near_duplicates.h"
#include "src/lab/files/row_files.h"

namespace dissonance {
namespace {

using nlohmann::json;

// What is written of near-duplicates, by the documents' ids.
std::vector<json> PairRows(absl::Span<const json> valid,
                           absl::Span<const std::string> contents,
                           double similarity) {
  std::vector<json> rows;
  for (const NearDuplicate& pair : FindNearDuplicates(contents, similarity)) {
    rows.push_back({{"first", valid[pair.first]["id"]},
                    {"second", valid[pair.second]["id"]},
                    {"similarity", pair.similarity}});
  }
  return rows;
}

}  // namespace

DocumentFiles FilesOf(absl::Span<const CheckedDocument> documents,
                      const Universe* universe, double similarity) {
  std::vector<json> valid;
  std::vector<std::string> contents;
  for (const CheckedDocument& document : documents) {
    if (!document.is_valid) continue;
    valid.push_back(document.row);
    contents.push_back(document.content());
  }
  const std::vector<json> pairs = PairRows(valid, contents, similarity);
  json statistics = StatisticsJson(documents, universe);
  statistics["near_duplicates"] = pairs.size();
  return {.docs = LinesFile(valid),
          .failures = FailuresFile(documents),
          .near_duplicates = CsvFile({"first", "second", "similarity"}, pairs),
          .statistics = std::move(statistics)};
}

std::string FailuresFile(absl::Span<const CheckedDocument> documents) {
  std::vector<json> failures;
  for (const CheckedDocument& document : documents) {
    if (document.is_valid) continue;
    failures.push_back(document.row);
    failures.back()["reasons"] = document.failures;
  }
  return LinesFile(failures);
}

}  // namespace dissonance
