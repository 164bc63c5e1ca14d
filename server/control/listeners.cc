#include "server/control/listeners.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
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

constexpr char kUnix[] = "unix";
constexpr uint64_t kPemLimitBytes = 4 << 20;

struct HostPort {
  std::string host;  // without brackets
  std::string port;
};

absl::StatusOr<HostPort> Split(const std::string& address) {
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
        "listen: \"", address,
        "\" is neither \"unix\" nor HOST:PORT (write [::1]:PORT for IPv6)"));
  }
  return out;
}

bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "::1" || absl::StartsWith(host, "127.");
}

// Tries the port, so that a refusal is one clear line: the transport itself
// would only say that something failed.
absl::Status CheckFree(const std::string& address, const HostPort& parts) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(parts.host.c_str(), parts.port.c_str(), &hints, &found);
  if (error != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "listen: cannot resolve ", address, ": ", ::gai_strerror(error)));
  }
  const absl::Cleanup free_found = [found] { ::freeaddrinfo(found); };
  const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::ErrnoToStatus(errno, "socket");
  const absl::Cleanup close_fd = [fd] { ::close(fd); };
  const int yes = 1;
  // As the transport does: a port in TIME_WAIT is free.
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (::bind(fd, found->ai_addr, found->ai_addrlen) == 0) {
    return absl::OkStatus();
  }
  if (errno == EADDRINUSE) {
    return absl::AlreadyExistsError(absl::StrCat(
        "port ", parts.port, " of ", parts.host,
        " is in use by another program; end that one, or listen elsewhere, "
        "e.g. with --listen unix"));
  }
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot listen on ", address));
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> TlsCredentials(
    const TlsConfig& tls) {
  grpc::SslServerCredentialsOptions options;
  auto& pair = options.pem_key_cert_pairs.emplace_back();
  absl::StatusOr<std::string> key = ReadFile(tls.key_file, kPemLimitBytes);
  if (!key.ok()) return Annotate(key.status(), "tls.key_file");
  absl::StatusOr<std::string> chain =
      ReadFile(tls.certificate_file, kPemLimitBytes);
  if (!chain.ok()) return Annotate(chain.status(), "tls.certificate_file");
  pair.private_key = *std::move(key);
  pair.cert_chain = *std::move(chain);
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
    ASSIGN_OR_RETURN(const HostPort parts, Split(address));
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
  const absl::StatusOr<HostPort> parts = Split(address);
  if (parts.ok() && IsLoopback(parts->host)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(key, ": \"", address,
                   "\" is not HOST:PORT of this machine, e.g. 127.0.0.1:9464; "
                   "nobody is asked for a token there"));
}

absl::Status CheckPortsFree(const std::vector<Listener>& listeners) {
  for (const Listener& listener : listeners) {
    if (!listener.socket_path.empty()) continue;
    ASSIGN_OR_RETURN(const HostPort parts, Split(listener.address));
    RETURN_IF_ERROR(CheckFree(listener.address, parts));
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
