// What happens when processes die, hang, or are started wrongly.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "grpcpp/create_channel.h"
#include "src/base/file.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/http_client.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;

// Prompts of the tiny model; 10,000 take tens of seconds of one processor.
v1::ScoreRequest PromptsToScore(int count) {
  v1::ScoreRequest request;
  request.add_variants()->set_model(kTinyModel);
  for (int i = 0; i < count; ++i) {
    v1::ScoreItem& item = *request.add_items();
    for (int t = 0; t < 100; ++t) {
      item.mutable_prompt()->mutable_tokens()->add_ids((i + t) % 200);
    }
    item.add_continuations()->mutable_tokens()->add_ids(5);
  }
  return request;
}

// Processor time of a process so far.
absl::Duration CpuTime(pid_t pid) {
  const std::string text =
      ReadFile(absl::StrCat("/proc/", pid, "/stat"), 4096).value_or("");
  // After the program's name in brackets: utime and stime are fields 14, 15.
  const std::vector<std::string> fields =
      absl::StrSplit(text.substr(text.rfind(')') + 1), ' ');
  int64_t user = 0;
  int64_t system = 0;
  if (fields.size() < 14 || !absl::SimpleAtoi(fields[12], &user) ||
      !absl::SimpleAtoi(fields[13], &system)) {
    return absl::ZeroDuration();
  }
  return absl::Seconds(user + system) / ::sysconf(_SC_CLK_TCK);
}

// A long Score in flight, which the worker is in the middle of.
class ScoreInFlight {
 public:
  ScoreInFlight(ServerProcess& server, int prompt_count)
      : context_(server.NewContext()), stub_(server.NewStub<v1::Inference>()) {
    const pid_t worker = server.WorkerPid();
    const absl::Duration before = CpuTime(worker);
    thread_ = std::thread([this, prompt_count] {
      status_ = stub_->Score(context_.get(), PromptsToScore(prompt_count),
                             &response_);
      done_.Notify();
    });
    // More than it takes to read the request.
    while (CpuTime(worker) - before < absl::Milliseconds(500)) {
      if (done_.WaitForNotificationWithTimeout(absl::Milliseconds(5))) break;
    }
  }
  ~ScoreInFlight() {
    if (thread_.joinable()) thread_.join();
  }
  void Cancel() { context_->TryCancel(); }
  grpc::Status End() {
    thread_.join();
    return status_;
  }

 private:
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<v1::Inference::Stub> stub_;
  v1::ScoreResponse response_;
  grpc::Status status_;
  absl::Notification done_;
  std::thread thread_;
};

TEST(WorkerFaultsTest, AKilledWorkerComesBackWithItsModels) {
  const TempFolder folder;
  ServerProcess server({.data_dir = folder.path()});
  ASSERT_TRUE(server.AwaitServing());
  ASSERT_TRUE(LoadTinyWorld(server).ok());
  const absl::StatusOr<v1::ScoreResponse> before =
      Score(server, PromptsToScore(1));
  ASSERT_TRUE(before.ok()) << before.status();
  const pid_t worker = server.WorkerPid();

  ScoreInFlight lost(server, 10000);
  ASSERT_EQ(::kill(worker, SIGKILL), 0);
  const grpc::Status ended = lost.End();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::UNAVAILABLE)
      << ended.error_message();
  EXPECT_THAT(ended.error_message(), HasSubstr("will be back"));
  EXPECT_THAT(ended.error_details(), HasSubstr("google.rpc.RetryInfo"));

  ASSERT_TRUE(server.AwaitServing());
  // SERVING may still be that of before: the new worker is another process.
  while (server.WorkerPid() == worker || server.WorkerPid() == 0) {
    ASSERT_TRUE(server.AwaitServing());
  }
  ASSERT_TRUE(server.AwaitServing());
  const absl::StatusOr<v1::ScoreResponse> after =
      Score(server, PromptsToScore(1));
  ASSERT_TRUE(after.ok()) << after.status();
  // Not the serialised bytes: the order of a map's entries is not defined.
  EXPECT_TRUE(
      google::protobuf::util::MessageDifferencer::Equals(*after, *before));
  const v1::Worker described = server.Info().workers(0);
  EXPECT_EQ(described.restart_count(), 1);
  EXPECT_THAT(described.last_exit(), HasSubstr("signal 9"));
  EXPECT_EQ(described.fencing_number(), 2);
}

