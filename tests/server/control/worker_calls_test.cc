// Calls that the control plane makes itself, to a scripted worker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "server/control/model_catalog.h"
#include "server/control/worker_compute.h"
#include "src/base/call_priority.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/model_store.h"
#include "tests/server/control/scripted_worker.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

class WorkerCallsTest : public ::testing::Test {
 protected:
  WorkerCallsTest() { route_.Set(0, worker_.connection()); }

  ScriptedWorker worker_;
  WorkerRoute route_;
  const TempFolder folder_;
  const std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = folder_.path()});
  ModelStore store_{*database_};
  ArtifactIndex index_{*database_};
  const std::unique_ptr<ArtifactStore> artifacts_ =
      *ArtifactStore::Create(folder_.path(), index_, Clock::Real());
  ModelCatalog catalog_{{.store = store_,
                         .artifacts = *artifacts_,
                         .data_dir = folder_.path(),
                         .route = route_}};
  const Viewer owner_ = {.user = "owner"};
};

TEST_F(WorkerCallsTest, CallsOfJobsAreMarked) {
  WorkerCompute compute(route_, catalog_);
  DeviceSpend spend;
  EXPECT_TRUE(compute.Score({}, {.spend = &spend}).ok());
  EXPECT_GT(spend.Take().device_seconds, 0);
  EXPECT_TRUE(compute.RenderChat({}, {}).ok());
  EXPECT_TRUE(compute.Tokenize({}, {}).ok());
  EXPECT_TRUE(compute.Patch({}, {.spend = &spend}).ok());
  EXPECT_TRUE(compute.FitDirections({}, {.spend = &spend}).ok());
  const auto take = [](const auto& /*message*/) { return absl::OkStatus(); };
  EXPECT_TRUE(compute.StreamActivations({}, {}, take).ok());
  EXPECT_TRUE(compute.LogitLens({}, {}, take).ok());
  EXPECT_TRUE(compute.TrainProbes({}, {}, take).ok());
  EXPECT_TRUE(compute.Generate({}, {}, take).ok());
  for (int i = 0; i < 9; ++i) {
    EXPECT_THAT(worker_.AwaitCall(i)->metadata,
                Contains(Pair(kPriorityKey, kJobPriority)));
  }
}

v1::GenerateResponse Delta(int64_t i) {
  v1::GenerateResponse message;
  message.set_input_index(static_cast<int>(i));
  return message;
}

