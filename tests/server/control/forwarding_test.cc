// The forwarded services between a real client and a scripted worker.
#include "server/control/forwarding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/interpretability.grpc.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/server_builder.h"
#include "src/base/call_priority.h"
#include "tests/server/control/forwarding_fixture.h"

namespace dissonance {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;

void ExpectLost(const grpc::Status& status) {
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE)
      << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr("make the call again"));
  EXPECT_THAT(status.error_details(), HasSubstr("google.rpc.RetryInfo"));
}

TEST_F(ForwardingTest, MessagesArriveInOrderAndIntact) {
  constexpr int64_t kCount = 5000;
  constexpr int64_t kBytes = 999;
  worker_.Play({.message_count = kCount, .message = MessagesOf(kBytes)});
  const auto stub = NewInference();
  Context context;
  v1::GenerateRequest request;
  request.add_variants()->set_model("models/x");
  const auto reader = stub->Generate(&context, request);
  EXPECT_EQ(ReadMessages(*reader, kBytes, kCount + 1), kCount);
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(worker_.AwaitCall(0)->request, request.SerializeAsString());
}

TEST_F(ForwardingTest, MessagesOfSeveralMebibytesPass) {
  constexpr int64_t kBytes = 9 << 20;
  worker_.Play({.message_count = 3, .message = MessagesOf(kBytes)});
  const auto stub = NewInference();
  Context context;
  v1::GenerateRequest request;
  request.add_inputs()->set_text(std::string(kBytes, 'x'));
  const auto reader = stub->Generate(&context, request);
  EXPECT_EQ(ReadMessages(*reader, kBytes, 4), 3);
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(worker_.AwaitCall(0)->request.size(), request.ByteSizeLong());
}

TEST_F(ForwardingTest, AStreamWithoutMessagesEnds) {
  worker_.Play({.message_count = 0});
  const auto stub = NewInference();
  Context context;
  const auto reader = stub->Generate(&context, v1::GenerateRequest());
  EXPECT_EQ(ReadMessages(*reader, 0, 1), 0);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(ForwardingTest, AReaderThatLagsStallsTheWorkersStream) {
  constexpr int64_t kCount = 2000;
  constexpr int64_t kBytes = 64 << 10;
  worker_.Play({.message_count = kCount, .message = MessagesOf(kBytes)});
  const auto slow_stub = NewInference();
  Context slow_context;
  const auto slow = slow_stub->Generate(&slow_context, v1::GenerateRequest());
  const auto slow_call = worker_.AwaitCall(0);

  // Another stream is not held up, and gives the slow one time to run ahead.
  const auto stub = NewInference();
  Context context;
  const auto reader = stub->Generate(&context, v1::GenerateRequest());
  EXPECT_EQ(ReadMessages(*reader, kBytes, kCount + 1), kCount);
  EXPECT_TRUE(reader->Finish().ok());

  // What the transport's windows hold on both ways, and one message between.
  EXPECT_LT(slow_call->written_count, kCount / 4);
  EXPECT_EQ(ReadMessages(*slow, kBytes, kCount + 1), kCount);
  EXPECT_TRUE(slow->Finish().ok());
  EXPECT_EQ(slow_call->written_count, kCount);
}

TEST_F(ForwardingTest, CancellationReachesAWorkerThatComputes) {
  worker_.Play(
      {.message_count = 1, .message = MessagesOf(10), .stays_open = true});
  const auto stub = NewInference();
  Context context;
  const auto reader = stub->Generate(&context, v1::GenerateRequest());
  EXPECT_EQ(ReadMessages(*reader, 10, 1), 1);
  context.TryCancel();
  worker_.AwaitCall(0)->is_cancelled.WaitForNotification();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(ForwardingTest, CancellationReachesAWorkerThatIsStalled) {
  worker_.Play({.message_count = 1'000'000, .message = MessagesOf(64 << 10)});
  const auto stub = NewInference();
  Context context;
  const auto reader = stub->Generate(&context, v1::GenerateRequest());
  const auto call = worker_.AwaitCall(0);
  context.TryCancel();
  call->is_cancelled.WaitForNotification();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_LT(call->written_count, 1'000'000);
}

TEST_F(ForwardingTest, TheDeadlineGoesWithTheCall) {
  worker_.Play({.message_count = 0});
  const auto stub = NewInference();
  Context without;
  EXPECT_TRUE(stub->Generate(&without, v1::GenerateRequest())->Finish().ok());
  EXPECT_FALSE(worker_.AwaitCall(0)->has_deadline);
  Context with;
  with.set_deadline(std::chrono::system_clock::now() + std::chrono::hours(1));
  EXPECT_TRUE(stub->Generate(&with, v1::GenerateRequest())->Finish().ok());
  EXPECT_TRUE(worker_.AwaitCall(1)->has_deadline);
}

TEST_F(ForwardingTest, TheWorkersErrorComesAfterItsMessagesWithItsDetails) {
  const grpc::Status error(grpc::StatusCode::RESOURCE_EXHAUSTED, "too long",
                           std::string("\x08\x08\x12\0x", 5));
  worker_.Play({.message_count = 17, .message = MessagesOf(100), .end = error});
  const auto stub = NewInference();
  Context context;
  const auto reader = stub->Generate(&context, v1::GenerateRequest());
  EXPECT_EQ(ReadMessages(*reader, 100, 18), 17);
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), error.error_code());
  EXPECT_EQ(status.error_message(), error.error_message());
  EXPECT_EQ(status.error_details(), error.error_details());
}

