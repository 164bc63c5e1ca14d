// Calls that the control plane makes itself, to a scripted worker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

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
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

class WorkerCallsTest : public ::testing::Test {
 protected:
  WorkerCallsTest() { route_.Set(worker_.channel()); }

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
  DeviceMeter meter(Clock::Real());
  WorkerCompute compute(route_, catalog_, meter);
  DeviceSpend spend;
  EXPECT_TRUE(compute.Score({}, {.spend = &spend}).ok());
  EXPECT_GT(spend.Take().device_seconds, 0);
  EXPECT_TRUE(compute.RenderChat({}, {}).ok());
  EXPECT_TRUE(compute.Tokenize({}, {}).ok());
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(worker_.AwaitCall(i)->metadata,
                Contains(Pair(kPriorityKey, kJobPriority)));
  }
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

  route_.Set(nullptr);
  const absl::Status lost = catalog_.SelfCheck(owner_, request, {}).status();
  EXPECT_TRUE(absl::IsUnavailable(lost)) << lost;
  EXPECT_THAT(std::string(lost.message()), HasSubstr("make the call again"));
}

}  // namespace
}  // namespace dissonance