TEST(WorkerFaultsTest, AFrozenWorkerIsReplacedAfterItsLease) {
  const TempFolder folder;
  ServerProcess server({.data_dir = folder.path(),
                        .config = "[worker]\nheartbeat_seconds = 1.0\n"});
  ASSERT_TRUE(server.AwaitServing());
  ASSERT_TRUE(LoadTinyWorld(server).ok());
  const pid_t worker = server.WorkerPid();
  ASSERT_EQ(::kill(worker, SIGSTOP), 0);
  ASSERT_TRUE(server.AwaitNotServing());
  ASSERT_TRUE(server.AwaitServing());
  EXPECT_NE(server.WorkerPid(), worker);
  EXPECT_THAT(server.Info().workers(0).last_exit(), HasSubstr("no heartbeat"));
  EXPECT_TRUE(Score(server, PromptsToScore(1)).ok());
}

TEST(WorkerFaultsTest, TheWorkerEndsWithItsControlPlane) {
  const TempFolder folder;
  pollfd worker = {-1, POLLIN, 0};
  {
    ServerProcess server({.data_dir = folder.path()});
    ASSERT_TRUE(server.AwaitServing());
    worker.fd =
        static_cast<int>(::syscall(SYS_pidfd_open, server.WorkerPid(), 0));
    server.Signal(SIGKILL);
    EXPECT_EQ(server.AwaitExit(), 128 + SIGKILL);
  }
  const auto patience_ms =
      static_cast<int>(absl::ToInt64Milliseconds(ServerProcess::kPatience));
  EXPECT_EQ(::poll(&worker, 1, patience_ms), 1);
  ::close(worker.fd);
  // The same directory serves again, with a greater fencing number.
  ServerProcess server({.data_dir = folder.path()});
  ASSERT_TRUE(server.AwaitServing());
  EXPECT_EQ(server.Info().workers(0).fencing_number(), 2);
}

TEST(WorkerFaultsTest, AnAdapterWhoseFilesChangedIsNotServedAfterARestart) {
  const TempFolder folder;
  const TempFolder adapter;
  const std::string config_file = adapter.File("adapter_config.json");
  std::filesystem::copy(InTree("data/tiny_world/lora_cubic"), adapter.path(),
                        std::filesystem::copy_options::recursive);
  {
    ServerProcess server({.data_dir = folder.path()});
    ASSERT_TRUE(server.AwaitServing());
    ASSERT_TRUE(LoadTinyWorld(server).ok());
    ASSERT_TRUE(RegisterAdapter(server, kTinyAdapter, adapter.path()).ok());
    EXPECT_EQ(server.Stop(), 0);
  }
  const std::string config = *ReadFile(config_file, 1 << 20);
  ASSERT_TRUE(WriteFileAtomically(config_file, config + "\n").ok());
  ServerProcess server({.data_dir = folder.path()});
  ASSERT_TRUE(server.AwaitServing());
  const absl::Status refused = CreateJob(server, TinyWorldJob(2), "").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("are not those that were registered"));
  // Its base serves, and to register it again is all that it takes.
  EXPECT_TRUE(Score(server, PromptsToScore(1)).ok());
  ASSERT_TRUE(RegisterAdapter(server, kTinyAdapter, adapter.path()).ok());
  EXPECT_TRUE(CreateJob(server, TinyWorldJob(2), "").ok());
}

