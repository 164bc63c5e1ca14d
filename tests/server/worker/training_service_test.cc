// Train over a real connection, in the engine that also serves requests.
#include "server/worker/training_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "tests/testing/compute_goldens.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using internal::v1::SnapshotChunk;
using internal::v1::TrainingEnd;
using internal::v1::TrainingSnapshot;
using internal::v1::TrainRequest;
using internal::v1::TrainResponse;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr char kEvaluated[] = "models/m/adapters/~01JOB";

class TrainingServiceTest : public testing::Test {
 protected:
  using Stream = grpc::ClientReaderWriter<TrainRequest, TrainResponse>;

  // What a call sent, until its end.
  struct Outcome {
    internal::v1::TrainingPlan plan;
    std::map<int64_t, double> losses;  // by step
    std::vector<int64_t> validated;
    std::vector<int64_t> evaluated;
    std::vector<int64_t> checkpoints;
    std::map<SnapshotChunk::File, std::string> files;  // the latest of each
    int chunk_count = 0;
    TrainingEnd end;
    grpc::Status status;
  };
  // Is told of each snapshot to evaluate. Returns whether to go on; else the
  // training is stopped.
  using OnEvaluation = std::function<bool(int64_t step)>;

  TrainingServiceTest() : registry_(at::kCPU), engine_({}) {
    EXPECT_TRUE(registry_
                    .LoadModel("models/m",
                               DISSONANCE_SOURCE_DIR
                               "/tests/goldens/e2e_chat/model",
                               {})
                    .ok());
    engine_.Start();
    Serve({.limit_bytes = int64_t{1} << 30, .scratch_folder = folder_.path()});
  }
  ~TrainingServiceTest() override { Shutdown(); }

  void Shutdown() {
    if (server_ != nullptr) server_->Shutdown();
    server_ = nullptr;
    EXPECT_THAT(folder_.Names(), ElementsAre());
  }

