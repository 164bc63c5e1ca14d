// A stand-in for dissonanced: serves health and canned answers on the data
// directory's socket until SIGTERM. With DATA_DIR/refuse it ends at once, as a
// server does that finds its port in use; with DATA_DIR/worker_ends its worker
// can't start.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "dissonance/v1/admin.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "tests/client/fake_server.h"

namespace {

// A server that is not ready, as its worker has ended.
class WithoutWorker final : public dissonance::v1::Admin::Service {
 public:
  std::unique_ptr<grpc::Server> Serve(const std::string& data_dir) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + data_dir + "/dissonance.sock",
                             grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    server->GetHealthCheckService()->SetServingStatus(false);
    return server;
  }
  grpc::Status ServerInfo(
      grpc::ServerContext* /*context*/,
      const dissonance::v1::ServerInfoRequest* /*request*/,
      dissonance::v1::ServerInfoResponse* response) override {
    dissonance::v1::Worker& worker = *response->add_workers();
    worker.set_name("workers/local");
    worker.set_state(dissonance::v1::WORKER_STATE_BACKING_OFF);
    worker.set_last_exit("exit code 127");
    return grpc::Status::OK;
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || std::string(argv[1]) != "--data-dir") return 2;
  const std::string data_dir = argv[2];
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  if (std::filesystem::exists(data_dir + "/refuse")) {
    std::fprintf(stderr, "error: port 7433 is in use\n");
    return 1;
  }
  std::fprintf(stderr, "starting\n");
  std::ofstream(data_dir + "/owner.token") << "secret\n";
  std::ofstream(data_dir + "/dissonanced.pid") << ::getpid() << "\n";
  if (std::filesystem::exists(data_dir + "/worker_ends")) {
    std::ofstream(data_dir + "/logs/worker.log") << "no libtorch.so\n";
    WithoutWorker admin;
    const std::unique_ptr<grpc::Server> server = admin.Serve(data_dir);
    int signal = 0;
    sigwait(&set, &signal);
    server->Shutdown();
  } else {
    const dissonance::FakeServer server(data_dir + "/dissonance.sock",
                                        "secret");
    int signal = 0;
    sigwait(&set, &signal);
  }
  std::fprintf(stderr, "stopped\n");
  std::filesystem::remove(data_dir + "/dissonanced.pid");
  return 0;
}
