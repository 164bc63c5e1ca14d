// dissonance-bench-stream: what a stream of activations costs, beside the same
// bytes through TCP. Prints {"bytes": 1000, "seconds": 0.5}.
//
//   dissonance-bench-stream grpc ADDRESS TOKEN < StreamActivationsRequest
//   dissonance-bench-stream tcp BYTES
//
// Bytes are those of the tensors; nothing is done with them. TCP is the
// loopback of this machine, in pieces as large as the server's chunks, written
// by one thread and read by another.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "dissonance/v1/interpretability.grpc.pb.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;

absl::StatusOr<nlohmann::json> StreamGrpc(const std::string& address,
                                          const std::string& token) {
  v1::StreamActivationsRequest request;
  if (!request.ParseFromIstream(&std::cin)) {
    return absl::InvalidArgumentError("stdin is no StreamActivationsRequest");
  }
  const auto channel =
      grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  channel->WaitForConnected(std::chrono::system_clock::now() +
                            std::chrono::seconds(10));
  const auto stub = v1::Interpretability::NewStub(channel);
  grpc::ClientContext context;
  context.AddMetadata("authorization", absl::StrCat("Bearer ", token));
  const absl::Time start = absl::Now();
  const auto reader = stub->StreamActivations(&context, request);
  v1::StreamActivationsResponse response;
  size_t bytes = 0;
  bool from_store = false;
  while (reader->Read(&response)) {
    bytes += response.chunk().tensor().data().size();
    if (response.has_summary()) from_store = response.summary().from_store();
  }
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  const grpc::Status status = reader->Finish();
  if (!status.ok()) return absl::UnavailableError(status.error_message());
  return nlohmann::json{
      {"bytes", bytes}, {"seconds", seconds}, {"from_store", from_store}};
}

// A socket that is closed with its owner.
class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() { ::close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

// Until `bytes` are through, or the other side has gone.
template <typename Transfer>
void TransferAll(size_t bytes, Transfer transfer) {
  std::vector<char> piece(kPieceBytes);
  while (bytes > 0) {
    const ssize_t done = transfer(piece.data(), std::min(bytes, piece.size()));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return;
    bytes -= static_cast<size_t>(done);
  }
}

absl::StatusOr<nlohmann::json> StreamTcp(size_t bytes) {
  const Socket listener(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.fd(), generic, length) != 0 ||
      ::listen(listener.fd(), 1) != 0 ||
      ::getsockname(listener.fd(), generic, &length) != 0) {
    return absl::ErrnoToStatus(errno, "listening on the loopback");
  }
  const Socket writing(::socket(AF_INET, SOCK_STREAM, 0));
  if (::connect(writing.fd(), generic, length) != 0) {
    return absl::ErrnoToStatus(errno, "connecting to the loopback");
  }
  const Socket reading(::accept(listener.fd(), nullptr, nullptr));
  size_t received = 0;
  const absl::Time start = absl::Now();
  std::thread writer([&] {
    TransferAll(bytes, [&](const char* data, size_t size) {
      return ::send(writing.fd(), data, size, MSG_NOSIGNAL);
    });
  });
  TransferAll(bytes, [&](char* data, size_t size) {
    const ssize_t count = ::recv(reading.fd(), data, size, 0);
    if (count > 0) received += static_cast<size_t>(count);
    return count;
  });
  writer.join();
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return nlohmann::json{{"bytes", received}, {"seconds", seconds}};
}

absl::StatusOr<nlohmann::json> Run(const std::vector<std::string>& arguments) {
  size_t bytes = 0;
  if (arguments.size() == 3 && arguments[0] == "grpc") {
    return StreamGrpc(arguments[1], arguments[2]);
  }
  if (arguments.size() == 2 && arguments[0] == "tcp" &&
      absl::SimpleAtoi(arguments[1], &bytes)) {
    return StreamTcp(bytes);
  }
  return absl::InvalidArgumentError(
      "usage: dissonance-bench-stream grpc ADDRESS TOKEN < REQUEST, or tcp "
      "BYTES");
}

}  // namespace
}  // namespace dissonance

int main(int argc, char** argv) {
  const auto result = dissonance::Run({argv + 1, argv + argc});
  if (result.ok()) {
    std::cout << dissonance::ToJsonLine(*result);
    return EXIT_SUCCESS;
  }
  std::fprintf(stderr, "error: %s\n",
               std::string(result.status().message()).c_str());
  return EXIT_FAILURE;
}