TEST(WorkerFaultsTest, CancellingAScoreFreesTheEngine) {
  const TempFolder folder;
  ServerProcess server({.data_dir = folder.path()});
  ASSERT_TRUE(server.AwaitServing());
  ASSERT_TRUE(LoadTinyWorld(server).ok());
  ScoreInFlight score(server, 10000);
  const pid_t worker = server.WorkerPid();
  const absl::Duration before = CpuTime(worker);
  score.Cancel();
  EXPECT_EQ(score.End().error_code(), grpc::StatusCode::CANCELLED);
  // Sequences are taken in order, so an answer means that nothing is left of
  // the long call; computing all of it would have taken far longer.
  EXPECT_TRUE(Score(server, PromptsToScore(1)).ok());
  EXPECT_LT(CpuTime(worker) - before, absl::Seconds(3));
  EXPECT_EQ(server.Stop(), 0);
}

TEST(WorkerFaultsTest, ADeadlineFreesTheEngine) {
  const TempFolder folder;
  ServerProcess server({.data_dir = folder.path()});
  ASSERT_TRUE(server.AwaitServing());
  ASSERT_TRUE(LoadTinyWorld(server).ok());
  const pid_t worker = server.WorkerPid();
  const auto context = server.NewContext();
  context->set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(1)));
  v1::ScoreResponse response;
  EXPECT_EQ(server.NewStub<v1::Inference>()
                ->Score(context.get(), PromptsToScore(10000), &response)
                .error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  const absl::Duration before = CpuTime(worker);
  EXPECT_TRUE(Score(server, PromptsToScore(1)).ok());
  EXPECT_LT(CpuTime(worker) - before, absl::Seconds(3));
}

TEST(DrainTest, CallsInFlightFinishAndNewOnesAreRefused) {
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = folder.path(),
       .config = "drain_seconds = 600\nhttp_listen = \"127.0.0.1:0\"\n"});
  ASSERT_TRUE(server.AwaitServing());
  ASSERT_TRUE(LoadTinyWorld(server).ok());
  ScoreInFlight score(server, 500);
  server.Signal(SIGTERM);
  ASSERT_TRUE(server.AwaitNotServing());
  EXPECT_TRUE(server.Info().draining());
  EXPECT_THAT(HttpGet(HttpPortOf(server), "/healthz"), HasSubstr("\ndraining"));
  const absl::Status refused = Score(server, PromptsToScore(1)).status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("stopping"));
  const grpc::Status ended = score.End();
  EXPECT_TRUE(ended.ok()) << ended.error_message();
  EXPECT_EQ(server.AwaitExit(), 0);
}

TEST(DrainTest, CallsThatTakeLongerThanTheGraceAreCancelled) {
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = folder.path(), .config = "drain_seconds = 0.1\n"});
  ASSERT_TRUE(server.AwaitServing());
  ASSERT_TRUE(LoadTinyWorld(server).ok());
  ScoreInFlight score(server, 10000);
  EXPECT_EQ(server.Stop(), 0);
  EXPECT_FALSE(score.End().ok());
}

// "NAME=VALUE" of the worker, in any order.
std::vector<std::string> WorkerEnvironment(ServerProcess& server) {
  constexpr uint64_t kLimitBytes = 1 << 20;
  return absl::StrSplit(
      ReadFile(absl::StrCat("/proc/", server.WorkerPid(), "/environ"),
               kLimitBytes)
          .value_or(""),
      '\0');
}

TEST(StartTest, TheWorkersMemoryIsTunedUnlessTheServersIs) {
  ::unsetenv("MALLOC_ARENA_MAX");
  ::unsetenv("GLIBC_TUNABLES");
  {
    const TempFolder folder;
    ServerProcess server({.data_dir = folder.path()});
    ASSERT_TRUE(server.AwaitServing());
    EXPECT_THAT(WorkerEnvironment(server),
                IsSupersetOf({"MALLOC_ARENA_MAX=2",
                              "GLIBC_TUNABLES=glibc.malloc.hugetlb=1"}));
  }
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = folder.path(),
       .environment = {{"MALLOC_ARENA_MAX", "7"}, {"GLIBC_TUNABLES", ""}}});
  ASSERT_TRUE(server.AwaitServing());
  EXPECT_THAT(WorkerEnvironment(server),
              AllOf(IsSupersetOf({"MALLOC_ARENA_MAX=7", "GLIBC_TUNABLES="}),
                    Not(Contains("MALLOC_ARENA_MAX=2")),
                    Not(Contains("GLIBC_TUNABLES=glibc.malloc.hugetlb=1"))));
}

