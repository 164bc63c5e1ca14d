// Tasks that ask for lists: of facts, of kinds of documents, of ideas. One
// thread at a time.
#ifndef DISSONANCE_LAB_DOCGEN_LIST_TASK_H_
#define DISSONANCE_LAB_DOCGEN_LIST_TASK_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "src/lab/llm/call_runner.h"

namespace dissonance {

// Asks until a list is long enough: in `rounds` rounds that bring something
// new, with at most `retries` more tries in a row that do not.
class ListTask final : public ChatTask {
 public:
  // The question, given what is there; `attempt` is 0 for the first, and one
  // more each time.
  using Ask = std::function<ChatRequest(const std::vector<std::string>& known,
                                        int64_t attempt)>;
  struct Limits {
    size_t wanted = 0;  // at least; more are kept
    int64_t rounds = 1;
    int64_t retries = 2;
    // Whether a reply adds to those before; else the last alone counts.
    bool accumulates = true;
  };

  ListTask(Ask ask, Limits limits) : ask_(std::move(ask)), limits_(limits) {}

  std::optional<ChatRequest> Next() override;
  void Take(absl::StatusOr<ChatReply> reply) override;

  // What there is at the end, in the order of its coming.
  const std::vector<std::string>& items() const { return items_; }
  std::vector<std::string> TakeItems() { return std::move(items_); }
  bool is_full() const { return items_.size() >= limits_.wanted; }
  // Why it is not full: of the last try.
  const absl::Status& trouble() const { return trouble_; }
  // Whether that is that there was no reply.
  bool has_no_reply() const { return has_no_reply_; }

 private:
  const Ask ask_;
  const Limits limits_;
  std::vector<std::string> items_;
  int64_t asked_ = 0;
  int64_t rounds_ = 0;
  int64_t fruitless_ = 0;  // in a row
  absl::Status trouble_;
  bool has_no_reply_ = false;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_LIST_TASK_H_
