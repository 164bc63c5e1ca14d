// A stream of readings taken from kept rows: each unit runs one or several
// sequences over the same tokens, and as soon as all of them have kept a
// position's rows, those are read between the engine's steps and sent. Base of
// LogitLens and CompareVariants. Deletes itself.
#ifndef DISSONANCE_SERVER_WORKER_READING_CALL_H_
#define DISSONANCE_SERVER_WORKER_READING_CALL_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/worker/ordered_stream.h"
#include "server/worker/row_buffer.h"
#include "server/worker/task_group.h"
#include "src/base/status_macros.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

// Rows that are unembedded in one piece between two steps, about.
inline constexpr int64_t kReadingRows = 128;
// Positions that a sequence keeps before it waits for the others.
inline constexpr int64_t kReadingBacklog = 64;

// One sequence of a unit: its prompt is computed, nothing is generated.
struct ReadingMember {
  EngineVariant variant;
  std::vector<int32_t> tokens;
  std::shared_ptr<const CaptureSpec> capture;
};

template <typename Response>
class ReadingCall : public OrderedStream<Response> {
 public:
  // Queues all units. Call once.
  void Start() {
    for (int64_t u = 0; u < unit_count_ && !group_.has_failed(); ++u) {
      auto unit = std::make_shared<Unit>(*this, u);
      unit->Submit(MembersOf(u));
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
        engine_(engine),
        priority_(priority),
        unit_count_(unit_count),
        positions_at_once_(std::max<int64_t>(positions_at_once, 1)),
        group_(engine,
               [this](const absl::Status& status) { Conclude(status); }) {}
  ~ReadingCall() override = default;

  virtual std::vector<ReadingMember> MembersOf(int64_t unit) const = 0;
  // "inputs[2] (q17)".
  virtual std::string LabelOf(int64_t unit) const = 0;
  // Sends what it reads from some positions' rows, of each member. On the
  // engine's thread; may throw c10::Error.
  virtual void Read(int64_t unit, const std::vector<CapturedRows>& rows) = 0;
  // The last message.
  virtual Response Summary() const = 0;

  const EngineOptions& engine_options() const { return engine_.options(); }

 private:
  class Unit;

  // A unit's sequence.
  class Member final : public GenerateListener {
   public:
    Member(std::shared_ptr<Unit> unit, size_t index)
        : unit_(std::move(unit)), index_(index) {}
    bool ready() const override { return unit_->IsReady(index_); }
    bool OnToken(GeneratedToken /*token*/) override { return false; }
    void OnCaptured(CapturedRows rows) override {
      unit_->Take(index_, std::move(rows));
    }
    void OnEnd(absl::StatusOr<FinishReason> reason) override {
      unit_->MemberEnded(reason.status());
    }

   private:
    const std::shared_ptr<Unit> unit_;
    const size_t index_;
  };

  // All on the engine's thread, but for Submit.
  class Unit final : public EngineWork,
                     public std::enable_shared_from_this<Unit> {
   public:
    // Borrows the call, which lives until its members have left.
    Unit(ReadingCall& call, int64_t number) : call_(call), number_(number) {}

    void Submit(std::vector<ReadingMember> members) {
      rows_.resize(members.size());
      running_ = members.size();
      std::vector<GenerateRequest> requests;
      for (size_t i = 0; i < members.size(); ++i) {
        call_.group_.Enter();
        GenerateRequest& own = requests.emplace_back();
        own.variant = std::move(members[i].variant);
        own.task.prompt = std::move(members[i].tokens);
        own.task.max_new_tokens = 0;
        own.task.capture = std::move(members[i].capture);
        own.listener = std::make_shared<Member>(this->shared_from_this(), i);
      }
      // A member waits for rows of all others.
      const absl::StatusOr<std::vector<int64_t>> numbers =
          call_.engine_.SubmitTogether(std::move(requests), call_.priority_);
      for (size_t i = 0; i < members.size(); ++i) {
        call_.group_.Entered(
            numbers.ok() ? absl::StatusOr<int64_t>((*numbers)[i])
                         : Annotate(numbers.status(), call_.LabelOf(number_)));
      }
    }

    bool IsReady(size_t member) const {
      return rows_[member].row_count() < kReadingBacklog &&
             call_.HasRoom(number_);
    }

    void Take(size_t member, CapturedRows rows) {
      rows_[member].Add(std::move(rows));
      if (is_reading_ || NextCount() == 0) return;
      is_reading_ = true;
      call_.group_.Enter();
      const absl::Status submitted =
          call_.engine_.SubmitWork(this->shared_from_this());
      if (!submitted.ok()) Finish(submitted);
    }

    void MemberEnded(const absl::Status& status) {
      --running_;
      Leave(status);
    }

    bool RunPiece() override {
      if (call_.group_.has_failed()) return false;
      const int64_t count = std::min(NextCount(), call_.positions_at_once_);
      std::vector<CapturedRows> rows;
      for (RowBuffer& own : rows_) rows.push_back(own.Take(count));
      call_.Read(number_, rows);
      return NextCount() > 0;
    }
    void Finish(const absl::Status& status) override {
      is_reading_ = false;
      Leave(status);
    }

   private:
    // Positions that can be read at once of every member.
    int64_t NextCount() const {
      int64_t count = rows_.front().next_count();
      for (const RowBuffer& own : rows_) {
        count = std::min(count, own.next_count());
      }
      return count;
    }

    // The group's end may delete the call: nothing of it is used after.
    void Leave(const absl::Status& status) {
      if (!status.ok()) {
        call_.group_.Fail(Annotate(status, call_.LabelOf(number_)));
      }
      if (running_ == 0 && !is_reading_) call_.Complete(number_);
      call_.group_.Leave();
    }

    ReadingCall& call_;
    const int64_t number_;
    std::vector<RowBuffer> rows_;  // of each member
    size_t running_ = 0;
    bool is_reading_ = false;
  };

  void Conclude(const absl::Status& status) {
    if (status.ok()) this->Send(Summary());
    this->End(status);
  }

  Engine& engine_;
  const Priority priority_;
  const int64_t unit_count_;
  const int64_t positions_at_once_;
  TaskGroup group_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_READING_CALL_H_
