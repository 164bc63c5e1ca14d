// Jobs that name directions, through the public service.
#include <gtest/gtest.h>

#include <string>

#include "dissonance/v1/jobs.grpc.pb.h"
#include "server/control/jobs_service.h"
#include "src/lab/jobs/job_kind.h"
#include "tests/lab/tensors/direction_messages.h"
#include "tests/server/control/forwarding_fixture.h"

namespace dissonance {
namespace {

class AnyKind final : public JobKind {
 public:
  absl::Status Validate(const v1::JobSpec& /*spec*/) override {
    return absl::OkStatus();
  }
  absl::Status Run(const v1::JobSpec& /*spec*/, JobContext& /*job*/) override {
    return absl::OkStatus();
  }
};

class JobsDirectionsTest : public ForwardingTest {
 protected:
  JobsDirectionsTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(&service_);
    own_server_ = builder.BuildAndStart();
    stub_ = v1::Jobs::NewStub(
        OpenWorkerChannel(absl::StrCat("127.0.0.1:", port), 1 << 20));
    Make({0, 1});
  }
  ~JobsDirectionsTest() override {
    own_server_->Shutdown(std::chrono::system_clock::now());
  }

  void Make(const std::vector<float>& numbers) {
    const auto made = directions_.Create(
        {.user = "ada"},
        DirectionNamed("truth", {VectorAt(PlaceAt(3), numbers)}));
    ASSERT_TRUE(made.ok()) << made.status();
  }
  void Forget() {
    ASSERT_TRUE(directions_.Delete({.user = "ada"}, "directions/truth").ok());
  }
  static v1::CreateJobRequest Request(const std::string& request_id) {
    v1::CreateJobRequest request;
    request.set_request_id(request_id);
    v1::SteeringSweepSpec& sweep =
        *request.mutable_spec()->mutable_steering_sweep();
    sweep.mutable_variant()->set_model("models/x");
    sweep.add_directions()->mutable_vector()->set_direction("directions/truth");
    return request;
  }
  grpc::Status Create(const v1::CreateJobRequest& request, v1::Job& job) {
    Context context;
    v1::CreateJobResponse response;
    const grpc::Status status = stub_->CreateJob(&context, request, &response);
    job = response.job();
    return status;
  }

  AnyKind kind_;
  JobStore store_{*database_};
  JobQueue queue_{*database_};
  // Never started: the jobs stay in the queue.
  const std::unique_ptr<JobManager> jobs_ =
      *JobManager::Create({.store = &store_,
                           .queue = &queue_,
                           .artifacts = artifacts_.get(),
                           .kinds = {{v1::JobSpec::kSteeringSweep, &kind_},
                                     {v1::JobSpec::kPatchSweep, &kind_}}});
  JobsService service_{{.jobs = *jobs_,
                        .store = store_,
                        .tokens = tokens_,
                        .access = access_,
                        .directions = resolver_,
                        .artifacts = *artifacts_,
                        .quotas = quotas_,
                        .streams = streams_}};
  std::unique_ptr<grpc::Server> own_server_;
  std::unique_ptr<v1::Jobs::Stub> stub_;
};

TEST_F(JobsDirectionsTest, ARetryGivesTheFirstJobAfterItsDirectionIsGone) {
  v1::Job first;
  const grpc::Status created = Create(Request("r"), first);
  ASSERT_TRUE(created.ok()) << created.error_message();
  v1::Job again;
  ASSERT_TRUE(Create(Request("r"), again).ok());
  EXPECT_EQ(again.name(), first.name());
  Forget();
  ASSERT_TRUE(Create(Request("r"), again).ok());
  EXPECT_EQ(again.SerializeAsString(), first.SerializeAsString());
  // New requests, and those of another kind, need it.
  EXPECT_EQ(Create(Request("other"), again).error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Create(Request(""), again).error_code(),
            grpc::StatusCode::NOT_FOUND);
  v1::CreateJobRequest patch = Request("r");
  v1::Variant& source =
      *patch.mutable_spec()->mutable_patch_sweep()->mutable_source();
  source.set_model("models/x");
  source.add_interventions()->mutable_replace()->set_direction(
      "directions/truth");
  EXPECT_EQ(Create(patch, again).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(JobsDirectionsTest, ARetryWithOtherNumbersIsAnotherJob) {
  v1::Job job;
  ASSERT_TRUE(Create(Request("r"), job).ok());
  Forget();
  Make({1, 0});
  EXPECT_EQ(Create(Request("r"), job).error_code(),
            grpc::StatusCode::ALREADY_EXISTS);
}

}  // namespace
}  // namespace dissonance
