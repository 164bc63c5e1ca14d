// Jobs that read another job's files, through the public service.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/server/control/jobs_fixture.h"

namespace dissonance {
namespace {

// Specs of every kind that names a job.
std::vector<std::function<void(v1::JobSpec&, const std::string&)>> Readers() {
  return {[](v1::JobSpec& spec, const std::string& job) {
            spec.mutable_train_probes()->set_activations_job(job);
          },
          [](v1::JobSpec& spec, const std::string& job) {
            spec.mutable_judge()->set_job(job);
          }};
}

TEST_F(JobsTest, OnlyWhoSeesAJobMayHaveAnotherReadItsFiles) {
  v1::CreateJobRequest source;
  source.mutable_spec()->mutable_judge()->set_data("{}");
  v1::Job adas;
  ASSERT_TRUE(Create(source, adas).ok());
  for (const auto& read : Readers()) {
    v1::CreateJobRequest request;
    read(*request.mutable_spec(), adas.name());
    v1::Job job;
    const grpc::Status own = Create(request, job);
    EXPECT_TRUE(own.ok()) << own.error_message();
  }
  ASSERT_TRUE(users_.Create("eve", v1::Quota(), absl::Now()).ok());
  Context::secret = tokens_.Create({.user = "eve"})->secret;
  for (const auto& read : Readers()) {
    v1::CreateJobRequest request;
    read(*request.mutable_spec(), adas.name());
    v1::Job job;
    const grpc::Status of_ada = Create(request, job);
    EXPECT_EQ(of_ada.error_code(), grpc::StatusCode::NOT_FOUND)
        << request.ShortDebugString();
    // As if there were none.
    const std::string none = "jobs/01JAAAAAAAAAAAAAAAAAAAAAAA";
    read(*request.mutable_spec(), none);
    const grpc::Status of_none = Create(request, job);
    EXPECT_EQ(of_none.error_code(), of_ada.error_code());
    std::string message = of_ada.error_message();
    const size_t at = message.find(adas.name());
    ASSERT_NE(at, std::string::npos) << message;
    EXPECT_EQ(message.replace(at, adas.name().size(), none),
              of_none.error_message());
  }
}

}  // namespace
}  // namespace dissonance
