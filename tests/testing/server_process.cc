#include "tests/testing/server_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "dissonance/v1/admin.grpc.pb.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "src/base/file.h"

namespace dissonance {
namespace {

constexpr absl::Duration kProbeTimeout = absl::Seconds(1);
constexpr absl::Duration kPause = absl::Milliseconds(10);
constexpr uint64_t kLogLimitBytes = 64 << 20;

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

pid_t Spawn(std::vector<std::string> arguments,
            std::vector<std::string> environment, const std::string& log) {
  for (char** entry = environ; *entry != nullptr; ++entry) {
    environment.emplace_back(*entry);
  }
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  pid_t pid = -1;
  const int error =
      ::posix_spawn(&pid, arguments.front().c_str(), &files, nullptr,
                    Pointers(arguments).data(), Pointers(environment).data());
  ::posix_spawn_file_actions_destroy(&files);
  EXPECT_EQ(error, 0) << arguments.front();
  return pid;
}

}  // namespace

ServerProcess::ServerProcess(const Options& options)
    : options_(options), log_path_(options.data_dir + "/test.log") {
  std::vector<std::string> arguments = {DISSONANCE_BINARY_DIR "/dissonanced",
                                        "--data-dir", options_.data_dir};
  arguments.insert(arguments.end(), options_.flags.begin(),
                   options_.flags.end());
  if (!options_.config.empty()) {
    const std::string path = options_.data_dir + "/config.toml";
    EXPECT_TRUE(WriteFileAtomically(path, options_.config).ok());
    arguments.insert(arguments.end(), {"--config", path});
  }
  std::vector<std::string> environment;
  for (const auto& [name, value] : options_.environment) {
    environment.push_back(absl::StrCat(name, "=", value));
  }
  pid_ = Spawn(std::move(arguments), std::move(environment), log_path_);
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  grpc::ChannelArguments channel;
  channel.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  // Also the time that one attempt has.
  channel.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  channel.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  channel.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  channel.SetMaxReceiveMessageSize(-1);
  channel_ = grpc::CreateCustomChannel(
      absl::StrCat("unix:", options_.data_dir, "/dissonance.sock"),
      grpc::InsecureChannelCredentials(), channel);
}

ServerProcess::~ServerProcess() {
  if (!reaped_) {
    Signal(SIGKILL);
    AwaitExit();
  }
  ::close(pidfd_);
}

void ServerProcess::Signal(int signal) {
  ::syscall(SYS_pidfd_send_signal, pidfd_, signal, nullptr, 0);
}

bool ServerProcess::WaitForEnd(absl::Duration timeout) const {
  pollfd fd = {pidfd_, POLLIN, 0};
  return ::poll(&fd, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout))) >
         0;
}

int ServerProcess::AwaitExit() {
  if (!WaitForEnd(kPatience)) {
    ADD_FAILURE() << "the server goes on; its log:\n" << Log();
    return -1;
  }
  int status = 0;
  ::waitpid(pid_, &status, 0);
  reaped_ = true;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int ServerProcess::Stop() {
  Signal(SIGTERM);
  return AwaitExit();
}

bool ServerProcess::AwaitServing() {
  const absl::Time deadline = absl::Now() + kPatience;
  while (absl::Now() < deadline) {
    if (IsServing()) return true;
    if (WaitForEnd(kPause)) break;
  }
  ADD_FAILURE() << "the server does not serve; its log:\n" << Log();
  return false;
}

bool ServerProcess::AwaitNotServing() {
  const absl::Time deadline = absl::Now() + kPatience;
  while (IsServing()) {
    if (absl::Now() > deadline) return false;
    WaitForEnd(kPause);
  }
  return true;
}

bool ServerProcess::IsServing() {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kProbeTimeout));
  // An empty HealthCheckRequest asks about the server as a whole.
  const grpc::ByteBuffer request(nullptr, 0);
  grpc::ByteBuffer response;
  grpc::Status status;
  absl::Notification done;
  grpc::GenericStub(channel_).UnaryCall(
      &context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request,
      &response, [&](const grpc::Status& result) {
        status = result;
        done.Notify();
      });
  done.WaitForNotification();
  grpc::Slice bytes;
  // HealthCheckResponse{status: SERVING} is field 1, varint 1.
  return status.ok() && response.DumpToSingleSlice(&bytes).ok() &&
         bytes.size() == 2 && bytes.begin()[0] == 0x08 &&
         bytes.begin()[1] == 0x01;
}

std::string ServerProcess::Log() const {
  return ReadFile(log_path_, kLogLimitBytes).value_or("");
}

std::string ServerProcess::OwnerToken() const {
  return std::string(absl::StripAsciiWhitespace(
      ReadFile(options_.data_dir + "/owner.token", 4096).value_or("")));
}

std::unique_ptr<grpc::ClientContext> ServerProcess::NewContext() const {
  auto context = std::make_unique<grpc::ClientContext>();
  context->AddMetadata("authorization", "Bearer " + OwnerToken());
  context->set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
  return context;
}

v1::ServerInfoResponse ServerProcess::Info() {
  v1::ServerInfoResponse response;
  const auto context = NewContext();
  const grpc::Status status = NewStub<v1::Admin>()->ServerInfo(
      context.get(), v1::ServerInfoRequest(), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

pid_t ServerProcess::WorkerPid() { return Info().workers(0).pid(); }

}  // namespace dissonance