TEST_F(WorkerCallsTest, AStreamsMessagesComeInOrderAndAreCharged) {
  WorkerCompute compute(route_, catalog_);
  worker_.Play({.message_count = 4, .message = [](int64_t i) {
                  v1::GenerateResponse message = Delta(i);
                  if (i == 3) {
                    message.mutable_summary()->set_prompt_token_count(5);
                    message.mutable_summary()->set_generated_token_count(2);
                  }
                  return message.SerializeAsString();
                }});
  v1::GenerateRequest request;
  request.set_sample_count(7);
  DeviceSpend spend;
  std::vector<int> inputs;
  const absl::Status status = compute.Generate(
      request, {.spend = &spend}, [&](const v1::GenerateResponse& message) {
        inputs.push_back(message.input_index());
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(inputs, ElementsAre(0, 1, 2, 3));
  const DeviceSpend::Amount amount = spend.Take();
  EXPECT_GT(amount.device_seconds, 0);
  EXPECT_EQ(amount.token_count, 7);
  EXPECT_EQ(worker_.AwaitCall(0)->method, "/dissonance.v1.Inference/Generate");
  EXPECT_EQ(worker_.AwaitCall(0)->request, request.SerializeAsString());
}

TEST_F(WorkerCallsTest, WhoeverTakesAStreamCanEndIt) {
  WorkerCompute compute(route_, catalog_);
  worker_.Play({.message_count = 3, .stays_open = true});
  int taken = 0;
  const absl::Status status =
      compute.LogitLens({}, {}, [&](const v1::LogitLensResponse&) {
        return ++taken == 2 ? absl::DataLossError("a row is missing")
                            : absl::OkStatus();
      });
  EXPECT_EQ(status, absl::DataLossError("a row is missing"));
  EXPECT_EQ(taken, 2);
  worker_.AwaitCall(0)->is_cancelled.WaitForNotification();
}

TEST_F(WorkerCallsTest, ACancelledStreamIsCancelledAtTheWorkerToo) {
  WorkerCompute compute(route_, catalog_);
  worker_.Play({.message_count = 1, .stays_open = true});
  bool cancelled = false;
  const absl::Status status =
      compute.TrainProbes({}, {.cancelled = [&] { return cancelled; }},
                          [&](const v1::TrainProbesResponse&) {
                            cancelled = true;
                            return absl::OkStatus();
                          });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  worker_.AwaitCall(0)->is_cancelled.WaitForNotification();
}

TEST_F(WorkerCallsTest, AStreamOfALostWorkerIsUnavailable) {
  WorkerCompute compute(route_, catalog_);
  worker_.Play({.message_count = 2, .stays_open = true});
  int taken = 0;
  const auto take = [&](const v1::StreamActivationsResponse&) {
    if (++taken == 2) worker_.Kill();
    return absl::OkStatus();
  };
  absl::Status status = compute.StreamActivations({}, {}, take);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  route_.Set(0, nullptr);
  status = compute.StreamActivations({}, {}, take);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(taken, 2);
}

TEST_F(WorkerCallsTest, ASelfCheckIsTheWorkersAndInteractive) {
  v1::SelfCheckRequest request;
  request.set_name("models/x");
  request.set_seed(3);
  EXPECT_TRUE(
      absl::IsNotFound(catalog_.SelfCheck(owner_, request, {}).status()));
  StoredModel stored;
  stored.model.set_name("models/x");
  ASSERT_TRUE(store_.PutModel(stored).ok());
  v1::SelfCheckResponse answer;
  answer.add_invariants()->set_name("batched = alone");
  worker_.Play(
      {.message = [&](int64_t) { return answer.SerializeAsString(); }});
  const auto response = catalog_.SelfCheck(owner_, request, {});
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->invariants(0).name(), "batched = alone");
  const auto call = worker_.AwaitCall(0);
  EXPECT_EQ(call->method, "/dissonance.v1.Models/SelfCheck");
  EXPECT_EQ(call->request, request.SerializeAsString());
  EXPECT_THAT(call->metadata, Not(Contains(Key(kPriorityKey))));

  route_.Set(0, nullptr);
  const absl::Status lost = catalog_.SelfCheck(owner_, request, {}).status();
  EXPECT_TRUE(absl::IsUnavailable(lost)) << lost;
  EXPECT_THAT(std::string(lost.message()), HasSubstr("make the call again"));
}

// Two workers, whose records are the catalog's.
class TwoWorkerCallsTest : public WorkerCallsTest {
 protected:
  TwoWorkerCallsTest() {
    for (int i = 0; i < 2; ++i) {
      routed_.Set(i, workers_[i].connection());
      workers_[i].Play({.message = [](int64_t) {
        v1::LoadModelResponse response;
        response.mutable_model()->set_name("models/m");
        return response.SerializeAsString();
      }});
    }
    request_.set_name("models/m");
    request_.set_path("/m");
  }

  static ScriptedWorker::Script Refusing(grpc::StatusCode code) {
    return {.message_count = 0, .end = grpc::Status(code, "no")};
  }
  std::string MethodAt(int worker, size_t call) {
    return workers_[worker].AwaitCall(call)->method;
  }

  ScriptedWorker workers_[2];
  WorkerRoute routed_{2};
  ModelCatalog both_{{.store = store_,
                      .artifacts = *artifacts_,
                      .data_dir = folder_.path(),
                      .route = routed_}};
  v1::LoadModelRequest request_;
};

TEST_F(TwoWorkerCallsTest, AChangeIsMadeInAll) {
  EXPECT_TRUE(both_.LoadModel(owner_, request_, {}).ok());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(MethodAt(i, 0), "/dissonance.v1.Models/LoadModel");
  }
  EXPECT_EQ(routed_.Ready().size(), 2U);
}