TEST_F(ForwardingTest, AWorkerLostAmidAStreamIsUnavailable) {
  worker_.Play(
      {.message_count = 5, .message = MessagesOf(100), .stays_open = true});
  const auto stub = NewInference();
  Context context;
  const auto reader = stub->Generate(&context, v1::GenerateRequest());
  EXPECT_EQ(ReadMessages(*reader, 100, 5), 5);
  worker_.Kill();
  EXPECT_EQ(ReadMessages(*reader, 100, 1), 0);
  ExpectLost(reader->Finish());
}

TEST_F(ForwardingTest, AWorkerLostWhileTheReaderLagsIsUnavailable) {
  constexpr int64_t kCount = 100'000;
  worker_.Play({.message_count = kCount, .message = MessagesOf(64 << 10)});
  const auto stub = NewInference();
  Context context;
  const auto reader = stub->Generate(&context, v1::GenerateRequest());
  EXPECT_EQ(ReadMessages(*reader, 64 << 10, 1), 1);
  worker_.Kill();
  v1::GenerateResponse message;
  int64_t count = 1;
  while (reader->Read(&message)) ++count;
  EXPECT_LT(count, kCount);
  ExpectLost(reader->Finish());
}

TEST_F(ForwardingTest, WithoutAWorkerEveryCallIsUnavailable) {
  route_.Set(0, nullptr);
  const auto channel = Connect();
  const auto inference = v1::Inference::NewStub(channel);
  const auto views = v1::Interpretability::NewStub(channel);
  Context contexts[6];
  v1::ScoreResponse score;
  ExpectLost(inference->Score(&contexts[0], v1::ScoreRequest(), &score));
  ExpectLost(
      inference->Generate(&contexts[1], v1::GenerateRequest())->Finish());
  ExpectLost(
      views->StreamActivations(&contexts[2], v1::StreamActivationsRequest())
          ->Finish());
  ExpectLost(views->LogitLens(&contexts[3], v1::LogitLensRequest())->Finish());
  ExpectLost(views->CompareVariants(&contexts[4], v1::CompareVariantsRequest())
                 ->Finish());
  v1::PatchResponse patch;
  ExpectLost(views->Patch(&contexts[5], v1::PatchRequest(), &patch));
}

std::function<std::string(int64_t)> Always(
    const google::protobuf::MessageLite& message) {
  return [bytes = message.SerializeAsString()](int64_t) { return bytes; };
}

// Of a stream that has one.
template <typename Response>
Response OnlyMessage(std::unique_ptr<grpc::ClientReader<Response>> reader) {
  Response message;
  Response second;
  EXPECT_TRUE(reader->Read(&message));
  EXPECT_FALSE(reader->Read(&second));
  EXPECT_TRUE(reader->Finish().ok());
  return message;
}

