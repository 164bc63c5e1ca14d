// The open channel to a server, with the caller's token on every call. Thread
// safe after Open; owns the channel and its stubs.
//
//   ASSIGN_OR_RETURN(auto connection, Connection::Open(settings));
//   v1::GetJobRequest request;
//   request.set_name("jobs/01J...");
//   ASSIGN_OR_RETURN(v1::GetJobResponse response,
//                    connection->Call(&v1::Jobs::Stub::GetJob, request));
#ifndef DISSONANCE_CLIENT_CLI_CONNECTION_H_
#define DISSONANCE_CLIENT_CLI_CONNECTION_H_

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/settings.h"
#include "dissonance/v1/admin.grpc.pb.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/interpretability.grpc.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "dissonance/v1/probes.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/sync_stream.h"

namespace dissonance::cli {

class Connection {
 public:
  // Reads the token and connects. UNAVAILABLE, with how to start a server, if
  // none answers; NOT_FOUND if the token file that was named is not there.
  static absl::StatusOr<std::unique_ptr<Connection>> Open(
      const Settings& settings);

  // One unary call that ends by `timeout`.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(
      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                   Response*),
      const Request& request, absl::Duration timeout = absl::Minutes(1)) {
    const std::unique_ptr<grpc::ClientContext> context = NewContext();
    SetDeadline(*context, timeout);
    Response response;
    const grpc::Status status =
        (stub<Stub>().*method)(context.get(), request, &response);
    if (!status.ok()) return Explain(status);
    return response;
  }

  // Call, repeated with back-off for about 10 s while the answer is
  // UNAVAILABLE, as when a worker is being restarted. REQUIRES: asking twice
  // does no harm.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> CallAgain(
      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                   Response*),
      const Request& request, absl::Duration timeout = absl::Minutes(1)) {
    return Again([&] { return Call(method, request, timeout); });
  }

  // All responses of a stream, asked for again likewise. REQUIRES: they fit
  // into memory.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<std::vector<Response>> CollectAgain(
      std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(
          grpc::ClientContext*, const Request&),
      const Request& request) {
    return Again([&]() -> absl::StatusOr<std::vector<Response>> {
      const std::unique_ptr<grpc::ClientContext> context = NewContext();
      const auto reader = (stub<Stub>().*method)(context.get(), request);
      std::vector<Response> responses(1);
      while (reader->Read(&responses.back())) responses.emplace_back();
      responses.pop_back();
      const grpc::Status status = reader->Finish();
      if (!status.ok()) return Explain(status);
      return responses;
    });
  }

  // For streams: a context with the token and no deadline.
  std::unique_ptr<grpc::ClientContext> NewContext() const;

  // The stub of a service, e.g. stub<v1::Jobs::Stub>().
  template <typename Stub>
  Stub& stub() {
    return *std::get<std::unique_ptr<Stub>>(stubs_);
  }

  // The end of a call as a Status, with what to do next where it is known.
  absl::Status Explain(const grpc::Status& status) const;

  // Whether grpc.health.v1 says SERVING; never waits longer than `timeout`.
  bool IsServing(absl::Duration timeout);

  const std::string& address() const { return address_; }

 private:
  Connection(const Settings& settings, std::string token,
             std::shared_ptr<grpc::Channel> channel);

  // `ask` until its answer is not UNAVAILABLE.
  template <typename Ask>
  auto Again(Ask ask) {
    auto response = ask();
    for (absl::Duration pause = absl::Milliseconds(200);
         absl::IsUnavailable(response.status()) && pause < absl::Seconds(6);
         pause *= 2) {
      absl::SleepFor(pause);
      response = ask();
    }
    return response;
  }

  static void SetDeadline(grpc::ClientContext& context, absl::Duration timeout);

  const std::string address_;
  const std::string token_source_;
  const std::string token_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::tuple<
      std::unique_ptr<v1::Models::Stub>, std::unique_ptr<v1::Inference::Stub>,
      std::unique_ptr<v1::Interpretability::Stub>,
      std::unique_ptr<v1::Jobs::Stub>, std::unique_ptr<v1::Artifacts::Stub>,
      std::unique_ptr<v1::Admin::Stub>, std::unique_ptr<v1::Probes::Stub>,
      std::unique_ptr<v1::Directions::Stub>>
      stubs_;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_CONNECTION_H_
