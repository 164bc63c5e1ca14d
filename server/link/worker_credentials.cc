#include "server/link/worker_credentials.h"

#include <grpc/grpc_security_constants.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr char kName[] = "dissonance-workers";
constexpr char kCertificateFile[] = "workers.pem";
constexpr char kKeyFile[] = "workers.key";
constexpr uint64_t kFileBytes = 64 << 10;
// Clocks of two machines differ.
constexpr int kSecondsAgo = 60 * 60;
// Longer than a server runs without being started again.
constexpr int kSecondsValid = 10 * 365 * 24 * 60 * 60;

template <typename T, void (*free)(T*)>
struct Freer {
  void operator()(T* object) const { free(object); }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY, EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, Freer<X509, X509_free>>;
using BioPtr = std::unique_ptr<BIO, Freer<BIO, BIO_free_all>>;
using ExtensionPtr =
    std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION, X509_EXTENSION_free>>;

absl::Status Failed(const char* what) {
  std::array<char, 256> reason = {};
  ::ERR_error_string_n(::ERR_get_error(), reason.data(), reason.size());
  return absl::InternalError(
      absl::StrCat("OpenSSL can't ", what, ": ", reason.data()));
}

absl::Status SetSerialNumber(X509* certificate) {
  std::array<unsigned char, 8> bytes = {};
  if (::RAND_bytes(bytes.data(), bytes.size()) != 1) {
    return Failed("make a random number");
  }
  uint64_t number = 0;
  for (const unsigned char byte : bytes) number = number << 8 | byte;
  if (::ASN1_INTEGER_set_uint64(::X509_get_serialNumber(certificate),
                                number >> 1) != 1) {
    return Failed("set a serial number");
  }
  return absl::OkStatus();
}

absl::Status SetName(X509* certificate) {
  X509_NAME* const name = ::X509_get_subject_name(certificate);
  const auto* const text = reinterpret_cast<const unsigned char*>(kName);
  if (::X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0) !=
          1 ||
      ::X509_set_issuer_name(certificate, name) != 1) {
    return Failed("name a certificate");
  }
  return absl::OkStatus();
}

absl::Status AddExtension(X509* certificate, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  ::X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(
      ::X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  if (extension == nullptr ||
      ::X509_add_ext(certificate, extension.get(), -1) != 1) {
    return Failed("extend a certificate");
  }
  return absl::OkStatus();
}

absl::StatusOr<CertificatePtr> MakeCertificate(EVP_PKEY* key) {
  CertificatePtr certificate(::X509_new());
  if (certificate == nullptr ||
      ::X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      ::X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kSecondsAgo) ==
          nullptr ||
      ::X509_gmtime_adj(X509_getm_notAfter(certificate.get()), kSecondsValid) ==
          nullptr ||
      ::X509_set_pubkey(certificate.get(), key) != 1) {
    return Failed("make a certificate");
  }
  RETURN_IF_ERROR(SetSerialNumber(certificate.get()));
  RETURN_IF_ERROR(SetName(certificate.get()));
  const std::string names = absl::StrCat("DNS:", kName);
  // It vouches for itself alone.
  RETURN_IF_ERROR(AddExtension(certificate.get(), NID_basic_constraints,
                               "critical,CA:FALSE"));
  RETURN_IF_ERROR(AddExtension(certificate.get(), NID_key_usage,
                               "critical,digitalSignature"));
  RETURN_IF_ERROR(AddExtension(certificate.get(), NID_ext_key_usage,
                               "serverAuth,clientAuth"));
  RETURN_IF_ERROR(
      AddExtension(certificate.get(), NID_subject_alt_name, names.c_str()));
  if (::X509_sign(certificate.get(), key, ::EVP_sha256()) == 0) {
    return Failed("sign a certificate");
  }
  return certificate;
}

std::string ContentsOf(BIO* bio) {
  char* data = nullptr;
  const auto size = static_cast<size_t>(BIO_get_mem_data(bio, &data));
  return std::string(data, size);
}

std::string PathOf(const std::string& folder, const char* name) {
  return absl::StrCat(folder, "/", name);
}

}  // namespace

absl::Status WorkerCredentials::Renew(const std::string& folder) {
  const KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return Failed("make a key");
  ASSIGN_OR_RETURN(const CertificatePtr certificate,
                   MakeCertificate(key.get()));
  // Its memory is overwritten when it is freed.
  const BioPtr key_text(::BIO_new(::BIO_s_secmem()));
  const BioPtr certificate_text(::BIO_new(::BIO_s_mem()));
  if (key_text == nullptr || certificate_text == nullptr ||
      ::PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0,
                                 nullptr, nullptr) != 1 ||
      ::PEM_write_bio_X509(certificate_text.get(), certificate.get()) != 1) {
    return Failed("write a key and its certificate");
  }
  const Secret key_pem(ContentsOf(key_text.get()));
  RETURN_IF_ERROR(
      WriteFileAtomically(PathOf(folder, kKeyFile), key_pem.Reveal(), 0600));
  return WriteFileAtomically(PathOf(folder, kCertificateFile),
                             ContentsOf(certificate_text.get()), 0600);
}

absl::StatusOr<WorkerCredentials> WorkerCredentials::Load(
    const std::string& folder) {
  ASSIGN_OR_RETURN(std::string certificate,
                   ReadFile(PathOf(folder, kCertificateFile), kFileBytes));
  ASSIGN_OR_RETURN(std::string key,
                   ReadFile(PathOf(folder, kKeyFile), kFileBytes));
  return WorkerCredentials(std::move(certificate), Secret(std::move(key)));
}

std::shared_ptr<grpc::ServerCredentials> WorkerCredentials::ForServer() const {
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = certificate_;
  options.pem_key_cert_pairs.push_back(
      {std::string(key_.Reveal()), certificate_});
  return grpc::SslServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> WorkerCredentials::ForClient() const {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = certificate_;
  options.pem_private_key = std::string(key_.Reveal());
  options.pem_cert_chain = certificate_;
  return grpc::SslCredentials(options);
}

void WorkerCredentials::SetNameIn(grpc::ChannelArguments& arguments) {
  arguments.SetSslTargetNameOverride(kName);
}

}  // namespace dissonance
