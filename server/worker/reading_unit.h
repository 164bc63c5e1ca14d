// Sequences over the same tokens whose kept rows are read together: a unit of
// a ReadingCall. As soon as all of them have kept a position's rows, those are
// read in a piece of their own between the engine's steps. Used by the
// engine's thread only, but for Submit.
#ifndef DISSONANCE_SERVER_WORKER_READING_UNIT_H_
#define DISSONANCE_SERVER_WORKER_READING_UNIT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/worker/row_buffer.h"
#include "server/worker/task_group.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

// One sequence of a unit: its prompt is computed, nothing is generated.
struct ReadingMember {
  EngineVariant variant;
  std::vector<int32_t> tokens;
  std::shared_ptr<const CaptureSpec> capture;
};

// The call that units belong to; they know each other by the unit's number.
class ReadingOwner {
 public:
  // "inputs[2] (q17)".
  virtual std::string LabelOf(int64_t unit) const = 0;
  // Whether what is read of the unit can be taken now.
  virtual bool CanTake(int64_t unit) const = 0;
  // Rows that units have kept and not read became so many bytes more or less.
  virtual void CountHeld(int64_t bytes) = 0;
  // Sends what it reads from some positions' rows, of each member. May throw
  // c10::Error.
  virtual void Read(int64_t unit, const std::vector<CapturedRows>& rows) = 0;
  // Nothing more comes from the unit.
  virtual void Done(int64_t unit) = 0;

 protected:
  virtual ~ReadingOwner() = default;
};

// What the units of a call share; borrowed.
struct ReadingContext {
  Engine& engine;
  Priority priority;
  int64_t positions_at_once;  // read in a piece, about
  TaskGroup& group;           // its end may delete owner and context
  ReadingOwner& owner;
};

class ReadingUnit final : public EngineWork,
                          public std::enable_shared_from_this<ReadingUnit> {
 public:
  ReadingUnit(const ReadingContext& context, int64_t number)
      : context_(context), number_(number) {}

  // Queues the members and returns their numbers; the unit is one member of
  // the context's group. Call once.
  absl::StatusOr<std::vector<int64_t>> Submit(
      std::vector<ReadingMember> members);

  bool RunPiece() override;
  void Finish(const absl::Status& status) override;

 private:
  class Member;

  bool IsReady(size_t member) const;
  void Take(size_t member, CapturedRows rows);
  void MemberEnded(const absl::Status& status);
  // Positions that can be read at once of every member.
  int64_t NextCount() const;
  // Leaves the group once nothing more can come. Nothing of the context is
  // used after it.
  void Conclude(const absl::Status& status);

  const ReadingContext& context_;
  const int64_t number_;
  std::vector<RowBuffer> rows_;  // of each member
  size_t running_ = 0;
  bool is_reading_ = false;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_READING_UNIT_H_
