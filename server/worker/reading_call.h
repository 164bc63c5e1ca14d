// A stream of readings taken from kept rows, unit by unit. Base of LogitLens
// and CompareVariants. Deletes itself.
#ifndef DISSONANCE_SERVER_WORKER_READING_CALL_H_
#define DISSONANCE_SERVER_WORKER_READING_CALL_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "server/worker/ordered_stream.h"
#include "server/worker/reading_unit.h"
#include "server/worker/task_group.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

// Rows that are unembedded in one piece between two steps, about.
inline constexpr int64_t kReadingRows = 128;

template <typename Response>
class ReadingCall : public OrderedStream<Response>, private ReadingOwner {
 public:
  // Queues all units. Call once.
  void Start() {
    for (int64_t u = 0; u < unit_count_ && !group_.has_failed(); ++u) {
      group_.Add([this, u] {
        return std::make_shared<ReadingUnit>(context_, u)->Submit(MembersOf(u));
      });
    }
    group_.Leave();
  }

  void OnCancel() override {
    group_.Fail(
        absl::CancelledError("the client went away or its deadline passed"));
  }

 protected:
  // Reads about `positions_at_once` positions in a piece. Borrows the engine.
  ReadingCall(Engine& engine, Priority priority, int64_t unit_count,
              int64_t positions_at_once)
      : OrderedStream<Response>(engine),
        unit_count_(unit_count),
        group_(engine,
               [this](const absl::Status& status) { Conclude(status); }),
        context_{.engine = engine,
                 .priority = priority,
                 .positions_at_once = std::max<int64_t>(positions_at_once, 1),
                 .group = group_,
                 .owner = *this} {}
  ~ReadingCall() override = default;

  virtual std::vector<ReadingMember> MembersOf(int64_t unit) const = 0;
  // The last message.
  virtual Response Summary() const = 0;

  const EngineOptions& engine_options() const {
    return context_.engine.options();
  }

 private:
  bool CanTake(int64_t unit) const override { return this->HasRoom(unit); }
  void CountHeld(int64_t bytes) override {
    OrderedStream<Response>::CountHeld(bytes);
  }
  void Done(int64_t unit) override { this->Complete(unit); }

  void Conclude(const absl::Status& status) {
    if (status.ok()) this->Send(Summary());
    this->End(status);
  }

  const int64_t unit_count_;
  TaskGroup group_;
  const ReadingContext context_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_READING_CALL_H_
