// The public service of jobs over a store of its own, with a manager that is
// never started: the jobs stay in the queue.
#ifndef DISSONANCE_TESTS_SERVER_CONTROL_JOBS_FIXTURE_H_
#define DISSONANCE_TESTS_SERVER_CONTROL_JOBS_FIXTURE_H_

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "dissonance/v1/jobs.grpc.pb.h"
#include "server/control/jobs_service.h"
#include "src/lab/jobs/job_kind.h"
#include "tests/server/control/forwarding_fixture.h"
#include "tests/server/control/own_channel.h"

namespace dissonance {

class AnyKind final : public JobKind {
 public:
  absl::Status Validate(const v1::JobSpec& /*spec*/) override {
    return absl::OkStatus();
  }
  absl::Status Run(const v1::JobSpec& /*spec*/, JobContext& /*job*/) override {
    return absl::OkStatus();
  }
};

class JobsTest : public ForwardingTest {
 protected:
  JobsTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(&service_);
    own_server_ = builder.BuildAndStart();
    stub_ = v1::Jobs::NewStub(
        OpenOwnChannel(absl::StrCat("127.0.0.1:", port), 1 << 20));
  }
  ~JobsTest() override {
    own_server_->Shutdown(std::chrono::system_clock::now());
  }

  grpc::Status Create(const v1::CreateJobRequest& request, v1::Job& job) {
    Context context;
    v1::CreateJobResponse response;
    const grpc::Status status = stub_->CreateJob(&context, request, &response);
    job = response.job();
    return status;
  }

  std::map<v1::JobSpec::KindCase, JobKind*> Kinds() {
    return {{v1::JobSpec::kSteeringSweep, &kind_},
            {v1::JobSpec::kPatchSweep, &kind_},
            {v1::JobSpec::kTrainProbes, &kind_},
            {v1::JobSpec::kJudge, &kind_}};
  }

  AnyKind kind_;
  JobStore store_{*database_};
  JobQueue queue_{*database_};
  const std::unique_ptr<JobManager> jobs_ =
      *JobManager::Create({.store = &store_,
                           .queue = &queue_,
                           .artifacts = artifacts_.get(),
                           .kinds = Kinds()});
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

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_CONTROL_JOBS_FIXTURE_H_
