// To which worker calls go, and what becomes of them when its lease is over.
#include "server/control/worker_route.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "dissonance/v1/inference.pb.h"
#include "tests/server/control/scripted_worker.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kScore[] = "/dissonance.v1.Inference/Score";
constexpr absl::Duration kPatience = absl::Seconds(120);
const NamedModels kModel = {.models = {"models/m"}};

class WorkerRouteTest : public ::testing::Test {
 protected:
  WorkerRouteTest() {
    for (int i = 0; i < 2; ++i) route_.Set(i, workers_[i].connection());
  }
  // Which worker the call goes to; -1: none.
  int For(const NamedModels& named) const {
    const WorkerChannel channel = route_.For(named).channel;
    for (int i = 0; i < 2; ++i) {
      if (channel == workers_[i].connection()->channel()) return i;
    }
    EXPECT_EQ(channel, nullptr);
    return -1;
  }

  ScriptedWorker workers_[2];
  WorkerRoute route_{2};
};

// A call that stays open until it is cancelled or cut.
class OpenScore {
 public:
  OpenScore(ScriptedWorker& worker, size_t index) {
    worker.Play({.message_count = 0, .stays_open = true});
    thread_ = std::thread([this, channel = worker.connection()->channel()] {
      v1::ScoreResponse response;
      status_ = CallWorker(channel, kScore, v1::ScoreRequest(), response, {});
    });
    call_ = worker.AwaitCall(index);
  }
  ~OpenScore() {
    if (thread_.joinable()) thread_.join();
  }
  absl::Status End() {
    thread_.join();
    return status_;
  }
  const ScriptedWorker::Call& call() const { return *call_; }

 private:
  absl::Status status_;
  std::thread thread_;
  std::shared_ptr<const ScriptedWorker::Call> call_;
};

TEST_F(WorkerRouteTest, CallsGoWhereFewestAreUnderWay) {
  EXPECT_EQ(For(kModel), 0);
  const DeviceMeter* const of_first = route_.For(kModel).meter;
  const OpenScore open(workers_[0], 0);
  EXPECT_EQ(route_.CallCount(0), 1);
  EXPECT_EQ(For(kModel), 1);
  EXPECT_NE(route_.For(kModel).meter, of_first);
  route_.Set(0, nullptr);
}

TEST_F(WorkerRouteTest, CallsGoWhereTheirModelsWeightsAre) {
  route_.SetResident(0, {"models/other"});
  route_.SetResident(1, {"models/m"});
  EXPECT_EQ(For(kModel), 1);
  EXPECT_EQ(For({.models = {"models/other"}}), 0);
  EXPECT_EQ(For(NamedModels()), 0);
  // A few calls are less trouble than another copy of the weights.
  const OpenScore first(workers_[1], 0);
  const OpenScore second(workers_[1], 1);
  EXPECT_EQ(For(kModel), 1);
  const OpenScore third(workers_[1], 2);
  const OpenScore fourth(workers_[1], 3);
  const OpenScore fifth(workers_[1], 4);
  EXPECT_EQ(For(kModel), 0);
  route_.Set(1, nullptr);
}

TEST_F(WorkerRouteTest, AWorkerThatIsNotReadyGetsNoCalls) {
  route_.Set(0, nullptr);
  EXPECT_EQ(For(kModel), 1);
  EXPECT_THAT(route_.Ready(), ElementsAre(workers_[1].connection()->channel()));
  route_.Withdraw(1);
  EXPECT_EQ(For(kModel), -1);
  EXPECT_NE(route_.For(kModel).meter, nullptr);
  EXPECT_THAT(route_.Ready(), IsEmpty());
}