TEST_F(ForwardingTest, EachViewIsAskedOfTheWorkerByItsName) {
  const auto stub = v1::Interpretability::NewStub(Connect());
  Context contexts[4];

  v1::StreamActivationsResponse chunk;
  chunk.set_cursor("next");
  worker_.Play({.message = Always(chunk)});
  const auto chunks = OnlyMessage(
      stub->StreamActivations(&contexts[0], v1::StreamActivationsRequest()));
  EXPECT_EQ(chunks.cursor(), "next");

  v1::LogitLensResponse lens;
  lens.mutable_position()->set_breaking_block(3);
  worker_.Play({.message = Always(lens)});
  const auto lenses =
      OnlyMessage(stub->LogitLens(&contexts[1], v1::LogitLensRequest()));
  EXPECT_EQ(lenses.position().breaking_block(), 3);

  v1::CompareVariantsResponse compared;
  compared.mutable_position()->add_readings()->set_kl(0.5);
  worker_.Play({.message = Always(compared)});
  const auto all = OnlyMessage(
      stub->CompareVariants(&contexts[2], v1::CompareVariantsRequest()));
  EXPECT_EQ(all.position().readings(0).kl(), 0.5);

  v1::PatchResponse patch;
  patch.add_results()->set_position(7);
  worker_.Play({.message = Always(patch)});
  v1::PatchResponse patched;
  EXPECT_TRUE(stub->Patch(&contexts[3], v1::PatchRequest(), &patched).ok());
  EXPECT_EQ(patched.results(0).position(), 7);

  const char* const methods[] = {"StreamActivations", "LogitLens",
                                 "CompareVariants", "Patch"};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(worker_.AwaitCall(i)->method,
              absl::StrCat("/dissonance.v1.Interpretability/", methods[i]));
  }
}

TEST_F(ForwardingTest, AClientsMetadataIsNotPassedOn) {
  const auto stub = NewInference();
  Context contexts[2];
  for (Context& context : contexts) {
    context.AddMetadata(kPriorityKey, kJobPriority);
  }
  OnlyMessage(stub->Generate(&contexts[0], v1::GenerateRequest()));
  v1::ScoreResponse score;
  EXPECT_TRUE(stub->Score(&contexts[1], v1::ScoreRequest(), &score).ok());
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(worker_.AwaitCall(i)->metadata,
                Not(Contains(Key("authorization"))));
    EXPECT_THAT(worker_.AwaitCall(i)->metadata,
                Not(Contains(Key(kPriorityKey))));
  }
}

// What a call that half-closes without a message ends with.
grpc::Status CallWithoutRequest(const std::shared_ptr<grpc::Channel>& channel,
                                const std::string& method) {
  class Empty final
      : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
   public:
    void OnDone(const grpc::Status& status) override {
      status_ = status;
      is_done_.Notify();
    }
    grpc::Status Await() {
      is_done_.WaitForNotification();
      return status_;
    }

   private:
    grpc::Status status_;
    absl::Notification is_done_;
  };
  Empty call;
  Context context;
  grpc::GenericStub(channel).PrepareBidiStreamingCall(
      &context, method, grpc::StubOptions(), &call);
  call.StartWritesDone();
  call.StartCall();
  return call.Await();
}

TEST_F(ForwardingTest, ACallWithoutARequestIsRefused) {
  const auto channel = Connect();
  for (const char* method : {"/dissonance.v1.Inference/Score",
                             "/dissonance.v1.Inference/Generate"}) {
    const grpc::Status status = CallWithoutRequest(channel, method);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("no request message"));
  }
}

// For the sanitizers: ends of both sides in every order.
TEST_F(ForwardingTest, StreamsCancelledAnywhereAllEnd) {
  constexpr int64_t kBytes = 1000;
  worker_.Play({.message_count = 20, .message = MessagesOf(kBytes)});
  const auto stub = NewInference();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&stub, t] {
      for (int i = 0; i < 50; ++i) {
        Context context;
        const auto reader = stub->Generate(&context, v1::GenerateRequest());
        const int64_t limit = (t + i * 5) % 22;
        const int64_t count = ReadMessages(*reader, kBytes, limit);
        EXPECT_EQ(count, std::min<int64_t>(limit, 20));
        context.TryCancel();
        const grpc::Status status = reader->Finish();
        EXPECT_TRUE(status.ok() ||
                    status.error_code() == grpc::StatusCode::CANCELLED)
            << status.error_message();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace dissonance
