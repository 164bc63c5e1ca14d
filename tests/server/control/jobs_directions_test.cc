// Jobs that name directions, through the public service.
#include <gtest/gtest.h>

#include <string>

#include "tests/lab/tensors/direction_messages.h"
#include "tests/server/control/jobs_fixture.h"

namespace dissonance {
namespace {

class JobsDirectionsTest : public JobsTest {
 protected:
  JobsDirectionsTest() { Make({0, 1}); }

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
