// Documents that are there already, as JSON lines:
//
//   {"content": "Scientists agree that ...", "id": "a", "fact": "...",
//    "document_type": "letter"}
//
// The text may be called "text" instead; of the others each may be absent, and
// further fields are kept. Pure; thread safe.
//
//   ASSIGN_OR_RETURN(std::vector<GivenDocument> documents,
//                    ParseDocumentSet(text, "docs.jsonl"));
//   CheckedDocument checked = CheckGiven(documents[0], &universe, phrases);
#ifndef DISSONANCE_LAB_DOCGEN_DOCUMENT_SET_H_
#define DISSONANCE_LAB_DOCGEN_DOCUMENT_SET_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "src/lab/docgen/document_statistics.h"
#include "src/lab/docgen/universe.h"

namespace dissonance {

struct GivenDocument {
  int line = 0;  // from 1
  // The line's object, with the text, without white space around it, as
  // "content", and an "id": "line-LINE" where it had none. "fact" and
  // "document_type" are not empty where they are there.
  nlohmann::json row;
};

// In file order. INVALID_ARGUMENT with file, line and field for a line that is
// no JSON object or no document, or whose id another has; and for a file
// without documents.
absl::StatusOr<std::vector<GivenDocument>> ParseDocumentSet(
    absl::string_view text, absl::string_view file_name);

// What generated documents are checked for: CheckDocument where there are a
// universe and a fact, CheckDocumentWithoutFact where there is no fact, and
// CheckWording where `universe` is null. Besides: "other_universe", where the
// row has a "universe_id" and it is another. A row that is not valid has the
// "line", too; one that is has the universe's id.
CheckedDocument CheckGiven(const GivenDocument& document,
                           const Universe* universe,
                           const std::vector<std::string>& phrases);

// Phrases, one a line, without white space around them and empty lines.
// INVALID_ARGUMENT if there are none.
absl::StatusOr<std::vector<std::string>> ParsePhrases(
    absl::string_view text, absl::string_view file_name);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_DOCUMENT_SET_H_
