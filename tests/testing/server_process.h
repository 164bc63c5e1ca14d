// A real dissonanced with its worker, on a data directory of the test's, and a
// client of its unix socket. Ended with SIGKILL at the latest when it goes.
// Not thread safe; the stubs are.
//
//   TempFolder folder;
//   ServerProcess server({.data_dir = folder.path()});
//   ASSERT_TRUE(server.AwaitServing());
//   auto jobs = server.NewStub<v1::Jobs>();
//   auto context = server.NewContext();
//   EXPECT_TRUE(jobs->GetJob(context.get(), request, &response).ok());
#ifndef DISSONANCE_TESTS_TESTING_SERVER_PROCESS_H_
#define DISSONANCE_TESTS_TESTING_SERVER_PROCESS_H_

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "dissonance/v1/admin.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"

namespace dissonance {

class ServerProcess {
 public:
  // Long enough for a machine that is busy with other tests.
  static constexpr absl::Duration kPatience = absl::Seconds(120);

  struct Options {
    std::string data_dir;
    std::string config = {};  // TOML; empty: none
    std::vector<std::string> flags = {"--listen", "unix"};
    std::map<std::string, std::string> environment = {};  // added to ours
  };

  // Starts it; does not wait.
  explicit ServerProcess(const Options& options);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // Waits until grpc.health.v1 says SERVING. False, with the log, if the
  // process ended or patience did.
  bool AwaitServing();
  // Waits until health does not say SERVING any more, or does not answer.
  bool AwaitNotServing();
  // Waits for its end: the exit code, or 128 + the signal; -1 without an end.
  int AwaitExit();
  void Signal(int signal);
  // SIGTERM, then the exit code.
  int Stop();
  // What it wrote to standard error.
  std::string Log() const;

  // A stub of a service, e.g. NewStub<v1::Jobs>().
  template <typename Service>
  std::unique_ptr<typename Service::Stub> NewStub() {
    return Service::NewStub(channel_);
  }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  // With the owner's token and a deadline.
  std::unique_ptr<grpc::ClientContext> NewContext() const;
  std::string OwnerToken() const;
  const std::string& data_dir() const { return options_.data_dir; }
  pid_t pid() const { return pid_; }

  v1::ServerInfoResponse Info();
  // The worker's process id, 0 while there is none.
  pid_t WorkerPid();

 private:
  // Whether `channel` answers SERVING within a second.
  bool IsServing();
  // Whether the process ended within `timeout`.
  bool WaitForEnd(absl::Duration timeout) const;

  const Options options_;
  const std::string log_path_;
  std::shared_ptr<grpc::Channel> channel_;
  pid_t pid_ = -1;
  int pidfd_ = -1;
  bool reaped_ = false;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_TESTING_SERVER_PROCESS_H_
