// Trainings over a real socket, with a worker that a test plays.
#include "server/control/worker_training.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "dissonance/internal/v1/training.grpc.pb.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "src/base/call_priority.h"
#include "tests/testing/hand_clock.h"

namespace dissonance {
namespace {

using internal::v1::Training;
using internal::v1::TrainingSnapshot;
using internal::v1::TrainRequest;
using internal::v1::TrainResponse;
using ::testing::HasSubstr;

class PlayedWorker final : public Training::Service {
 public:
  using Stream = grpc::ServerReaderWriter<TrainResponse, TrainRequest>;

  PlayedWorker() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    connection_ =
        WorkerConnection::Open(absl::StrCat("127.0.0.1:", port), 64 << 20);
  }
  ~PlayedWorker() override { Kill(); }

  grpc::Status Train(grpc::ServerContext* context, Stream* stream) override {
    const auto priority = context->client_metadata().find(kPriorityKey);
    is_job = priority != context->client_metadata().end() &&
             priority->second == kJobPriority;
    return play(*stream);
  }
  void Kill() {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }
  const std::shared_ptr<WorkerConnection>& connection() const {
    return connection_;
  }

  std::function<grpc::Status(Stream&)> play;
  bool is_job = false;

 private:
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<WorkerConnection> connection_;
};

// Also that the call was cancelled.
void AwaitCallersEnd(PlayedWorker::Stream& stream) {
  TrainRequest request;
  while (stream.Read(&request)) {
  }
}

TrainResponse StepOf(int64_t step) {
  TrainResponse response;
  response.mutable_step()->set_step(step);
  response.mutable_step()->set_token_count(100);
  return response;
}

TrainRequest Start() {
  TrainRequest request;
  request.mutable_start();
  return request;
}

class WorkerTrainingTest : public ::testing::Test {
 protected:
  WorkerTrainingTest() { route_.Set(0, worker_.connection()); }

  std::unique_ptr<TrainingSession> Train() {
    internal::v1::TrainBegin begin;
    begin.set_model("models/m");
    auto session = training_.Train(begin, {.spend = &spend_});
    EXPECT_TRUE(session.ok()) << session.status();
    return *std::move(session);
  }
  // The next message, its end, or what it ended with.
  static absl::StatusOr<ReceivedMessage> Next(TrainingSession& session) {
    return session.Receive(absl::Seconds(60));
  }

  // Outlives the worker, where a call may begin after its caller has left.
  absl::Notification done_;
  PlayedWorker worker_;
  HandClock clock_;
  WorkerRoute route_{/*worker_count=*/1, clock_};
  DeviceSpend spend_;
  WorkerTraining training_{route_};
};

TEST_F(WorkerTrainingTest, MessagesGoBothWaysAndTheEndIsTold) {
  std::vector<TrainRequest> requests;
  worker_.play = [&](PlayedWorker::Stream& stream) {
    TrainRequest request;
    while (!request.has_start() && stream.Read(&request)) {
      requests.push_back(request);
    }
    for (int64_t step = 1; step <= 3; ++step) stream.Write(StepOf(step));
    return grpc::Status::OK;
  };
  const auto session = Train();
  clock_.Advance(absl::Seconds(3));
  ASSERT_TRUE(session->Send(Start(), {}).ok());
  for (int64_t step = 1; step <= 3; ++step) {
    const auto received = Next(*session);
    ASSERT_TRUE(received.ok()) << received.status();
    EXPECT_EQ(received->message->step().step(), step);
  }
  const auto end = Next(*session);
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_TRUE(end->ended);
  EXPECT_EQ(requests.size(), 2U);
  EXPECT_TRUE(worker_.is_job);
  const DeviceSpend::Amount spent = spend_.Take();
  EXPECT_EQ(spent.token_count, 300);
  EXPECT_EQ(spent.device_seconds, 3);
}

TEST_F(WorkerTrainingTest, NothingInTimeIsNoMessage) {
  worker_.play = [&](auto&) {
    done_.WaitForNotification();
    return grpc::Status::OK;
  };
  const auto session = Train();
  const auto received = session->Receive(absl::Milliseconds(1));
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_FALSE(received->message.has_value() || received->ended);
  done_.Notify();
}

TEST_F(WorkerTrainingTest, ARefusalIsToldToWhoeverSendsOrReceives) {
  worker_.play = [](PlayedWorker::Stream& stream) {
    TrainRequest begin;
    stream.Read(&begin);
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "lora.rank: 0");
  };
  const auto session = Train();
  absl::Status status;
  for (int i = 0; i < 1000 && status.ok(); ++i) {
    TrainRequest request;
    request.set_checkpoint(std::string(1 << 16, 'x'));
    status = session->Send(request, {});
  }
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(status.message(), "lora.rank: 0");
  EXPECT_EQ(Next(*session).status(), status);
  EXPECT_EQ(session->Send(Start(), {}), status);
}

