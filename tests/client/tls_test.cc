// A server that asks for the client's certificate, and profiles that have one.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

template <typename T, void (*free)(T*)>
struct Deleter {
  void operator()(T* object) const { free(object); }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509, X509_free>>;
using Extension = std::unique_ptr<X509_EXTENSION,
                                  Deleter<X509_EXTENSION, X509_EXTENSION_free>>;
using Memory = std::unique_ptr<BIO, Deleter<BIO, BIO_free_all>>;

// In PEM.
struct Identity {
  std::string certificate;
  std::string key;
};

std::string TextOf(BIO* memory) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(memory, &data);
  return std::string(data, static_cast<size_t>(size));
}

void AddExtension(X509* certificate, int kind, const char* value) {
  const Extension extension(X509V3_EXT_conf_nid(nullptr, nullptr, kind, value));
  ASSERT_NE(extension, nullptr);
  X509_add_ext(certificate, extension.get(), -1);
}

// Signed by itself, so that it is its own authority; valid for an hour.
Identity MakeIdentity(const char* name) {
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name), -1,
                             -1, 0);
  X509_set_issuer_name(certificate.get(), subject);
  AddExtension(certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
  AddExtension(certificate.get(), NID_subject_alt_name, "IP:0.0.0.0");
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  const Memory certificate_text(BIO_new(BIO_s_mem()));
  const Memory key_text(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(certificate_text.get(), certificate.get());
  PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0,
                           nullptr, nullptr);
  return {TextOf(certificate_text.get()), TextOf(key_text.get())};
}

class TlsTest : public CliTest {
 protected:
  TlsTest()
      : admin_([](const grpc::ServerContext&) { return grpc::Status::OK; }) {
    const Identity server = MakeIdentity("server");
    const Identity client = MakeIdentity("client");
    grpc::SslServerCredentialsOptions tls(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    tls.pem_root_certs = client.certificate;
    tls.pem_key_cert_pairs.push_back({server.key, server.certificate});
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(tls),
                             &port_);
    builder.RegisterService(&admin_);
    listener_ = builder.BuildAndStart();
    WriteFile("ca.pem", server.certificate);
    WriteFile("me.pem", client.certificate);
    WriteFile("me.key", client.key);
    std::filesystem::create_directories(Path("home/.config/dissonance"));
  }

  // A profile of the server. Its address is this machine, but none of those
  // for which the program does without TLS.
  void WriteProfile(const std::string& more) {
    WriteFile("home/.config/dissonance/config.toml",
              "[profiles.lab]\nserver = \"0.0.0.0:" + std::to_string(port_) +
                  "\"\ntls_ca_file = \"" + Path("ca.pem") + "\"\n" + more);
  }

  FakeAdmin admin_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> listener_;
};

TEST_F(TlsTest, AProfileWithACertificateIsLetIn) {
  WriteProfile("tls_certificate_file = \"" + Path("me.pem") +
               "\"\ntls_key_file = \"" + Path("me.key") + "\"\n");
  const CommandResult result = Run({"server", "status", "--profile", "lab"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("workers/local"));
}

TEST_F(TlsTest, AProfileWithoutOneIsToldWhatMayBeMissing) {
  WriteProfile("");
  const CommandResult result = Run({"server", "status", "--profile", "lab"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("tls_certificate_file"));
}

TEST_F(TlsTest, AFileThatIsNotThereIsNamedWithItsKey) {
  WriteProfile("tls_certificate_file = \"" + Path("me.pem") +
               "\"\ntls_key_file = \"" + Path("absent.key") + "\"\n");
  const CommandResult result = Run({"server", "status", "--profile", "lab"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("tls_key_file: "));
  EXPECT_THAT(result.err, HasSubstr(Path("absent.key")));
}

}  // namespace
}  // namespace dissonance
