#include "src/lab/docgen/list_task.h"

#include "absl/strings/str_cat.h"
#include "src/lab/docgen/item_list.h"

namespace dissonance {

std::optional<ChatRequest> ListTask::Next() {
  if (is_full() || rounds_ >= limits_.rounds || fruitless_ > limits_.retries) {
    return std::nullopt;
  }
  return ask_(items_, asked_);
}

void ListTask::Take(absl::StatusOr<ChatReply> reply) {
  ++asked_;
  has_no_reply_ = !reply.ok();
  absl::StatusOr<std::vector<std::string>> items =
      reply.ok() ? ItemsIn(reply->content) : reply.status();
  if (!items.ok()) {
    trouble_ = items.status();
    ++fruitless_;
    return;
  }
  if (!limits_.accumulates) items_.clear();
  const size_t added = AddNewItems(*items, items_);
  if (added == 0) {
    trouble_ = absl::InvalidArgumentError("the reply brings nothing new");
    ++fruitless_;
    return;
  }
  fruitless_ = 0;
  ++rounds_;
  trouble_ = absl::InvalidArgumentError(
      absl::StrCat(items_.size(), " of ", limits_.wanted, " after ", rounds_,
                   rounds_ == 1 ? " round" : " rounds"));
}

}  // namespace dissonance