  void Serve(const TrainingService::Options& options) {
    server_ = nullptr;
    service_ = std::make_unique<TrainingService>(registry_, engine_, options);
    const std::string address = absl::StrCat("unix:", socket_.File("s"));
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    stub_ = internal::v1::Training::NewStub(
        grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  }

  // 12 steps, with states of some chunks.
  static internal::v1::TrainBegin Usual() {
    internal::v1::TrainBegin begin;
    begin.set_model("models/m");
    begin.mutable_lora()->set_rank(256);
    begin.mutable_lora()->add_target_modules("all-linear");
    begin.mutable_training()->set_micro_batch_size(2);
    begin.mutable_training()->set_accumulation_count(2);
    begin.mutable_training()->set_epoch_count(4);
    begin.set_evaluation_adapter(kEvaluated);
    return begin;
  }

  static void SendBegin(Stream& stream, const internal::v1::TrainBegin& begin,
                        const std::string& checkpoint) {
    TrainRequest request;
    *request.mutable_begin() = begin;
    stream.Write(request);
    for (int i = 0; i < 12; ++i) {
      auto& document = *request.mutable_documents()->add_documents();
      document.set_line(i + 1);
      document.set_content(absl::StrCat("fact ", i, " is ", i * i * 7919));
    }
    stream.Write(request);
    for (size_t at = 0; at < checkpoint.size(); at += 1 << 20) {
      request.set_checkpoint(checkpoint.substr(at, 1 << 20));
      stream.Write(request);
    }
    request.mutable_start();
    stream.Write(request);
  }

  static void Collect(const TrainResponse& response, Outcome& out) {
    if (response.has_plan()) out.plan = response.plan();
    if (response.has_step()) {
      out.losses[response.step().step()] = response.step().loss();
      EXPECT_GT(response.step().seconds(), 0.0);
      EXPECT_GT(response.step().peak_bytes(), 0);
    }
    if (response.has_validation()) {
      out.validated.push_back(response.validation().step());
    }
    if (response.has_snapshot()) {
      const int64_t step = response.snapshot().step();
      const auto kind = response.snapshot().kind();
      if (kind == TrainingSnapshot::KIND_EVALUATION) {
        out.evaluated.push_back(step);
      } else {
        out.files.clear();
      }
      if (kind == TrainingSnapshot::KIND_CHECKPOINT) {
        out.checkpoints.push_back(step);
      }
    }
    if (response.has_chunk()) {
      out.files[response.chunk().file()] += response.chunk().data();
      ++out.chunk_count;
    }
    if (response.has_end()) out.end = response.end();
  }

  Outcome Train(
      const internal::v1::TrainBegin& begin, const std::string& checkpoint = "",
      const OnEvaluation& on_evaluation = [](int64_t) { return true; }) {
    grpc::ClientContext context;
    const auto stream = stub_->Train(&context);
    SendBegin(*stream, begin, checkpoint);
    Outcome out;
    TrainResponse response;
    while (stream->Read(&response)) {
      Collect(response, out);
      if (response.snapshot().kind() != TrainingSnapshot::KIND_EVALUATION) {
        continue;
      }
      TrainRequest answer;
      if (!on_evaluation(response.snapshot().step())) {
        answer.mutable_stop();
        stream->Write(answer);
      }
      // Behind a stop it is of no account.
      answer.mutable_go_on();
      stream->Write(answer);
    }
    out.status = stream->Finish();
    return out;
  }

  TempFolder folder_;
  TempFolder socket_;
  ModelRegistry registry_;
  Engine engine_;
  std::unique_ptr<TrainingService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<internal::v1::Training::Stub> stub_;
};

TEST_F(TrainingServiceTest, StoppedAndGoneOnItComesToTheSameBytes) {
  internal::v1::TrainBegin begin = Usual();
  begin.set_checkpoint_step_count(5);
  begin.set_evaluates(true);
  begin.set_evaluation_step_count(3);
  begin.mutable_training()->set_validation_fraction(0.2);
  const Outcome whole = Train(begin);
  ASSERT_TRUE(whole.status.ok()) << whole.status.error_message();
  EXPECT_EQ(whole.plan.step_count(), 12);
  EXPECT_EQ(whole.losses.size(), 12u);
  EXPECT_THAT(whole.validated, ElementsAre(3, 6, 9, 12));
  EXPECT_THAT(whole.evaluated, ElementsAre(0, 3, 6, 9, 12));
  EXPECT_THAT(whole.checkpoints, ElementsAre(5, 10));
  EXPECT_EQ(whole.end.reason(), TrainingEnd::REASON_FINISHED);
  EXPECT_EQ(whole.end.step(), 12);
  ASSERT_EQ(whole.files.size(), 1u);
  EXPECT_GT(whole.chunk_count, 5);

  const Outcome stopped =
      Train(begin, "", [](int64_t step) { return step < 3; });
  ASSERT_TRUE(stopped.status.ok()) << stopped.status.error_message();
  EXPECT_EQ(stopped.end.reason(), TrainingEnd::REASON_STOPPED);
  EXPECT_THAT(stopped.checkpoints, ElementsAre(3));
  ASSERT_EQ(stopped.files.size(), 2u);

  const Outcome resumed =
      Train(begin, stopped.files.at(SnapshotChunk::FILE_STATE));
  ASSERT_TRUE(resumed.status.ok()) << resumed.status.error_message();
  EXPECT_EQ(resumed.plan.start_step(), 3);
  EXPECT_EQ(resumed.plan.digest(), whole.plan.digest());
  EXPECT_THAT(resumed.evaluated, ElementsAre(3, 6, 9, 12));
  std::map<int64_t, double> losses = stopped.losses;
  losses.insert(resumed.losses.begin(), resumed.losses.end());
  EXPECT_EQ(losses, whole.losses);
  EXPECT_TRUE(resumed.files.at(SnapshotChunk::FILE_ADAPTER_WEIGHTS) ==
              whole.files.at(SnapshotChunk::FILE_ADAPTER_WEIGHTS));
}

TEST_F(TrainingServiceTest, ACheckpointOfAnotherTrainingIsRefused) {
  internal::v1::TrainBegin begin = Usual();
  begin.set_evaluates(true);
  const Outcome stopped = Train(begin, "", [](int64_t) { return false; });
  ASSERT_TRUE(stopped.status.ok()) << stopped.status.error_message();
  EXPECT_THAT(stopped.checkpoints, ElementsAre(0));
  begin.mutable_training()->set_seed(7);
  const Outcome other =
      Train(begin, stopped.files.at(SnapshotChunk::FILE_STATE));
  EXPECT_EQ(other.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_TRUE(other.losses.empty());
}

TEST_F(TrainingServiceTest, WeightsAreResidentWhileTheyAreEvaluated) {
  internal::v1::TrainBegin begin = Usual();
  begin.set_evaluates(true);
  begin.set_evaluation_step_count(6);
  const auto model = registry_.GetModel("models/m");
  ASSERT_TRUE(model.ok());
  std::vector<std::string> digests;
  const Outcome out = Train(begin, "", [&](int64_t) {
    const auto adapter = registry_.GetAdapter(kEvaluated);
    EXPECT_TRUE(adapter.ok()) << adapter.status();
    if (adapter.ok()) digests.push_back(adapter->adapter->digest());
    EXPECT_TRUE(registry_.ListAdapters("models/m").empty());
    return true;
  });
  ASSERT_TRUE(out.status.ok()) << out.status.error_message();
  EXPECT_THAT(out.evaluated, ElementsAre(0, 6, 12));
  ASSERT_EQ(digests.size(), 3u);
  EXPECT_NE(digests[0], digests[1]);
  EXPECT_NE(digests[1], digests[2]);
  EXPECT_TRUE(absl::IsNotFound(registry_.GetAdapter(kEvaluated).status()));
}

TEST_F(TrainingServiceTest, NothingComputedBesideItChangesABit) {
  const auto model = registry_.GetModel("models/m");
  ASSERT_TRUE(model.ok());
  const GenerateTask task{.prompt = {523, 39, 308, 75}, .max_new_tokens = 12};
  const auto generate = [&] {
    struct Waiting final : GenerateListener {
      bool OnToken(GeneratedToken token) override {
        tokens.emplace_back(token.token, token.logprob);
        return true;
      }
      void OnEnd(absl::StatusOr<FinishReason>) override { ended.Notify(); }
      std::vector<std::pair<int32_t, double>> tokens;
      absl::Notification ended;
    };
    auto listener = std::make_shared<Waiting>();
    EXPECT_TRUE(
        engine_.SubmitGenerate({.model = model->model}, task, listener).ok());
    listener->ended.WaitForNotification();
    return listener->tokens;
  };
  const Outcome alone = Train(Usual());
  const auto idle = generate();
  Outcome beside;
  std::atomic<bool> is_over = false;
  std::thread training([&] {
    beside = Train(Usual());
    is_over = true;
  });
  int count = 0;
  for (; !is_over || count == 0; ++count) EXPECT_EQ(generate(), idle);
  training.join();
  ASSERT_TRUE(beside.status.ok()) << beside.status.error_message();
  EXPECT_EQ(beside.losses, alone.losses);
  EXPECT_TRUE(beside.files == alone.files);
}

TEST_F(TrainingServiceTest, MemoryComesBackWhenTheCallerGoesAway) {
  // As much as one training takes.
  internal::v1::TrainBegin begin = Usual();
  begin.set_plan_only(true);
  const Outcome planned = Train(begin);
  ASSERT_TRUE(planned.status.ok()) << planned.status.error_message();
  EXPECT_TRUE(planned.losses.empty());
  EXPECT_EQ(planned.end.reason(), TrainingEnd::REASON_UNSPECIFIED);
  Shutdown();
  Serve({.limit_bytes =
             planned.plan.state_bytes() + planned.plan.activation_bytes(),
         .scratch_folder = folder_.path()});
  begin = Usual();
  begin.set_evaluates(true);
  grpc::ClientContext context;
  const auto stream = stub_->Train(&context);
  SendBegin(*stream, begin, "");
  TrainResponse response;
  while (!response.has_snapshot()) ASSERT_TRUE(stream->Read(&response));
  const Outcome refused = Train(Usual());
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("1 other trainings"));
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  while (service_->counts().training_count > 0) std::this_thread::yield();
  EXPECT_TRUE(absl::IsNotFound(registry_.GetAdapter(kEvaluated).status()));
  const Outcome admitted = Train(Usual());
  EXPECT_TRUE(admitted.status.ok()) << admitted.status.error_message();
  EXPECT_EQ(service_->counts().step_count, 12);
}

TEST_F(TrainingServiceTest, SaysWhatWasExpectedOfAMessageOutOfOrder) {
  const auto send = [this](const std::vector<TrainRequest>& requests) {
    grpc::ClientContext context;
    const auto stream = stub_->Train(&context);
    for (const TrainRequest& request : requests) stream->Write(request);
    stream->WritesDone();
    TrainResponse response;
    while (stream->Read(&response)) {
    }
    return stream->Finish();
  };
  TrainRequest start;
  start.mutable_start();
  grpc::Status status = send({start});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "Train: expected begin first, found start");
  status = send({});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("expected start, found the "
                                                "end of the caller's"));
}

