// What a train_probes job recorded, as probes and as directions.
#include "server/control/probes_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "dissonance/v1/probes.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "server/control/directions_service.h"
#include "src/base/status_macros.h"
#include "src/lab/jobs/job_kind.h"
#include "src/lab/tensors/safetensors_writer.h"
#include "tests/lab/tensors/direction_messages.h"
#include "tests/server/control/forwarding_fixture.h"
#include "tests/server/control/own_channel.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

// Records two places with two probes each, and writes one's file.
class ProbesKind final : public JobKind {
 public:
  absl::Status Validate(const v1::JobSpec& /*spec*/) override {
    return absl::OkStatus();
  }
  absl::Status Run(const v1::JobSpec& /*spec*/, JobContext& job) override {
    std::vector<std::string> items;
    for (int block = 0; block < 2; ++block) {
      v1::ListProbesResponse place;
      for (const double c : {0.1, 10.0}) {
        v1::ProbeResult& probe = *place.add_probes();
        *probe.mutable_place() = PlaceAt(block);
        probe.set_c(c);
        *probe.mutable_direction() = TensorOf({0, 1});
        *probe.mutable_weights()->mutable_weight() = TensorOf({0, 1});
        probe.add_decisions(1);
      }
      items.push_back(place.SerializeAsString());
    }
    RETURN_IF_ERROR(job.RecordItems(0, items, 2, "places"));
    const nlohmann::json probes = {{"conflict.0.blocks.1.resid_post.c0.1",
                                    {{"target", "conflict"},
                                     {"c", 0.1},
                                     {"norm", 3.0},
                                     {"residual_norm", 7.0},
                                     {"bias", 1.0}}}};
    return job.AddOutput(
        "probes.safetensors", "application/vnd.safetensors",
        SafetensorsHeader({{"conflict.0.blocks.1.resid_post.c0.1.direction",
                            v1::DTYPE_FLOAT32,
                            {2}}},
                          {{"probes", probes.dump()}}) +
            BytesOf<float>({0, 1}),
        OutputKind::kResult);
  }
};

class ProbesServiceTest : public ForwardingTest {
 protected:
  ProbesServiceTest() {
    EXPECT_TRUE(jobs_->Start().ok());
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(probes_.get());
    builder.RegisterService(named_.get());
    own_server_ = builder.BuildAndStart();
    channel_ = OpenOwnChannel(absl::StrCat("127.0.0.1:", port), 1 << 20);
  }
  ~ProbesServiceTest() override {
    own_server_->Shutdown(std::chrono::system_clock::now());
  }

  // A job of the user's that has ended.
  std::string JobOf(const std::string& user) {
    v1::JobSpec spec;
    spec.mutable_train_probes()->add_variants()->set_model("models/x");
    const auto job = jobs_->CreateJob(spec, {.owner = user});
    EXPECT_TRUE(job.ok()) << job.status();
    int64_t after = 0;
    while (true) {
      const auto events = jobs_->WaitForEvents(user, job->name(), after,
                                               absl::InfiniteFuture());
      EXPECT_TRUE(events.ok()) << events.status();
      if (!events.ok() || events->ended_job.has_value()) return job->name();
      after = events->events.back().number();
    }
  }
  grpc::Status List(const v1::ListProbesRequest& request,
                    v1::ListProbesResponse& response) {
    Context context;
    response.Clear();
    return v1::Probes::NewStub(channel_)->ListProbes(&context, request,
                                                     &response);
  }

  ProbesKind kind_;
  JobStore store_{*database_};
  JobQueue queue_{*database_};
  const std::unique_ptr<JobManager> jobs_ =
      *JobManager::Create({.store = &store_,
                           .queue = &queue_,
                           .artifacts = artifacts_.get(),
                           .kinds = {{v1::JobSpec::kTrainProbes, &kind_}}});
  const std::unique_ptr<grpc::Service> probes_ = MakeProbesService(
      {.forwarding = parts_, .jobs = *jobs_, .store = store_});
  const std::unique_ptr<grpc::Service> named_ =
      MakeDirectionsService({.directions = directions_,
                             .tokens = tokens_,
                             .access = access_,
                             .quotas = quotas_,
                             .jobs = *jobs_,
                             .artifacts = *artifacts_});
  std::unique_ptr<grpc::Server> own_server_;
  WorkerChannel channel_;
};

