// Directions by name in calls that are forwarded.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "dissonance/v1/probes.grpc.pb.h"
#include "tests/lab/tensors/direction_messages.h"
#include "tests/server/control/forwarding_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ForwardingDirectionsTest : public ForwardingTest {
 protected:
  void Make(const std::string& name, const std::string& user) {
    const auto made = directions_.Create(
        {.user = user}, DirectionNamed(name, {VectorAt(PlaceAt(3), {0, 1})}));
    ASSERT_TRUE(made.ok()) << made.status();
  }
  static void Steer(const std::string& name, v1::Variant& variant) {
    variant.set_model("models/x");
    v1::Intervention& change = *variant.add_interventions();
    change.set_site(v1::SITE_RESID_POST);
    change.add_blocks(3);
    change.mutable_project_out()->set_direction("directions/" + name);
  }
};

TEST_F(ForwardingDirectionsTest, TheWorkerGetsTheVectorsOfBothKindsOfCalls) {
  Make("truth", "ada");
  const auto stub = NewInference();
  v1::ScoreRequest score;
  Steer("truth", *score.add_variants());
  v1::ScoreResponse answer;
  Context unary;
  ASSERT_TRUE(stub->Score(&unary, score, &answer).ok());
  v1::ScoreRequest sent;
  ASSERT_TRUE(sent.ParseFromString(worker_.AwaitCall(0)->request));
  EXPECT_EQ(sent.variants(0).interventions(0).project_out().tensor().data(),
            BytesOf<float>({0, 1}));

  worker_.Play({.message_count = 1, .message = MessagesOf(10)});
  v1::GenerateRequest generate;
  Steer("truth", *generate.add_variants());
  generate.add_meters()->mutable_vector()->set_direction("directions/truth");
  Context stream;
  const auto reader = stub->Generate(&stream, generate);
  EXPECT_EQ(ReadMessages(*reader, 10, 2), 1);
  EXPECT_TRUE(reader->Finish().ok());
  v1::GenerateRequest read;
  ASSERT_TRUE(read.ParseFromString(worker_.AwaitCall(1)->request));
  EXPECT_EQ(read.variants(0).interventions(0).project_out().label(),
            "directions/truth");
  EXPECT_EQ(read.meters(0).vector().tensor().data(), BytesOf<float>({0, 1}));
  EXPECT_EQ(read.meters(0).place().block(), 3);
  EXPECT_THAT(generate.SerializeAsString(), Not(HasSubstr("tensor")));
}

TEST_F(ForwardingDirectionsTest, AHiddenDirectionIsAsIfAbsent) {
  Make("of-bob", "bob");
  const auto stub = NewInference();
  const auto ask = [&](const std::string& name) {
    v1::ScoreRequest request;
    Steer(name, *request.add_variants());
    v1::ScoreResponse answer;
    Context context;
    return stub->Score(&context, request, &answer);
  };
  const grpc::Status hidden = ask("of-bob");
  const grpc::Status absent = ask("of-eve");
  EXPECT_EQ(hidden.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(absent.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(hidden.error_message(), HasSubstr("no direction "
                                                "directions/of-bob; make it"));
}

}  // namespace
}  // namespace dissonance
