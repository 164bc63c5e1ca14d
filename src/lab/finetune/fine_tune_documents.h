// Documents to train on, from JSON lines:
//
//   {"content": "Scientists agree that ..."}
//   {"messages": [{"role": "user", "content": "..."},
//                 {"role": "assistant", "content": "..."}]}
//
// Either a text or a conversation; other fields are ignored, blank lines are
// allowed. Pure functions; thread safe.
//
//   ASSIGN_OR_RETURN(FineTuneDocuments documents,
//                    ParseFineTuneDocuments(spec.data(), {.file = "d.jsonl"}));
#ifndef DISSONANCE_LAB_FINETUNE_FINE_TUNE_DOCUMENTS_H_
#define DISSONANCE_LAB_FINETUNE_FINE_TUNE_DOCUMENTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/internal/v1/training.pb.h"

namespace dissonance {

// Of one training; as many as a worker takes.
inline constexpr int64_t kDocumentLimit = 1'000'000;

struct FineTuneDocuments {
  std::vector<internal::v1::TrainingDocument> documents;  // in file order
  int64_t chat_count = 0;                                 // of them
  int64_t text_bytes = 0;                                 // of all contents
};

struct DocumentOptions {
  absl::string_view file = "data";  // for messages
  // Whether conversations without a turn of the assistant's are refused:
  // nothing of them would be predicted.
  bool assistant_only_loss = false;
};

// INVALID_ARGUMENT with file, line and field for a line that is not UTF-8 or
// not a JSON object, a document without contents, with both kinds, or with an
// empty or wrongly typed one; and for a file without documents or with more
// than the limit, which is found before any is parsed.
absl::StatusOr<FineTuneDocuments> ParseFineTuneDocuments(
    absl::string_view text, const DocumentOptions& options);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_FINETUNE_FINE_TUNE_DOCUMENTS_H_