TEST_F(WorkerTrainingTest, ALostWorkerIsUnavailable) {
  absl::Notification begun;
  worker_.play = [&](PlayedWorker::Stream& stream) {
    begun.Notify();
    AwaitCallersEnd(stream);
    return grpc::Status::OK;
  };
  const auto session = Train();
  begun.WaitForNotification();
  worker_.Kill();
  EXPECT_TRUE(absl::IsUnavailable(Next(*session).status()));
  route_.Set(0, nullptr);
  EXPECT_TRUE(absl::IsUnavailable(training_.Train({}, {}).status()));
}

TEST_F(WorkerTrainingTest, AnEndedSessionStopsTheWorker) {
  absl::Notification begun;
  absl::Notification stopped;
  worker_.play = [&](PlayedWorker::Stream& stream) {
    begun.Notify();
    AwaitCallersEnd(stream);
    stopped.Notify();
    return grpc::Status::OK;
  };
  auto session = Train();
  begun.WaitForNotification();
  session.reset();
  stopped.WaitForNotification();
}

TEST_F(WorkerTrainingTest, AWorkerThatTakesNothingIsGivenUpWhenCancelled) {
  worker_.play = [&](auto&) {
    done_.WaitForNotification();
    return grpc::Status::OK;
  };
  const auto session = Train();
  TrainRequest request;
  request.set_checkpoint(std::string(32 << 20, 'x'));
  int asked = 0;
  const absl::Status status =
      session->Send(request, {.cancelled = [&asked] { return ++asked > 2; }});
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  done_.Notify();
}

TEST_F(WorkerTrainingTest, AWorkerThatTakesNothingIsGivenUpInTime) {
  worker_.play = [&](auto&) {
    done_.WaitForNotification();
    return grpc::Status::OK;
  };
  const auto session = Train();
  TrainRequest request;
  request.set_checkpoint(std::string(32 << 20, 'x'));
  const absl::Status status =
      session->Send(request, {.timeout = absl::Milliseconds(50)});
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  done_.Notify();
}

TEST_F(WorkerTrainingTest, AnEvaluationIsNotChargedTwice) {
  worker_.play = [&](PlayedWorker::Stream& stream) {
    TrainResponse response;
    response.mutable_snapshot()->set_kind(TrainingSnapshot::KIND_EVALUATION);
    stream.Write(response);
    TrainRequest request;
    while (!request.has_go_on() && stream.Read(&request)) {
    }
    stream.Write(StepOf(1));
    return grpc::Status::OK;
  };
  const auto session = Train();
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(Next(*session).ok());
  EXPECT_EQ(spend_.Take().device_seconds, 1);
  // Alone on the device while the training waits.
  const DeviceMeter::Call evaluation(*route_.For(NamedModels()).meter);
  clock_.Advance(absl::Seconds(4));
  EXPECT_EQ(evaluation.Seconds(), 4);
  TrainRequest go_on;
  go_on.mutable_go_on();
  ASSERT_TRUE(session->Send(go_on, {}).ok());
  clock_.Advance(absl::Seconds(2));
  ASSERT_TRUE(Next(*session).ok());
  EXPECT_EQ(spend_.Take().device_seconds, 1);
}

}  // namespace
}  // namespace dissonance