TEST(StartTest, SocketsFilesAndTokenAreTheOwnersOnly) {
  const TempFolder folder;
  ServerProcess server({.data_dir = folder.path()});
  ASSERT_TRUE(server.AwaitServing());
  const auto mode = [&](const std::string& name) {
    struct stat info = {};
    EXPECT_EQ(::stat(folder.File(name).c_str(), &info), 0) << name;
    return info.st_mode & 0777U;
  };
  EXPECT_EQ(mode("dissonance.sock"), 0600U);
  EXPECT_EQ(mode("owner.token"), 0600U);
  EXPECT_EQ(mode("run"), 0700U);
  EXPECT_EQ(mode("dissonance.db") & 077U, 0U);
  EXPECT_GE(server.OwnerToken().size(), 64U);
  const std::string pid = *ReadFile(folder.File("dissonanced.pid"), 100);
  EXPECT_EQ(server.Stop(), 0);
  EXPECT_FALSE(ReadFile(folder.File("dissonanced.pid"), 100).ok());
}

TEST(StartTest, ASecondServerOnTheSameDirectoryIsRefused) {
  const TempFolder folder;
  ServerProcess server({.data_dir = folder.path()});
  ASSERT_TRUE(server.AwaitServing());
  ServerProcess second({.data_dir = folder.path()});
  EXPECT_EQ(second.AwaitExit(), 1);
  EXPECT_THAT(second.Log(), HasSubstr("error: "));
  EXPECT_THAT(second.Log(), HasSubstr("process"));
  EXPECT_TRUE(server.AwaitServing());
}

// A port that a socket of the test holds.
class TakenPort {
 public:
  TakenPort() : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(
        ::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(fd_, 1), 0);
    socklen_t size = sizeof(address);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ~TakenPort() { ::close(fd_); }
  int port() const { return port_; }

 private:
  int fd_;
  int port_ = 0;
};

TEST(StartTest, APortInUseIsOneClearLine) {
  const TempFolder folder;
  const TakenPort taken;
  ServerProcess server(
      {.data_dir = folder.path(),
       .flags = {"--listen", absl::StrCat("127.0.0.1:", taken.port())}});
  EXPECT_EQ(server.AwaitExit(), 1);
  const std::string log = server.Log();
  EXPECT_THAT(log, HasSubstr(absl::StrCat("error: port ", taken.port())));
  EXPECT_THAT(log, HasSubstr("in use"));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
}

TEST(StartTest, AnAddressOffTheMachineNeedsTls) {
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = folder.path(), .flags = {"--listen", "0.0.0.0:0"}});
  EXPECT_EQ(server.AwaitExit(), 1);
  EXPECT_THAT(server.Log(), HasSubstr("needs TLS"));
}

TEST(StartTest, ABadKeyIsRefusedWithItsLine) {
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = folder.path(), .config = "\n[worker]\nthredas = 2\n"});
  EXPECT_EQ(server.AwaitExit(), 1);
  EXPECT_THAT(server.Log(), HasSubstr("config.toml:3: there is no key "
                                      "worker.thredas"));
}

TEST(StartTest, LoopbackTcpServesAndNeedsTheToken) {
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = folder.path(),
       .flags = {"--listen", "unix", "--listen", "127.0.0.1:0"}});
  ASSERT_TRUE(server.AwaitServing());
  const std::string address = server.Info().addresses(1);
  EXPECT_FALSE(absl::EndsWith(address, ":0")) << address;
  const auto channel =
      grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  const auto stub = v1::Models::NewStub(channel);
  v1::ListModelsResponse response;
  const auto context = server.NewContext();
  EXPECT_TRUE(
      stub->ListModels(context.get(), v1::ListModelsRequest(), &response).ok());
  grpc::ClientContext anonymous;
  EXPECT_EQ(stub->ListModels(&anonymous, v1::ListModelsRequest(), &response)
                .error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
}

}  // namespace
}  // namespace dissonance
