#include "server/link/worker_credentials.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "dissonance/internal/v1/worker.grpc.pb.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "src/base/file.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using internal::v1::HeartbeatRequest;
using internal::v1::HeartbeatResponse;
using internal::v1::WorkerRegistry;

// A registry that takes every heartbeat, over TCP, for holders of a
// certificate.
class Registry final : public WorkerRegistry::Service {
 public:
  explicit Registry(const WorkerCredentials& credentials) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", credentials.server(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }
  ~Registry() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status Heartbeat(grpc::ServerContext* /*context*/,
                         const HeartbeatRequest* /*request*/,
                         HeartbeatResponse* /*response*/) override {
    return grpc::Status::OK;
  }

  bool Takes(
      const std::shared_ptr<grpc::ChannelCredentials>& credentials) const {
    grpc::ChannelArguments arguments;
    SetServerName(arguments);
    const auto stub = WorkerRegistry::NewStub(
        grpc::CreateCustomChannel(address_, credentials, arguments));
    grpc::ClientContext context;
    HeartbeatResponse response;
    return stub->Heartbeat(&context, HeartbeatRequest(), &response).ok();
  }

 private:
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

WorkerCredentials MadeIn(const std::string& folder) {
  EXPECT_TRUE(MakeWorkerCredentials(folder).ok());
  return *WorkerCredentials::Read(folder);
}

TEST(WorkerCredentialsTest, ThoseWhoHaveTheCertificateTalkAndNobodyElseDoes) {
  const TempFolder folder;
  const WorkerCredentials own = MadeIn(folder.path());
  const Registry registry(own);
  EXPECT_TRUE(registry.Takes(own.channel()));
  EXPECT_TRUE(
      registry.Takes(WorkerCredentials::Read(folder.path())->channel()));
  EXPECT_FALSE(registry.Takes(grpc::InsecureChannelCredentials()));
  // Trusts the server, but shows nothing.
  grpc::SslCredentialsOptions nameless;
  nameless.pem_root_certs =
      *ReadFile(folder.File("workers.crt"), /*limit_bytes=*/1 << 16);
  EXPECT_FALSE(registry.Takes(grpc::SslCredentials(nameless)));
  // Of another start of the server.
  const TempFolder other;
  EXPECT_FALSE(registry.Takes(MadeIn(other.path()).channel()));
}

TEST(WorkerCredentialsTest, TheKeyIsForTheUserAloneAndAnewEachTime) {
  const TempFolder folder;
  const WorkerCredentials first = MadeIn(folder.path());
  struct stat key {};
  ASSERT_EQ(::stat(folder.File("workers.key").c_str(), &key), 0);
  EXPECT_EQ(key.st_mode & 0777, 0600U);
  const Registry registry(first);
  EXPECT_FALSE(registry.Takes(MadeIn(folder.path()).channel()));
}

TEST(WorkerCredentialsTest, AFolderWithoutThemIsNotFound) {
  const TempFolder folder;
  EXPECT_TRUE(
      absl::IsNotFound(WorkerCredentials::Read(folder.path()).status()));
}

}  // namespace
}  // namespace dissonance
