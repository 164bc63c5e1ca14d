// Whose calls are forwarded, and what they are charged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <thread>

#include "absl/strings/str_replace.h"
#include "tests/server/control/forwarding_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

TEST_F(ForwardingTest, ModelsThatTheCallerDoesNotSeeDoNotExist) {
  AddModel("models/private", "users/bob");
  AddModel("models/shared", "users/bob", v1::VISIBILITY_LAB);
  const auto stub = NewInference();
  const auto score = [&](const std::string& model, const std::string& adapter) {
    Context context;
    v1::ScoreRequest request;
    request.add_variants()->set_model("models/x");
    v1::Variant& variant = *request.add_variants();
    variant.set_model(model);
    variant.set_adapter(adapter);
    v1::ScoreResponse response;
    return stub->Score(&context, request, &response);
  };
  EXPECT_TRUE(score("models/shared", "").ok());
  const grpc::Status hidden = score("models/private", "");
  const grpc::Status unknown = score("models/nothing", "");
  EXPECT_EQ(hidden.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(unknown.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(
      absl::StrReplaceAll(hidden.error_message(), {{"private", "nothing"}}),
      unknown.error_message());
  EXPECT_EQ(score("models/shared", "models/shared/adapters/a").error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(ForwardingTest, ARevokedTokenEndsItsStreams) {
  worker_.Play({.message_count = 1'000'000'000, .message = MessagesOf(1000)});
  const auto stub = NewInference();
  Context context;
  v1::GenerateRequest request;
  request.add_variants()->set_model("models/x");
  const auto reader = stub->Generate(&context, request);
  EXPECT_EQ(ReadMessages(*reader, 1000, 10), 10);
  EXPECT_EQ(streams_.Tokens(), std::set<std::string>{token_});
  streams_.EndOf("tokens/another", absl::UnauthenticatedError("revoked"));
  EXPECT_EQ(ReadMessages(*reader, 1000, 0), 0);
  streams_.EndOf(token_, absl::UnauthenticatedError("revoked"));
  v1::GenerateResponse message;
  while (reader->Read(&message)) {
  }
  const grpc::Status ended = reader->Finish();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::UNAUTHENTICATED)
      << ended.error_message();
  worker_.AwaitCall(0)->is_cancelled.WaitForNotification();
}

TEST_F(ForwardingTest, CallsAreChargedUpToTheWeeksQuota) {
  const auto stub = NewInference();
  const auto score = [&] {
    Context context;
    v1::ScoreRequest request;
    request.add_variants()->set_model("models/x");
    v1::ScoreResponse response;
    return stub->Score(&context, request, &response);
  };
  EXPECT_TRUE(score().ok());
  // A call is over a moment after its client has the answer.
  while (ledger_->Of("ada").week_seconds == 0) std::this_thread::yield();
  ledger_->AddUnstored("ada", 1e6);
  const grpc::Status refused = score();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("device seconds"));
}

}  // namespace
}  // namespace dissonance
