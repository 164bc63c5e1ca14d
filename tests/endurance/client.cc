#include "tests/endurance/client.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "grpcpp/create_channel.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr absl::Duration kDeadline = absl::Minutes(5);
constexpr uint64_t kTokenLimitBytes = 4096;

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& data_dir) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  // Also the time that one attempt has.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  // A connection of its own for each client.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(
      absl::StrCat("unix:", data_dir, "/dissonance.sock"),
      grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

Client::Client(const std::string& data_dir, const std::string& token)
    : token_(token), channel_(OpenChannel(data_dir)) {}

absl::StatusOr<std::string> Client::OwnerToken(const std::string& data_dir) {
  ASSIGN_OR_RETURN(const std::string text,
                   ReadFile(data_dir + "/owner.token", kTokenLimitBytes));
  return std::string(absl::StripAsciiWhitespace(text));
}

std::unique_ptr<grpc::ClientContext> Client::NewContext() const {
  auto context = std::make_unique<grpc::ClientContext>();
  context->AddMetadata("authorization", "Bearer " + token_);
  context->set_deadline(absl::ToChronoTime(absl::Now() + kDeadline));
  return context;
}

}  // namespace dissonance
