#include "server/link/worker_credentials.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdint>
#include <memory>

#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr char kServerName[] = "dissonance-workers";
constexpr char kKeyFile[] = "/workers.key";
constexpr char kCertificateFile[] = "/workers.crt";
constexpr int kOwnerOnly = 0600;
constexpr uint64_t kFileLimitBytes = 1 << 16;
// Clocks of nodes may be behind; a server runs for less than ten years.
constexpr long kBackSeconds = 24 * 3600;
constexpr long kSeconds = 10L * 365 * 24 * 3600;

template <typename T, void (*Free)(T*)>
struct Freer {
  void operator()(T* object) const { Free(object); }
};
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509, X509_free>>;
using Extension =
    std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION, X509_EXTENSION_free>>;
using Memory = std::unique_ptr<BIO, Freer<BIO, BIO_free_all>>;

absl::Status Failed(const char* what) {
  char reason[256];
  ERR_error_string_n(ERR_get_error(), reason, sizeof reason);
  return absl::InternalError(
      absl::StrCat("the workers' certificate can't be made: ", what, ": ",
                   static_cast<const char*>(reason)));
}

bool AddExtension(X509* certificate, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const Extension extension(
      X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  return extension != nullptr &&
         X509_add_ext(certificate, extension.get(), -1) == 1;
}

absl::StatusOr<Certificate> SignedBy(EVP_PKEY* key) {
  Certificate certificate(X509_new());
  X509* const own = certificate.get();
  int64_t serial = 0;
  if (own == nullptr ||
      RAND_bytes(reinterpret_cast<unsigned char*>(&serial), 7) != 1) {
    return Failed("random numbers");
  }
  X509_set_version(own, X509_VERSION_3);
  ASN1_INTEGER_set_int64(X509_get_serialNumber(own), serial);
  X509_gmtime_adj(X509_getm_notBefore(own), -kBackSeconds);
  X509_gmtime_adj(X509_getm_notAfter(own), kSeconds);
  X509_NAME* const name = X509_get_subject_name(own);
  X509_NAME_add_entry_by_txt(
      name, "CN", MBSTRING_ASC,
      reinterpret_cast<const unsigned char*>(kServerName), -1, -1, 0);
  X509_set_issuer_name(own, name);
  X509_set_pubkey(own, key);
  // It is also what it is checked against.
  if (!AddExtension(own, NID_basic_constraints, "critical,CA:TRUE") ||
      !AddExtension(own, NID_subject_alt_name,
                    absl::StrCat("DNS:", kServerName).c_str())) {
    return Failed("extensions");
  }
  if (X509_sign(own, key, EVP_sha256()) == 0) return Failed("signature");
  return certificate;
}

std::string TextOf(BIO* memory) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  return std::string(data, static_cast<size_t>(size));
}

}  // namespace

absl::Status MakeWorkerCredentials(const std::string& folder) {
  const Key key(EVP_EC_gen("P-256"));
  if (key == nullptr) return Failed("key");
  ASSIGN_OR_RETURN(const Certificate certificate, SignedBy(key.get()));
  const Memory key_text(BIO_new(BIO_s_mem()));
  const Memory certificate_text(BIO_new(BIO_s_mem()));
  if (key_text == nullptr || certificate_text == nullptr ||
      PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0,
                               nullptr, nullptr) != 1 ||
      PEM_write_bio_X509(certificate_text.get(), certificate.get()) != 1) {
    return Failed("PEM");
  }
  RETURN_IF_ERROR(WriteFileAtomically(folder + kKeyFile, TextOf(key_text.get()),
                                      kOwnerOnly));
  return WriteFileAtomically(folder + kCertificateFile,
                             TextOf(certificate_text.get()), kOwnerOnly);
}

absl::StatusOr<WorkerCredentials> WorkerCredentials::Read(
    const std::string& folder) {
  ASSIGN_OR_RETURN(std::string key,
                   ReadFile(folder + kKeyFile, kFileLimitBytes));
  ASSIGN_OR_RETURN(std::string certificate,
                   ReadFile(folder + kCertificateFile, kFileLimitBytes));
  return WorkerCredentials(std::move(key), std::move(certificate));
}

std::shared_ptr<grpc::ServerCredentials> WorkerCredentials::server() const {
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = certificate_;
  options.pem_key_cert_pairs.push_back({key_, certificate_});
  return grpc::SslServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> WorkerCredentials::channel() const {
  return grpc::SslCredentials({.pem_root_certs = certificate_,
                               .pem_private_key = key_,
                               .pem_cert_chain = certificate_});
}

void SetServerName(grpc::ChannelArguments& arguments) {
  arguments.SetSslTargetNameOverride(kServerName);
}

}  // namespace dissonance
