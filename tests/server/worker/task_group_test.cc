// A call's part of the queue, its first error and its end.
#include "server/worker/task_group.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace dissonance {
namespace {

class TaskGroupTest : public testing::Test {
 protected:
  void Add(int64_t number) {
    group_.Add([this, number]() -> absl::StatusOr<std::vector<int64_t>> {
      if (number == refused_) return refusal_;
      submitted_.push_back(number);
      return std::vector<int64_t>{number};
    });
  }

  Engine engine_{EngineOptions()};
  int64_t refused_ = -1;
  absl::Status refusal_ = absl::InvalidArgumentError("wrong");
  std::vector<int64_t> submitted_;
  std::optional<absl::Status> end_;
  TaskGroup group_{engine_, [this](const absl::Status& status) {
                     EXPECT_FALSE(end_.has_value()) << "ended twice";
                     end_ = status;
                   }};
};

TEST_F(TaskGroupTest, TheRestIsSubmittedInOrderAsOthersLeave) {
  const auto most = static_cast<int64_t>(kMostMembers);
  for (int64_t i = 0; i < 3 * most; ++i) Add(i);
  // Whoever starts it counts.
  EXPECT_EQ(submitted_.size(), kMostMembers - 1);
  group_.Leave();
  for (int64_t left = 0; left < 3 * most; ++left) {
    EXPECT_LE(static_cast<int64_t>(submitted_.size()) - left, most);
    EXPECT_FALSE(end_.has_value());
    group_.Leave();
  }
  EXPECT_EQ(end_, absl::OkStatus());
  for (int64_t i = 0; i < 3 * most; ++i) {
    EXPECT_EQ(submitted_[static_cast<size_t>(i)], i);
  }
}

TEST_F(TaskGroupTest, ARefusedMemberEndsTheRest) {
  const auto most = static_cast<int64_t>(kMostMembers);
  refused_ = most + 1;
  for (int64_t i = 0; i < 2 * most; ++i) Add(i);
  group_.Leave();
  size_t left = 0;
  while (!group_.has_failed()) {
    group_.Leave();
    ++left;
  }
  EXPECT_EQ(submitted_.back(), most);
  Add(7);
  EXPECT_EQ(submitted_.back(), most);
  for (; left < submitted_.size(); ++left) {
    EXPECT_FALSE(end_.has_value());
    group_.Leave();
  }
  EXPECT_EQ(end_, absl::InvalidArgumentError("wrong"));
}

TEST_F(TaskGroupTest, AFullQueueIsTriedAgainWhenAnotherLeaves) {
  refused_ = 2;
  refusal_ = absl::UnavailableError("full");
  for (int64_t i = 0; i < 5; ++i) Add(i);
  EXPECT_EQ(submitted_, (std::vector<int64_t>{0, 1}));
  group_.Leave();
  EXPECT_EQ(submitted_.size(), 2U);
  refused_ = -1;
  group_.Leave();
  EXPECT_EQ(submitted_, (std::vector<int64_t>{0, 1, 2, 3, 4}));
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(end_.has_value());
    group_.Leave();
  }
  EXPECT_EQ(end_, absl::OkStatus());
}

TEST_F(TaskGroupTest, AFullQueueWithoutAnyOfItsOwnEndsIt) {
  refused_ = 0;
  refusal_ = absl::UnavailableError("full");
  Add(0);
  EXPECT_FALSE(group_.has_failed());
  group_.Leave();
  EXPECT_EQ(end_, refusal_);
}

TEST_F(TaskGroupTest, NobodyWhoWaitsIsSubmittedOnceItFailed) {
  const auto most = static_cast<int64_t>(kMostMembers);
  for (int64_t i = 0; i < 2 * most; ++i) Add(i);
  group_.Fail(absl::CancelledError("gone"));
  const size_t before = submitted_.size();
  group_.Leave();
  for (size_t i = 0; i < before; ++i) group_.Leave();
  EXPECT_EQ(submitted_.size(), before);
  EXPECT_EQ(end_, absl::CancelledError("gone"));
}

}  // namespace
}  // namespace dissonance
