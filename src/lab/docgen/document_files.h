// The files of documents that were written or given, alike for both. Pure;
// thread safe.
//
// docs.jsonl           {"content", "id", ...}, valid documents in their order
// failures.jsonl       the others, with the "reasons" of each try
// near_duplicates.csv  pairs of valid documents that are nearly alike
// statistics.json      counts, lengths, pattern coverage
//
//   DocumentFiles files = FilesOf(documents, &universe, 0.8);
#ifndef DISSONANCE_LAB_DOCGEN_DOCUMENT_FILES_H_
#define DISSONANCE_LAB_DOCGEN_DOCUMENT_FILES_H_

#include <string>

#include "absl/types/span.h"
#include "nlohmann/json.hpp"
#include "src/lab/docgen/document_statistics.h"
#include "src/lab/docgen/universe.h"

namespace dissonance {

struct DocumentFiles {
  std::string docs;
  std::string failures;
  std::string near_duplicates;
  // StatisticsJson and {near_duplicates: how many pairs}.
  nlohmann::json statistics;
};

// `universe`: null if none is known. `similarity`: from where on two documents
// are nearly alike.
DocumentFiles FilesOf(absl::Span<const CheckedDocument> documents,
                      const Universe* universe, double similarity);

// Of those the one with what is not valid.
std::string FailuresFile(absl::Span<const CheckedDocument> documents);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_DOCUMENT_FILES_H_
