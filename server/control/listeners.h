// Where the server listens and who may connect there. A loopback address or a
// unix socket needs no TLS; any other does. With tls.client_ca_file, whoever
// connects over TLS has to show a certificate of that authority. Every listener
// has the gate in its credentials. Thread safe.
#ifndef DISSONANCE_SERVER_CONTROL_LISTENERS_H_
#define DISSONANCE_SERVER_CONTROL_LISTENERS_H_

#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/security/auth_metadata_processor.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "server/control/config.h"

namespace dissonance {

struct Listener {
  std::string address;      // "unix:/PATH" or "HOST:PORT"
  std::string socket_path;  // of a unix socket, else empty
  // Set by BuildAndStart: the port that port 0 became.
  int port = 0;
};

// The listeners of a resolved configuration. INVALID_ARGUMENT for an address
// that is malformed, or that is not loopback while there is no TLS.
absl::StatusOr<std::vector<Listener>> MakeListeners(const Config& config);

// INVALID_ARGUMENT, naming the key, unless the address is a HOST:PORT that only
// this machine can reach.
absl::Status CheckLoopback(absl::string_view key, const std::string& address);

// A HOST:PORT as the system's calls take it.
struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
  int port() const;
};

// INVALID_ARGUMENT, naming the key, if it is malformed or has no address.
absl::StatusOr<SocketAddress> Resolve(absl::string_view key,
                                      const std::string& address);

// ALREADY_EXISTS for a port that is in use.
absl::Status CheckPortsFree(const std::vector<Listener>& listeners);

// Adds them to the builder. `listeners` must outlive BuildAndStart.
absl::Status AddListeners(
    const Config& config,
    const std::shared_ptr<grpc::AuthMetadataProcessor>& gate,
    std::vector<Listener>& listeners, grpc::ServerBuilder& builder);

// As clients write them, with the real ports. After BuildAndStart.
std::vector<std::string> AddressesOf(const std::vector<Listener>& listeners);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_LISTENERS_H_