TEST_F(TwoWorkerCallsTest, OneThatDidNotHearOfAChangeIsDropped) {
  workers_[1].Play(Refusing(grpc::StatusCode::UNAVAILABLE));
  EXPECT_TRUE(both_.LoadModel(owner_, request_, {}).ok());
  EXPECT_EQ(routed_.WhyDropped(0), "");
  EXPECT_EQ(routed_.WhyDropped(1), "it did not hear of LoadModel");
  EXPECT_EQ(routed_.Ready().size(), 1U);
}

TEST_F(TwoWorkerCallsTest, WhatOneRefusesIsTakenBackInTheOthers) {
  workers_[1].Play(Refusing(grpc::StatusCode::RESOURCE_EXHAUSTED));
  EXPECT_TRUE(absl::IsResourceExhausted(
      both_.LoadModel(owner_, request_, {}).status()));
  EXPECT_EQ(MethodAt(0, 1), "/dissonance.v1.Models/UnloadModel");
  EXPECT_EQ(routed_.Ready().size(), 2U);
  EXPECT_TRUE(absl::IsNotFound(store_.GetModel("models/m").status()));
}

TEST_F(TwoWorkerCallsTest, WhatMayHaveBeenDoneIsTakenBackWhereItWasRefused) {
  workers_[1].Play(Refusing(grpc::StatusCode::CANCELLED));
  EXPECT_TRUE(
      absl::IsCancelled(both_.LoadModel(owner_, request_, {}).status()));
  EXPECT_EQ(MethodAt(1, 1), "/dissonance.v1.Models/UnloadModel");
  // There the way back was refused too, so nobody knows what it has.
  EXPECT_THAT(routed_.WhyDropped(1), HasSubstr("can't be taken back"));
  EXPECT_EQ(routed_.WhyDropped(0), "");
}

TEST_F(TwoWorkerCallsTest, OneThatDidNotHearOfAnUnloadIsDropped) {
  ASSERT_TRUE(both_.LoadModel(owner_, request_, {}).ok());
  workers_[1].Play(Refusing(grpc::StatusCode::UNAVAILABLE));
  EXPECT_TRUE(both_.UnloadModel(owner_, "models/m").ok());
  EXPECT_EQ(routed_.WhyDropped(1), "it did not hear of UnloadModel");
}

TEST_F(TwoWorkerCallsTest, WhatOneCouldNotBeGivenIsAskedOfTheOther) {
  StoredModel stored;
  stored.model.set_name("models/m");
  ASSERT_TRUE(store_.PutModel(stored).ok());
  v1::Variant variant;
  variant.set_model("models/m");
  const auto restore = [&](int worker) {
    EXPECT_TRUE(both_
                    .Restore(worker, workers_[worker].connection()->channel(),
                             {}, [] {})
                    .ok());
  };
  workers_[0].Play(Refusing(grpc::StatusCode::NOT_FOUND));
  restore(0);
  restore(1);
  EXPECT_TRUE(both_.CheckVariant(variant).ok());
  EXPECT_EQ(routed_.For({.models = {"models/m"}}).channel,
            workers_[1].connection()->channel());
  workers_[1].Play(Refusing(grpc::StatusCode::NOT_FOUND));
  restore(1);
  const absl::Status left_out = both_.CheckVariant(variant);
  EXPECT_TRUE(absl::IsFailedPrecondition(left_out)) << left_out;
  EXPECT_THAT(std::string(left_out.message()),
              HasSubstr("could not be loaded after a restart"));
}

}  // namespace
}  // namespace dissonance
