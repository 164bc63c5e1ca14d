// A client of a server that may be away for a while: its channel outlives the
// server's process. Thread safe; one for each thread keeps threads apart, as
// real clients are.
//
//   Client client(data_dir, *Client::OwnerToken(data_dir));
//   v1::GetJobRequest request;
//   ASSIGN_OR_RETURN(v1::GetJobResponse response,
//                    client.Insist(&v1::Jobs::Stub::GetJob, request));
#ifndef DISSONANCE_TESTS_ENDURANCE_CLIENT_H_
#define DISSONANCE_TESTS_ENDURANCE_CLIENT_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/sync_stream.h"
#include "tests/server/server_fixture.h"

namespace dissonance {

class Client {
 public:
  // Of the unix socket in `data_dir`.
  Client(const std::string& data_dir, const std::string& token);

  // The owner's, as the server left it in `data_dir`.
  static absl::StatusOr<std::string> OwnerToken(const std::string& data_dir);

  // With the token and a deadline.
  std::unique_ptr<grpc::ClientContext> NewContext() const;

  // One unary call.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(
      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                   Response*),
      const Request& request) const {
    Stub stub(channel_);
    Response response;
    const auto context = NewContext();
    const grpc::Status status =
        (stub.*method)(context.get(), request, &response);
    if (!status.ok()) return ToAbsl(status);
    return response;
  }

  // The same, again and again while it is UNAVAILABLE, as a client's retry
  // policy would.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Insist(
      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                   Response*),
      const Request& request) {
    const absl::Time deadline = absl::Now() + kPatience;
    while (true) {
      absl::StatusOr<Response> response = Call(method, request);
      if (!absl::IsUnavailable(response.status()) || absl::Now() > deadline) {
        return response;
      }
      PauseBeforeRetry();
    }
  }
  // Part of every retry.
  void PauseBeforeRetry() {
    ++retry_count_;
    absl::SleepFor(kRetryPause);
  }

  // Reads a stream to its end, or cancels it when `on_message` returns false.
  template <typename Stub, typename Request, typename Response>
  absl::Status Read(
      std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(
          grpc::ClientContext*, const Request&),
      const Request& request,
      std::type_identity_t<absl::FunctionRef<bool(const Response&)>> on_message)
      const {
    Stub stub(channel_);
    const auto context = NewContext();
    const auto reader = (stub.*method)(context.get(), request);
    for (Response response; reader->Read(&response);) {
      if (!on_message(response)) context->TryCancel();
    }
    return ToAbsl(reader->Finish());
  }

  // How often calls were made again.
  int64_t retry_count() const { return retry_count_; }

  static constexpr absl::Duration kPatience = absl::Minutes(10);

 private:
  static constexpr absl::Duration kRetryPause = absl::Milliseconds(50);

  const std::string token_;
  const std::shared_ptr<grpc::Channel> channel_;
  std::atomic<int64_t> retry_count_ = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_ENDURANCE_CLIENT_H_