TEST_F(WorkerRouteTest, OneThatACallDidNotFindIsAvoidedThoughItReports) {
  workers_[0].Kill();
  v1::ScoreResponse response;
  EXPECT_TRUE(absl::IsUnavailable(CallWorker(
      route_.For(kModel).channel, kScore, v1::ScoreRequest(), response, {})));
  EXPECT_EQ(For(kModel), 1);
  route_.SetResident(0, {"models/m"});
  EXPECT_EQ(For(kModel), 1);
  EXPECT_TRUE(absl::IsUnavailable(workers_[0].connection()->Probe(kPatience)));
  EXPECT_EQ(For(kModel), 1);
  EXPECT_TRUE(workers_[1].connection()->Probe(kPatience).ok());
}

TEST_F(WorkerRouteTest, OneThatLacksWhatIsNamedIsAvoided) {
  route_.SetLacking(0, {"models/m"});
  EXPECT_EQ(For(kModel), 1);
  EXPECT_EQ(For({.models = {"models/other"}}), 0);
  EXPECT_TRUE(route_.AnyLacks("models/m"));
  EXPECT_FALSE(route_.AllLack("models/m"));
  route_.SetLacking(1, {"models/m"});
  EXPECT_TRUE(route_.AllLack("models/m"));
  route_.SetHas("models/m");
  EXPECT_FALSE(route_.AnyLacks("models/m"));
  EXPECT_EQ(For(kModel), 0);
}

TEST_F(WorkerRouteTest, ADroppedOneGetsNoCallsUntilItIsSetAnew) {
  OpenScore open(workers_[0], 0);
  route_.Drop(workers_[0].connection()->channel(), "it did not hear of it");
  EXPECT_TRUE(absl::IsUnavailable(open.End()));
  EXPECT_EQ(For(kModel), 1);
  EXPECT_EQ(route_.WhyDropped(0), "it did not hear of it");
  EXPECT_EQ(route_.WhyDropped(1), "");
  route_.Set(0, workers_[1].connection());
  EXPECT_EQ(route_.WhyDropped(0), "");
}

TEST_F(WorkerRouteTest, AnAdapterInTrainingIsWhereItIsTrained) {
  const NamedModels named = {.models = {"models/m"},
                             .adapters = {"models/m/adapters/~t"}};
  {
    const WorkerRoute::KeptAdapter kept(
        route_, "models/m/adapters/~t",
        {.channel = workers_[1].connection()->channel()});
    EXPECT_EQ(For(named), 1);
    EXPECT_EQ(For(kModel), 0);
    // Also while no further calls go there.
    route_.Withdraw(1);
    EXPECT_EQ(For(named), 1);
  }
  EXPECT_EQ(For(named), 0);
}

TEST_F(WorkerRouteTest, WhatIsUnderWayEndsWithTheLease) {
  OpenScore open(workers_[0], 0);
  route_.Set(0, nullptr);
  const absl::Status end = open.End();
  EXPECT_TRUE(absl::IsUnavailable(end)) << end;
  open.call().is_cancelled.WaitForNotification();
  EXPECT_EQ(workers_[0].connection()->call_count(), 0);
}

TEST_F(WorkerRouteTest, AWithdrawnWorkersCallsGoOn) {
  const OpenScore open(workers_[0], 0);
  route_.Withdraw(0);
  EXPECT_EQ(workers_[0].connection()->call_count(), 1);
  EXPECT_FALSE(open.call().is_cancelled.HasBeenNotified());
  workers_[0].connection()->Cut();
}

TEST_F(WorkerRouteTest, NothingThatAWorkerSaysAfterItsLeaseIsAnAnswer) {
  const WorkerChannel channel = route_.For(kModel).channel;
  v1::ScoreResponse response;
  EXPECT_TRUE(
      CallWorker(channel, kScore, v1::ScoreRequest(), response, {}).ok());
  route_.Set(0, nullptr);
  // The worker would answer as before.
  const absl::Status end =
      CallWorker(channel, kScore, v1::ScoreRequest(), response, {});
  EXPECT_TRUE(absl::IsUnavailable(end)) << end;
}

}  // namespace
}  // namespace dissonance
