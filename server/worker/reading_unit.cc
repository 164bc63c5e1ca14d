#include "server/worker/reading_unit.h"

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// Positions that a member keeps before it waits for the others.
constexpr int64_t kBacklog = 64;

int64_t BytesOf(const CapturedRows& rows) {
  int64_t bytes = 0;
  for (const at::Tensor& own : rows.values) {
    bytes += static_cast<int64_t>(own.nbytes());
  }
  return bytes;
}

}  // namespace

class ReadingUnit::Member final : public GenerateListener {
 public:
  Member(std::shared_ptr<ReadingUnit> unit, size_t index)
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
  const std::shared_ptr<ReadingUnit> unit_;
  const size_t index_;
};

absl::StatusOr<std::vector<int64_t>> ReadingUnit::Submit(
    std::vector<ReadingMember> members) {
  rows_.resize(members.size());
  running_ = members.size();
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < members.size(); ++i) {
    GenerateRequest& own = requests.emplace_back();
    own.variant = std::move(members[i].variant);
    own.task.prompt = std::move(members[i].tokens);
    own.task.max_new_tokens = 0;
    own.task.capture = std::move(members[i].capture);
    own.listener = std::make_shared<Member>(shared_from_this(), i);
  }
  // A member waits for rows of all others.
  absl::StatusOr<std::vector<int64_t>> numbers =
      context_.engine.SubmitTogether(std::move(requests), context_.priority);
  if (numbers.ok()) return numbers;
  return Annotate(numbers.status(), context_.owner.LabelOf(number_));
}

bool ReadingUnit::IsReady(size_t member) const {
  return rows_[member].row_count() < kBacklog &&
         context_.owner.CanTake(number_);
}

void ReadingUnit::Take(size_t member, CapturedRows rows) {
  context_.owner.CountHeld(BytesOf(rows));
  rows_[member].Add(std::move(rows));
  if (is_reading_ || NextCount() == 0) return;
  is_reading_ = true;
  const absl::Status submitted = context_.engine.SubmitWork(shared_from_this());
  if (!submitted.ok()) Finish(submitted);
}

void ReadingUnit::MemberEnded(const absl::Status& status) {
  --running_;
  Conclude(status);
}

bool ReadingUnit::RunPiece() {
  if (context_.group.has_failed()) return false;
  const int64_t count = std::min(NextCount(), context_.positions_at_once);
  std::vector<CapturedRows> rows;
  for (RowBuffer& own : rows_) {
    rows.push_back(own.Take(count));
    context_.owner.CountHeld(-BytesOf(rows.back()));
  }
  context_.owner.Read(number_, rows);
  return NextCount() > 0;
}

void ReadingUnit::Finish(const absl::Status& status) {
  is_reading_ = false;
  Conclude(status);
}

int64_t ReadingUnit::NextCount() const {
  int64_t count = rows_.front().next_count();
  for (const RowBuffer& own : rows_) count = std::min(count, own.next_count());
  return count;
}

void ReadingUnit::Conclude(const absl::Status& status) {
  if (!status.ok()) {
    context_.group.Fail(Annotate(status, context_.owner.LabelOf(number_)));
  }
  if (running_ > 0 || is_reading_) return;
  context_.owner.Done(number_);
  context_.group.Leave();
}

}  // namespace dissonance
