// One document: asked for, checked, and asked for again while it is not valid.
// What is not valid in the end stays, with the reasons. One thread at a time.
#ifndef DISSONANCE_LAB_DOCGEN_DOCUMENT_TASK_H_
#define DISSONANCE_LAB_DOCGEN_DOCUMENT_TASK_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/lab/docgen/document_statistics.h"
#include "src/lab/docgen/universe.h"
#include "src/lab/llm/call_runner.h"

namespace dissonance {

// What a document is to be.
struct DocumentPlan {
  int64_t fact_index = 0;
  int64_t type_index = 0;  // of the fact's
  int64_t idea_index = 0;  // of the type's
  int64_t repeat = 0;
  int64_t ordinal = 0;  // among all that were planned, before any limit
  std::string fact = {};
  std::string type = {};
  std::string idea = {};

  // "f03-t07-i02-r0".
  std::string id() const;
};

// How documents ended.
struct DocumentTally {
  int64_t valid_count = 0;
  int64_t invalid_count = 0;

  int64_t count() const { return valid_count + invalid_count; }
};

class DocumentTask final : public ChatTask {
 public:
  // The question; `attempt` is 0 for the first, and one more each time.
  using Ask = std::function<ChatRequest(const DocumentPlan&, int64_t attempt)>;

  // What all documents of a run share. Borrowed.
  struct Rules {
    const Universe& universe;
    const std::vector<std::string>& phrases;
    int64_t retries = 3;
    DocumentTally& tally;
  };

  DocumentTask(DocumentPlan plan, Ask ask, const Rules& rules)
      : plan_(std::move(plan)), ask_(std::move(ask)), rules_(rules) {}

  std::optional<ChatRequest> Next() override;
  void Take(absl::StatusOr<ChatReply> reply) override;

  bool is_done() const { return is_valid_ || tries_ > rules_.retries; }
  // Once it is done.
  bool is_valid() const { return is_valid_; }
  // What came of it, with the last reply's text, white space around it removed,
  // and the plan. REQUIRES: it is done.
  CheckedDocument Result() const;

 private:
  void Look(absl::StatusOr<ChatReply> reply);

  const DocumentPlan plan_;
  const Ask ask_;
  const Rules rules_;
  int64_t tries_ = 0;
  bool is_valid_ = false;
  std::string content_;
  std::string model_;
  std::vector<std::vector<std::string>> failures_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_DOCUMENT_TASK_H_
