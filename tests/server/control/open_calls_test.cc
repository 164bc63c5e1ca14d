#include "server/control/open_calls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

const absl::Status kEnded = absl::UnauthenticatedError("ended");

class OpenCallsTest : public ::testing::Test {
 protected:
  std::unique_ptr<OpenCall> Add(const std::string& token) {
    return calls_.Add(token, [this, token](const absl::Status& status) {
      EXPECT_EQ(status, kEnded);
      ended_.push_back(token);
    });
  }

  OpenCalls calls_;
  std::vector<std::string> ended_;
};

TEST_F(OpenCallsTest, EndsTheCallsOfATokenOnce) {
  const auto first = Add("a");
  const auto second = Add("b");
  EXPECT_THAT(calls_.Tokens(), UnorderedElementsAre("a", "b"));
  calls_.EndOf("a", kEnded);
  calls_.EndOf("a", kEnded);
  calls_.EndOf("none", kEnded);
  EXPECT_THAT(ended_, ElementsAre("a"));
  // The token may come again: only what was open has ended.
  const auto third = Add("a");
  EXPECT_THAT(ended_, ElementsAre("a"));
}

TEST_F(OpenCallsTest, EndsAllAndThoseToCome) {
  const auto first = Add("a");
  calls_.EndAll(kEnded);
  EXPECT_THAT(ended_, ElementsAre("a"));
  const auto second = Add("b");
  EXPECT_THAT(ended_, ElementsAre("a", "b"));
}

TEST_F(OpenCallsTest, WhatHasClosedIsNotEnded) {
  Add("a").reset();
  EXPECT_THAT(calls_.Tokens(), IsEmpty());
  calls_.EndAll(kEnded);
  EXPECT_THAT(ended_, IsEmpty());
}

TEST(OpenCallsThreadsTest, ACallThatClosesWaitsForItsEnd) {
  OpenCalls calls;
  absl::Notification is_ending;
  std::atomic<bool> is_closing = false;
  std::atomic<bool> has_ended = false;
  auto call = calls.Add("a", [&](const absl::Status&) {
    is_ending.Notify();
    while (!is_closing) std::this_thread::yield();
    has_ended = true;
  });
  std::thread ender([&] { calls.EndOf("a", kEnded); });
  is_ending.WaitForNotification();
  is_closing = true;
  call.reset();
  EXPECT_TRUE(has_ended);
  ender.join();
}

TEST(OpenCallsThreadsTest, ACallIsEndedOnceOrNotAtAllHoweverItCloses) {
  OpenCalls calls;
  for (int i = 0; i < 500; ++i) {
    int ends = 0;
    auto call = calls.Add("a", [&ends](const absl::Status&) { ++ends; });
    std::thread by_token([&] { calls.EndOf("a", kEnded); });
    std::thread by_token_too([&] { calls.EndOf("a", kEnded); });
    call.reset();
    const int ends_when_closed = ends;
    by_token.join();
    by_token_too.join();
    EXPECT_EQ(ends, ends_when_closed);
    EXPECT_LE(ends, 1);
  }
}

}  // namespace
}  // namespace dissonance
