#include "client/cli/connection.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "client/cli/errors.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/channel_arguments.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr uint64_t kTokenLimitBytes = 4096;
constexpr uint64_t kCertificateLimitBytes = 4 << 20;
// An MCQ job carries its data file, of at most 16 MiB.
constexpr int kMessageLimitBytes = 64 << 20;
constexpr absl::Duration kConnectTimeout = absl::Seconds(10);

absl::StatusOr<std::string> ReadToken(const Settings& settings) {
  if (!settings.token.empty()) return settings.token;
  if (settings.token_file.empty()) return std::string();
  absl::StatusOr<std::string> text =
      ReadFile(settings.token_file, kTokenLimitBytes);
  if (!text.ok() && !settings.token_required) return std::string();
  if (!text.ok()) {
    return WithHint(Annotate(text.status(), "token file"),
                    "name the file that holds your token with --token-file, "
                    "or set DISSONANCE_TOKEN");
  }
  const absl::string_view token = absl::StripAsciiWhitespace(*text);
  // Anything else can't be sent, and is some other file.
  if (!std::all_of(token.begin(), token.end(),
                   [](char c) { return absl::ascii_isgraph(c); })) {
    return absl::InvalidArgumentError(
        absl::StrCat(settings.token_file,
                     " does not hold a token, which is one word: name another "
                     "file with --token-file"));
  }
  return std::string(token);
}

std::string TokenSource(const Settings& settings, const std::string& token) {
  if (!settings.token.empty()) return "DISSONANCE_TOKEN";
  if (!token.empty()) return settings.token_file;
  return "";
}

// The file that a profile names under `key`; empty if it names none.
absl::StatusOr<std::string> ReadPem(const std::string& path, const char* key) {
  if (path.empty()) return std::string();
  absl::StatusOr<std::string> text =
      ReadFile(AbsolutePath(path), kCertificateLimitBytes);
  if (!text.ok()) return Annotate(text.status(), key);
  return text;
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> CredentialsFor(
    const Settings& settings) {
  // On this machine a server may do without TLS; a profile that has anything of
  // TLS says that this one does not.
  const bool names_tls =
      !settings.tls_ca_file.empty() || !settings.tls_certificate_file.empty();
  if (IsLocalAddress(settings.address) && !names_tls) {
    return grpc::InsecureChannelCredentials();
  }
  // A token never travels in the clear to another machine.
  grpc::SslCredentialsOptions tls;
  ASSIGN_OR_RETURN(tls.pem_root_certs,
                   ReadPem(settings.tls_ca_file, "tls_ca_file"));
  ASSIGN_OR_RETURN(tls.pem_cert_chain, ReadPem(settings.tls_certificate_file,
                                               "tls_certificate_file"));
  ASSIGN_OR_RETURN(tls.pem_private_key,
                   ReadPem(settings.tls_key_file, "tls_key_file"));
  return grpc::SslCredentials(tls);
}

std::shared_ptr<grpc::Channel> MakeChannel(
    const Settings& settings,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageLimitBytes);
  arguments.SetMaxSendMessageSize(kMessageLimitBytes);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // Also the time that one attempt has: a busy machine may take seconds.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  if (IsLocalAddress(settings.address)) {
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  }
  return grpc::CreateCustomChannel(settings.address, credentials, arguments);
}

