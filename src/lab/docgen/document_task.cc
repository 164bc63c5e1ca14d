#include "src/lab/docgen/document_task.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "src/lab/docgen/document_check.h"

namespace dissonance {

std::string DocumentPlan::id() const {
  return absl::StrFormat("f%02d-t%02d-i%02d-r%d", fact_index, type_index,
                         idea_index, repeat);
}

std::optional<ChatRequest> DocumentTask::Next() {
  if (is_done()) return std::nullopt;
  return ask_(plan_, tries_);
}

void DocumentTask::Take(absl::StatusOr<ChatReply> reply) {
  ++tries_;
  Look(std::move(reply));
  if (is_done()) {
    ++(is_valid_ ? rules_.tally.valid_count : rules_.tally.invalid_count);
  }
}

CheckedDocument DocumentTask::Result() const {
  return {.row = {{"id", plan_.id()},
                  {"fact", plan_.fact},
                  {"document_type", plan_.type},
                  {"idea", plan_.idea},
                  {"content", content_},
                  {"model", model_},
                  {"tries", tries_},
                  {"universe_id", rules_.universe.id}},
          .failures = failures_,
          .is_valid = is_valid_};
}

void DocumentTask::Look(absl::StatusOr<ChatReply> reply) {
  if (!reply.ok()) {
    failures_.push_back({absl::StrCat("no_reply: ", reply.status().message())});
    return;
  }
  content_ = std::string(absl::StripAsciiWhitespace(reply->content));
  model_ = reply->model;
  std::vector<std::string> reasons =
      CheckDocument(content_, plan_.fact, rules_.universe, rules_.phrases);
  if (reply->finish_reason == "length") {
    reasons.push_back("cut_off: the reply reached its most tokens");
  }
  is_valid_ = reasons.empty();
  if (!is_valid_) failures_.push_back(std::move(reasons));
}

}  // namespace dissonance
