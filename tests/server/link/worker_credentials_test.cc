#include "server/link/worker_credentials.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "dissonance/v1/admin.grpc.pb.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "src/base/file.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

class Service final : public v1::Admin::Service {
  grpc::Status ServerInfo(grpc::ServerContext* /*context*/,
                          const v1::ServerInfoRequest* /*request*/,
                          v1::ServerInfoResponse* /*response*/) override {
    return grpc::Status::OK;
  }
};

class LoopbackServer {
 public:
  explicit LoopbackServer(
      const std::shared_ptr<grpc::ServerCredentials>& credentials) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", credentials, &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    EXPECT_NE(server_, nullptr);
  }

  grpc::StatusCode Call(
      const std::shared_ptr<grpc::ChannelCredentials>& credentials,
      bool with_name = true) const {
    grpc::ChannelArguments arguments;
    if (with_name) WorkerCredentials::SetNameIn(arguments);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto stub = v1::Admin::NewStub(grpc::CreateCustomChannel(
        absl::StrCat("127.0.0.1:", port_), credentials, arguments));
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(60)));
    v1::ServerInfoResponse response;
    return stub->ServerInfo(&context, {}, &response).error_code();
  }

 private:
  Service service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

WorkerCredentials Fresh(const TempFolder& folder) {
  const absl::Status renewed = WorkerCredentials::Renew(folder.path());
  EXPECT_TRUE(renewed.ok()) << renewed;
  return *WorkerCredentials::Load(folder.path());
}

TEST(WorkerCredentialsTest, ServesThoseWhoHaveThePairAndNobodyElse) {
  const TempFolder folder;
  const TempFolder strangers_folder;
  const WorkerCredentials ours = Fresh(folder);
  const WorkerCredentials theirs = Fresh(strangers_folder);
  const LoopbackServer server(ours.ForServer());
  EXPECT_EQ(server.Call(ours.ForClient()), grpc::StatusCode::OK);
  EXPECT_EQ(server.Call(WorkerCredentials::Load(folder.path())->ForClient()),
            grpc::StatusCode::OK);
  EXPECT_EQ(server.Call(theirs.ForClient()), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(server.Call(grpc::InsecureChannelCredentials()),
            grpc::StatusCode::UNAVAILABLE);

  // Trusts the server, and has nothing to show.
  grpc::SslCredentialsOptions nobody;
  nobody.pem_root_certs =
      ReadFile(folder.File("workers.pem"), 1 << 20).value_or("");
  EXPECT_EQ(server.Call(grpc::SslCredentials(nobody)),
            grpc::StatusCode::UNAVAILABLE);
  // Trusts the server, and shows another pair.
  nobody.pem_private_key =
      ReadFile(strangers_folder.File("workers.key"), 1 << 20).value_or("");
  nobody.pem_cert_chain =
      ReadFile(strangers_folder.File("workers.pem"), 1 << 20).value_or("");
  EXPECT_EQ(server.Call(grpc::SslCredentials(nobody)),
            grpc::StatusCode::UNAVAILABLE);
}

TEST(WorkerCredentialsTest, CallsThoseWhoHaveThePairAndNobodyElse) {
  const TempFolder folder;
  const TempFolder strangers_folder;
  const WorkerCredentials ours = Fresh(folder);
  const LoopbackServer stranger(Fresh(strangers_folder).ForServer());
  EXPECT_EQ(stranger.Call(ours.ForClient()), grpc::StatusCode::UNAVAILABLE);
  const LoopbackServer plain(grpc::InsecureServerCredentials());
  EXPECT_EQ(plain.Call(ours.ForClient()), grpc::StatusCode::UNAVAILABLE);
  const LoopbackServer server(ours.ForServer());
  EXPECT_EQ(server.Call(ours.ForClient(), /*with_name=*/false),
            grpc::StatusCode::UNAVAILABLE);
}

TEST(WorkerCredentialsTest, AnOlderPairIsAStrangersAfterARenewal) {
  const TempFolder folder;
  const WorkerCredentials older = Fresh(folder);
  const LoopbackServer server(Fresh(folder).ForServer());
  EXPECT_EQ(server.Call(older.ForClient()), grpc::StatusCode::UNAVAILABLE);
}

TEST(WorkerCredentialsTest, NobodyElseCanReadTheFiles) {
  const TempFolder folder;
  EXPECT_TRUE(
      absl::IsNotFound(WorkerCredentials::Load(folder.path()).status()));
  Fresh(folder);
  for (const char* name : {"workers.pem", "workers.key"}) {
    struct stat stat = {};
    ASSERT_EQ(::stat(folder.File(name).c_str(), &stat), 0);
    EXPECT_EQ(stat.st_mode & 0777, 0600) << name;
  }
  EXPECT_EQ(folder.Names(),
            (std::vector<std::string>{"workers.key", "workers.pem"}));
}

}  // namespace
}  // namespace dissonance