// Connects, or gives up at the first refusal: waiting would not help someone
// who has not started the server.
bool WaitUntilConnected(grpc::Channel& channel) {
  const auto deadline = absl::ToChronoTime(absl::Now() + kConnectTimeout);
  while (true) {
    const grpc_connectivity_state state = channel.GetState(true);
    if (state == GRPC_CHANNEL_READY) return true;
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE ||
        state == GRPC_CHANNEL_SHUTDOWN) {
      return false;
    }
    if (!channel.WaitForStateChange(state, deadline)) return false;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(
    const Settings& settings) {
  ASSIGN_OR_RETURN(auto credentials, CredentialsFor(settings));
  std::shared_ptr<grpc::Channel> channel = MakeChannel(settings, credentials);
  if (!WaitUntilConnected(*channel)) {
    return WithHint(
        absl::UnavailableError(
            absl::StrCat("no server answers at ", settings.address)),
        IsLocalAddress(settings.address)
            ? "start one with 'dissonance server start', or name another with "
              "--server or DISSONANCE_SERVER"
            : "check the address, that the server has a certificate for it, "
              "and whether it asks for one of yours (tls_certificate_file of "
              "the profile); 'dissonance server start' starts one on this "
              "machine");
  }
  ASSIGN_OR_RETURN(std::string token, ReadToken(settings));
  return std::unique_ptr<Connection>(
      new Connection(settings, std::move(token), std::move(channel)));
}

Connection::Connection(const Settings& settings, std::string token,
                       std::shared_ptr<grpc::Channel> channel)
    : address_(settings.address),
      token_source_(TokenSource(settings, token)),
      token_(std::move(token)),
      channel_(std::move(channel)),
      stubs_(v1::Models::NewStub(channel_), v1::Inference::NewStub(channel_),
             v1::Interpretability::NewStub(channel_),
             v1::Jobs::NewStub(channel_), v1::Artifacts::NewStub(channel_),
             v1::Admin::NewStub(channel_), v1::Probes::NewStub(channel_),
             v1::Directions::NewStub(channel_)) {}

std::unique_ptr<grpc::ClientContext> Connection::NewContext() const {
  auto context = std::make_unique<grpc::ClientContext>();
  if (!token_.empty()) {
    context->AddMetadata("authorization", absl::StrCat("Bearer ", token_));
  }
  return context;
}

void Connection::SetDeadline(grpc::ClientContext& context,
                             absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration()) return;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
}

absl::Status Connection::Explain(const grpc::Status& status) const {
  const absl::Status out = FromGrpc(status);
  switch (status.error_code()) {
    case grpc::StatusCode::UNAUTHENTICATED:
      return WithHint(
          out, token_source_.empty()
                   ? "no token was found: name a file with --token-file or set "
                     "DISSONANCE_TOKEN; the server's owner finds one in "
                     "owner.token of its data directory (--data-dir)"
                   : absl::StrCat("it came from ", token_source_,
                                  "; name another with --token-file or "
                                  "DISSONANCE_TOKEN"));
    case grpc::StatusCode::PERMISSION_DENIED:
      return WithHint(out,
                      "a token has the scope read, run or admin, each with "
                      "what those before it may do; 'dissonance server "
                      "status' shows yours, and an administrator makes one "
                      "with 'dissonance admin token create'");
    case grpc::StatusCode::UNAVAILABLE:
      return WithHint(out,
                      "try again; 'dissonance server status' and 'dissonance "
                      "server logs' say what happened");
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return WithHint(out, absl::StrCat("the server at ", address_,
                                        " is busy or stuck; 'dissonance "
                                        "server logs' may say why"));
    default:
      return out;
  }
}

bool Connection::IsServing(absl::Duration timeout) {
  const std::unique_ptr<grpc::ClientContext> context = NewContext();
  SetDeadline(*context, timeout);
  // An empty HealthCheckRequest asks about the server as a whole.
  const grpc::ByteBuffer request(nullptr, 0);
  grpc::ByteBuffer response;
  absl::Notification done;
  grpc::Status status;
  grpc::GenericStub stub(channel_);
  stub.UnaryCall(context.get(), "/grpc.health.v1.Health/Check",
                 grpc::StubOptions(), &request, &response,
                 [&](grpc::Status result) {
                   status = std::move(result);
                   done.Notify();
                 });
  done.WaitForNotification();
  grpc::Slice bytes;
  // HealthCheckResponse{status: SERVING} is field 1, varint 1.
  return status.ok() && response.DumpToSingleSlice(&bytes).ok() &&
         bytes.size() == 2 && bytes.begin()[0] == 0x08 &&
         bytes.begin()[1] == 0x01;
}

}  // namespace dissonance::cli
