// The forwarded services between a real client and a scripted worker.
#include "server/control/forwarding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/interpretability.grpc.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/server_builder.h"
#include "src/base/call_priority.h"
#include "tests/server/control/scripted_worker.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using Reader = grpc::ClientReader<v1::GenerateResponse>;

constexpr int kMaxMessageBytes = ScriptedWorker::kMaxMessageBytes;

// Message i of about `bytes` bytes, all of which depend on i.
v1::GenerateResponse Message(int64_t i, int64_t bytes) {
  v1::GenerateResponse message;
  message.set_input_index(static_cast<int>(i));
  std::string& text = *message.mutable_delta()->mutable_text();
  text.reserve(bytes);
  for (int64_t k = 0; k < bytes; ++k) {
    text.push_back(static_cast<char>('a' + (i + k) % 23));
  }
  return message;
}

std::function<std::string(int64_t)> MessagesOf(int64_t bytes) {
  return [bytes](int64_t i) { return Message(i, bytes).SerializeAsString(); };
}

// With a token of the fixture that was made last.
class Context : public grpc::ClientContext {
 public:
  Context() { AddMetadata("authorization", "Bearer " + secret); }

  static std::string secret;
};
std::string Context::secret;

class ForwardingTest : public ::testing::Test {
 protected:
  ForwardingTest() {
    EXPECT_TRUE(users_.Create("ada", v1::Quota(), absl::Now()).ok());
    const auto token = tokens_.Create({.user = "ada"});
    token_ = token->token.name();
    Context::secret = token->secret;
    AddModel("models/x", "users/ada");
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
    builder.SetMaxSendMessageSize(kMaxMessageBytes);
    builder.RegisterService(inference_.get());
    builder.RegisterService(interpretability_.get());
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
    route_.Set(worker_.channel());
  }
  ~ForwardingTest() override {
    server_->Shutdown(std::chrono::system_clock::now());
  }

  // Over a connection of its own.
  std::shared_ptr<grpc::Channel> Connect() const {
    return OpenWorkerChannel(address_, kMaxMessageBytes);
  }
  std::unique_ptr<v1::Inference::Stub> NewInference() const {
    return v1::Inference::NewStub(Connect());
  }

  void AddModel(const std::string& name, const std::string& owner,
                v1::Visibility visibility = v1::VISIBILITY_PRIVATE) {
    StoredModel stored;
    stored.model.set_name(name);
    stored.model.set_owner(owner);
    stored.model.set_visibility(visibility);
    EXPECT_TRUE(models_.PutModel(stored).ok());
  }

  ScriptedWorker worker_;
  WorkerRoute route_;
  const TempFolder folder_;
  const std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = folder_.path()});
  UserStore users_{*database_};
  TokenStore tokens_{*database_, Clock::Real()};
  ModelStore models_{*database_};
  const ModelAccess access_{models_};
  DeviceMeter meter_{Clock::Real()};
  const std::unique_ptr<UsageLedger> ledger_ =
      *UsageLedger::Load(users_, Clock::Real(), absl::Hours(1));
  QuotaConfig quota_config_ = {.device_seconds_per_week = 1e6};
  const Quotas quotas_{users_, quota_config_};
  OpenCalls streams_;
  const ForwardingParts parts_ = {.route = route_,
                                  .access = access_,
                                  .tokens = tokens_,
                                  .meter = meter_,
                                  .ledger = *ledger_,
                                  .quotas = quotas_,
                                  .streams = streams_};
  std::string token_;
  const std::unique_ptr<grpc::Service> inference_ =
      MakeForwardedInference(parts_);
  const std::unique_ptr<grpc::Service> interpretability_ =
      MakeForwardedInterpretability(parts_);
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

// How many messages come, each checked to be Message(i, bytes), until the
// stream's end or `limit`.
int64_t ReadMessages(Reader& reader, int64_t bytes, int64_t limit) {
  v1::GenerateResponse message;
  int64_t count = 0;
  while (count < limit && reader.Read(&message)) {
    if (message.SerializeAsString() !=
        Message(count, bytes).SerializeAsString()) {
      ADD_FAILURE() << "message " << count << " is another one";
      break;
    }
    ++count;
  }
  return count;
}

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
  route_.Set(nullptr);
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
