// TLS with certificates made for the test by the openssl program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "src/base/file.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Two authorities; a certificate of the server's, and clients' of each.
class Certificates {
 public:
  Certificates() {
    for (const char* authority : {"ours", "theirs"}) {
      Make(authority, "-x509 -addext basicConstraints=critical,CA:TRUE");
    }
    Sign("server", "ours", "-addext subjectAltName=IP:127.0.0.1");
    Sign("client", "ours", "");
    Sign("stranger", "theirs", "");
  }

  std::string Path(const std::string& name) const { return folder_.File(name); }
  std::string Read(const std::string& name) const {
    return ReadFile(Path(name), 1 << 20).value_or("");
  }

  // A client that trusts our authority; with this certificate, if any.
  std::shared_ptr<grpc::ChannelCredentials> Client(
      const std::string& name, const std::string& authority = "ours") const {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = Read(authority + ".pem");
    if (!name.empty()) {
      options.pem_private_key = Read(name + ".key");
      options.pem_cert_chain = Read(name + ".pem");
    }
    return grpc::SslCredentials(options);
  }

 private:
  void Make(const std::string& name, const std::string& arguments) {
    const std::string command = absl::StrCat(
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        " -days 2 -subj /CN=",
        name, " -keyout ", Path(name + ".key"), " -out ", Path(name + ".pem"),
        " ", arguments, " 2>", Path("openssl.log"));
    EXPECT_EQ(std::system(command.c_str()), 0) << Read("openssl.log");
  }
  void Sign(const std::string& name, const std::string& authority,
            const std::string& arguments) {
    Make(name, absl::StrCat("-x509 -CA ", Path(authority + ".pem"), " -CAkey ",
                            Path(authority + ".key"),
                            " -addext basicConstraints=CA:FALSE ", arguments));
  }

  const TempFolder folder_;
};

std::string TlsConfigOf(const Certificates& certificates, bool mutual) {
  std::string config = absl::StrCat(
      "[tls]\ncertificate_file = \"", certificates.Path("server.pem"),
      "\"\nkey_file = \"", certificates.Path("server.key"), "\"\n");
  if (mutual) {
    absl::StrAppend(&config, "client_ca_file = \"",
                    certificates.Path("ours.pem"), "\"\n");
  }
  return config;
}

// A server on the socket and on loopback with TLS.
class TlsServer {
 public:
  explicit TlsServer(bool mutual)
      : server_({.data_dir = folder_.path(),
                 .config = TlsConfigOf(certificates_, mutual),
                 .flags = {"--listen", "unix", "--listen", "127.0.0.1:0"}}) {
    if (server_.AwaitServing()) address_ = server_.Info().addresses(1);
  }

  grpc::StatusCode Call(
      const std::shared_ptr<grpc::ChannelCredentials>& credentials,
      bool with_token = true) {
    const auto stub =
        v1::Models::NewStub(grpc::CreateChannel(address_, credentials));
    auto context = with_token ? server_.NewContext()
                              : std::make_unique<grpc::ClientContext>();
    context->set_deadline(
        absl::ToChronoTime(absl::Now() + ServerProcess::kPatience));
    v1::ListModelsResponse response;
    return stub->ListModels(context.get(), {}, &response).error_code();
  }

  const Certificates& certificates() const { return certificates_; }
  ServerProcess& process() { return server_; }

 private:
  const TempFolder folder_;
  const Certificates certificates_;
  ServerProcess server_;
  std::string address_;
};

TEST(TlsTest, ClientsNeedACertificateOfTheAuthorityAndTheirToken) {
  TlsServer server(/*mutual=*/true);
  const Certificates& with = server.certificates();
  EXPECT_EQ(server.Call(with.Client("client")), grpc::StatusCode::OK);
  EXPECT_EQ(server.Call(with.Client("client"), /*with_token=*/false),
            grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(server.Call(with.Client("")), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(server.Call(with.Client("stranger")),
            grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(server.Call(grpc::InsecureChannelCredentials()),
            grpc::StatusCode::UNAVAILABLE);
  // The socket is the machine's own, and needs the token alone.
  EXPECT_EQ(server.process().Info().addresses_size(), 2);
}

TEST(TlsTest, WithoutAnAuthorityForClientsTheServerAloneShowsACertificate) {
  TlsServer server(/*mutual=*/false);
  const Certificates& with = server.certificates();
  EXPECT_EQ(server.Call(with.Client("")), grpc::StatusCode::OK);
  EXPECT_EQ(server.Call(with.Client(""), /*with_token=*/false),
            grpc::StatusCode::UNAUTHENTICATED);
  // Somebody who trusts another authority does not trust this server.
  EXPECT_EQ(server.Call(with.Client("", "theirs")),
            grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(server.Call(grpc::InsecureChannelCredentials()),
            grpc::StatusCode::UNAVAILABLE);
}

TEST(TlsTest, FilesThatAreNoCertificatesAreNamed) {
  const TempFolder folder;
  const Certificates certificates;
  const auto log_with = [&](const std::string& client_ca) {
    ServerProcess server(
        {.data_dir = folder.path(),
         .config = absl::StrCat(TlsConfigOf(certificates, /*mutual=*/false),
                                "client_ca_file = \"", client_ca, "\"\n"),
         .flags = {"--listen", "127.0.0.1:0"}});
    EXPECT_EQ(server.AwaitExit(), 1);
    return server.Log();
  };
  EXPECT_THAT(
      log_with("/nowhere/ca.pem"),
      AllOf(HasSubstr("tls.client_ca_file"), HasSubstr("/nowhere/ca.pem")));
  EXPECT_THAT(log_with(certificates.Path("client.key")),
              AllOf(HasSubstr("tls.client_ca_file"),
                    HasSubstr("holds no certificate")));
}

}  // namespace
}  // namespace dissonance