TEST_F(ProbesServiceTest, ListsWhatWasRecordedWithoutItsVectors) {
  v1::ListProbesRequest request;
  request.set_job(JobOf("ada"));
  request.set_page_size(3);
  v1::ListProbesResponse page;
  ASSERT_TRUE(List(request, page).ok());
  ASSERT_EQ(page.probes_size(), 3);
  EXPECT_EQ(page.probes(1).c(), 10);
  EXPECT_EQ(page.probes(2).place().block(), 1);
  EXPECT_FALSE(page.probes(0).has_direction());
  EXPECT_FALSE(page.probes(0).has_weights());
  EXPECT_EQ(page.probes(0).decisions_size(), 0);
  request.set_page_token(page.next_page_token());
  ASSERT_TRUE(List(request, page).ok());
  ASSERT_EQ(page.probes_size(), 1);
  EXPECT_EQ(page.probes(0).c(), 10);
  EXPECT_EQ(page.next_page_token(), "");
  // A page that ends with its item, too.
  request.set_page_size(2);
  request.clear_page_token();
  ASSERT_TRUE(List(request, page).ok());
  request.set_page_token(page.next_page_token());
  ASSERT_TRUE(List(request, page).ok());
  ASSERT_EQ(page.probes_size(), 2);
  EXPECT_EQ(page.probes(0).place().block(), 1);
  EXPECT_EQ(page.next_page_token(), "");
}

TEST_F(ProbesServiceTest, RefusesPagesThatAreNotThere) {
  v1::ListProbesRequest request;
  request.set_job(JobOf("ada"));
  v1::ListProbesResponse page;
  for (const std::string token :
       {"x", "1", "-1.0", "0.-1", "0.2", "2.0", "9223372036854775807.0",
        "0.9223372036854775807", "9223372036854775808.0"}) {
    request.set_page_token(token);
    EXPECT_EQ(List(request, page).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT)
        << token;
  }
  request.clear_page_token();
  request.set_page_size(-1);
  EXPECT_EQ(List(request, page).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ProbesServiceTest, AnothersJobHasNoProbes) {
  v1::ListProbesRequest request;
  request.set_job(JobOf("bob"));
  v1::ListProbesResponse page;
  EXPECT_EQ(List(request, page).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ProbesServiceTest, ADirectionIsMadeOfAJobsProbes) {
  v1::CreateDirectionRequest request;
  request.set_name("directions/conflict");
  request.mutable_probes()->set_job(JobOf("ada"));
  v1::CreateDirectionResponse response;
  const auto create = [&] {
    Context context;
    return v1::Directions::NewStub(channel_)->CreateDirection(&context, request,
                                                              &response);
  };
  const grpc::Status created = create();
  ASSERT_TRUE(created.ok()) << created.error_message();
  const v1::Direction& direction = response.direction();
  EXPECT_EQ(direction.model(), "models/x");
  EXPECT_EQ(direction.method(), v1::DIRECTION_METHOD_PROBE);
  ASSERT_EQ(direction.vectors_size(), 1);
  EXPECT_EQ(direction.places(0).block(), 1);
  EXPECT_EQ(direction.vectors(0).norm(), 3);
  EXPECT_EQ(direction.vectors(0).residual_norm(), 7);
  EXPECT_THAT(direction.source_json(), HasSubstr(request.probes().job()));
  EXPECT_EQ(create().error_code(), grpc::StatusCode::ALREADY_EXISTS);
  request.set_name("directions/other");
  request.mutable_probes()->set_variant_index(1);
  EXPECT_EQ(create().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request.mutable_probes()->set_variant_index(0);
  request.mutable_probes()->set_job(JobOf("bob"));
  EXPECT_EQ(create().error_code(), grpc::StatusCode::NOT_FOUND);
}

}  // namespace
}  // namespace dissonance