TEST_F(TrainingServiceTest, ACallerThatClosesBeforeAnAnswerIsToldSo) {
  internal::v1::TrainBegin begin = Usual();
  begin.set_evaluates(true);
  grpc::ClientContext context;
  const auto stream = stub_->Train(&context);
  SendBegin(*stream, begin, "");
  stream->WritesDone();
  TrainResponse response;
  while (stream->Read(&response)) {
  }
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("expected go_on"));
}

TEST_F(TrainingServiceTest, GoOnThatNothingAwaitsEndsTheTraining) {
  grpc::ClientContext context;
  const auto stream = stub_->Train(&context);
  internal::v1::TrainBegin begin = Usual();
  begin.mutable_training()->set_epoch_count(10000);
  SendBegin(*stream, begin, "");
  TrainRequest go_on;
  go_on.mutable_go_on();
  stream->Write(go_on);
  TrainResponse response;
  while (stream->Read(&response)) {
  }
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("no snapshot awaits it"));
}

TEST_F(TrainingServiceTest, SaysWhenSnapshotsCannotBeWritten) {
  Serve({.limit_bytes = int64_t{1} << 30,
         .scratch_folder = folder_.File("nowhere")});
  const Outcome out = Train(Usual());
  EXPECT_FALSE(out.status.ok());
  EXPECT_THAT(out.status.error_message(), HasSubstr("writing a snapshot"));
  EXPECT_THAT(out.files,
              ElementsAre(Pair(SnapshotChunk::FILE_ADAPTER_WEIGHTS, "")));
  EXPECT_EQ(out.losses.size(), 12u);
}

}  // namespace
}  // namespace dissonance
