#include "server/control/listeners.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "grpcpp/security/server_credentials.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr char kListen[] = "listen";
constexpr char kUnix[] = "unix";
constexpr uint64_t kPemLimitBytes = 4 << 20;

struct HostPort {
  std::string host;  // without brackets
  std::string port;
};

absl::StatusOr<HostPort> Split(absl::string_view key,
                               const std::string& address) {
  const size_t colon = address.rfind(':');
  HostPort out;
  int port = -1;
  if (colon != std::string::npos && colon > 0) {
    out = {address.substr(0, colon), address.substr(colon + 1)};
  }
  const bool has_brackets =
      out.host.size() > 2 && out.host.front() == '[' && out.host.back() == ']';
  if (has_brackets) out.host = out.host.substr(1, out.host.size() - 2);
  if (out.host.empty() || !absl::SimpleAtoi(out.port, &port) || port < 0 ||
      port > std::numeric_limits<uint16_t>::max() ||
      (!has_brackets && absl::StrContains(out.host, ':'))) {
    return absl::InvalidArgumentError(absl::StrCat(
        key, ": \"", address,
        "\" is neither \"unix\" nor HOST:PORT (write [::1]:PORT for IPv6)"));
  }
  return out;
}

// Not by its first digits: 127.example.org is somewhere else.
bool IsLoopback(const std::string& host) {
  in_addr ipv4 = {};
  if (::inet_pton(AF_INET, host.c_str(), &ipv4) == 1) {
    return ntohl(ipv4.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  return host == "localhost" || host == "::1";
}

// Tries the port, so that a refusal is one clear line: the transport itself
// would only say that something failed.
absl::Status CheckFree(const std::string& address) {
  ASSIGN_OR_RETURN(const SocketAddress where, Resolve(kListen, address));
  const int fd =
      ::socket(where.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::ErrnoToStatus(errno, "socket");
  const absl::Cleanup close_fd = [fd] { ::close(fd); };
  const int yes = 1;
  // As the transport does: a port in TIME_WAIT is free.
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (::bind(fd, where.get(), where.size) == 0) return absl::OkStatus();
  if (errno == EADDRINUSE) {
    ASSIGN_OR_RETURN(const HostPort parts, Split(kListen, address));
    return absl::AlreadyExistsError(absl::StrCat(
        "port ", parts.port, " of ", parts.host,
        " is in use by another program; end that one, or listen elsewhere, "
        "e.g. with --listen unix"));
  }
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot listen on ", address));
}

absl::StatusOr<std::string> ReadPem(absl::string_view key,
                                    const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path, kPemLimitBytes);
  if (!text.ok()) return Annotate(text.status(), key);
  return text;
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> TlsCredentials(
    const TlsConfig& tls) {
  grpc::SslServerCredentialsOptions options;
  auto& pair = options.pem_key_cert_pairs.emplace_back();
  ASSIGN_OR_RETURN(pair.private_key, ReadPem("tls.key_file", tls.key_file));
  ASSIGN_OR_RETURN(pair.cert_chain,
                   ReadPem("tls.certificate_file", tls.certificate_file));
  if (!tls.client_ca_file.empty()) {
    ASSIGN_OR_RETURN(options.pem_root_certs,
                     ReadPem("tls.client_ca_file", tls.client_ca_file));
    // The transport's own refusal does not say which file is wrong.
    if (options.pem_root_certs.find("-----BEGIN CERTIFICATE-----") ==
        std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tls.client_ca_file: ", tls.client_ca_file,
          " holds no certificate; give the PEM file of the authority that "
          "signs your clients' certificates"));
    }
    options.client_certificate_request =
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
  }
  return grpc::SslServerCredentials(options);
}

}  // namespace

absl::StatusOr<std::vector<Listener>> MakeListeners(const Config& config) {
  std::vector<Listener> listeners;
  for (const std::string& address : config.listen) {
    if (address == kUnix) {
      const std::string path = config.data_dir + "/dissonance.sock";
      listeners.push_back(
          {.address = absl::StrCat("unix:", path), .socket_path = path});
      continue;
    }
    ASSIGN_OR_RETURN(const HostPort parts, Split(kListen, address));
    if (!IsLoopback(parts.host) && config.tls.certificate_file.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "listen: ", address,
          " can be reached from other machines and needs TLS; set "
          "tls.certificate_file and tls.key_file, or listen on 127.0.0.1"));
    }
    listeners.push_back({.address = address, .socket_path = ""});
  }
  return listeners;
}

absl::Status CheckLoopback(absl::string_view key, const std::string& address) {
  const absl::StatusOr<HostPort> parts = Split(key, address);
  if (parts.ok() && IsLoopback(parts->host)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(key, ": \"", address,
                   "\" is not HOST:PORT of this machine, e.g. 127.0.0.1:9464; "
                   "nobody is asked for a token there"));
}

int SocketAddress::port() const {
  return ntohs(storage.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port
                   : reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
}

absl::StatusOr<SocketAddress> Resolve(absl::string_view key,
                                      const std::string& address) {
  ASSIGN_OR_RETURN(const HostPort parts, Split(key, address));
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(parts.host.c_str(), parts.port.c_str(), &hints, &found);
  if (error != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        key, ": cannot resolve ", address, ": ", ::gai_strerror(error)));
  }
  const absl::Cleanup free_found = [found] { ::freeaddrinfo(found); };
  SocketAddress out;
  out.size = std::min<socklen_t>(found->ai_addrlen, sizeof(out.storage));
  std::memcpy(&out.storage, found->ai_addr, out.size);
  return out;
}

absl::Status CheckPortsFree(const std::vector<Listener>& listeners) {
  for (const Listener& listener : listeners) {
    if (!listener.socket_path.empty()) continue;
    RETURN_IF_ERROR(CheckFree(listener.address));
  }
  return absl::OkStatus();
}

absl::Status AddListeners(
    const Config& config,
    const std::shared_ptr<grpc::AuthMetadataProcessor>& gate,
    std::vector<Listener>& listeners, grpc::ServerBuilder& builder) {
  // Two servers must never share a port.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  for (Listener& listener : listeners) {
    std::shared_ptr<grpc::ServerCredentials> credentials;
    if (!listener.socket_path.empty()) {
      credentials = grpc::experimental::LocalServerCredentials(UDS);
    } else if (config.tls.certificate_file.empty()) {
      credentials = grpc::experimental::LocalServerCredentials(LOCAL_TCP);
    } else {
      ASSIGN_OR_RETURN(credentials, TlsCredentials(config.tls));
    }
    credentials->SetAuthMetadataProcessor(gate);
    builder.AddListeningPort(listener.address, credentials, &listener.port);
  }
  return absl::OkStatus();
}

std::vector<std::string> AddressesOf(const std::vector<Listener>& listeners) {
  std::vector<std::string> addresses;
  for (const Listener& listener : listeners) {
    const size_t colon = listener.address.rfind(':');
    addresses.push_back(listener.socket_path.empty()
                            ? absl::StrCat(listener.address.substr(0, colon),
                                           ":", listener.port)
                            : listener.address);
  }
  return addresses;
}

}  // namespace dissonance
