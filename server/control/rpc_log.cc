#include "server/control/rpc_log.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "google/protobuf/util/time_util.h"
#include "server/control/auth.h"
#include "server/control/local_calls.h"
#include "server/control/method_rules.h"
#include "src/base/log.h"
#include "src/lab/storage/random_bytes.h"

namespace dissonance {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerInterceptorFactoryInterface;
using grpc::experimental::ServerRpcInfo;

constexpr char kRequestIdKey[] = "x-request-id";
// The peer of a call from within the process, which has no address.
constexpr char kOwnProcess[] = "unknown";
// Secrets begin so, names never do.
constexpr char kSecretPrefix[] = "dissonance_";
constexpr size_t kMaxRequestId = 64;
constexpr size_t kRequestIdBytes = 8;

bool IsRequestId(absl::string_view id) {
  return !id.empty() && id.size() <= kMaxRequestId &&
         std::all_of(id.begin(), id.end(),
                     [](char c) { return absl::ascii_isgraph(c); });
}

std::string TextField(const Message& message, const char* name) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || field->is_repeated() ||
      field->type() != FieldDescriptor::TYPE_STRING) {
    return "";
  }
  return message.GetReflection()->GetString(message, field);
}

// What a message is about: its own name, or that of what it carries.
std::string ResourceOf(const Message& message) {
  for (const char* name : {"name", "path"}) {
    std::string own = TextField(message, name);
    if (!own.empty()) return own;
  }
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE ||
        field->is_repeated()) {
      continue;
    }
    std::string inner =
        TextField(message.GetReflection()->GetMessage(message, field), "name");
    if (!inner.empty()) return inner;
  }
  return "";
}

// Lives as long as its call.
class CallLog final : public Interceptor {
 public:
  CallLog(ServerRpcInfo& info, const RpcLogParts& parts)
      : method_(info.method()),
        context_(*info.server_context()),
        mutates_(RuleOf(method_).mutates),
        is_streaming_(info.type() == ServerRpcInfo::Type::SERVER_STREAMING),
        parts_(parts),
        start_(parts.clock.Monotonic()) {
    parts_.calls.Add(1);
  }
  ~CallLog() override {
    const double ms =
        absl::ToDoubleMilliseconds(parts_.clock.Monotonic() - start_);
    Log(is_watch_ ? LogLevel::kDebug : LogLevel::kInfo, "call",
        {{"method", method_},
         {"code", absl::StatusCodeToString(code_)},
         {"ms", std::round(ms * 10) / 10},
         {"user", caller_.user},
         {"request", request_id_}});
    parts_.calls.Add(-1);
  }

  void Intercept(InterceptorBatchMethods* methods) override {
    const auto is_at = [methods](InterceptionHookPoints point) {
      return methods->QueryInterceptionHookPoint(point);
    };
    if (is_at(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      Identify(*methods->GetRecvInitialMetadata());
    }
    if (mutates_ && is_at(InterceptionHookPoints::POST_RECV_MESSAGE)) {
      Note(static_cast<const Message*>(methods->GetRecvMessage()));
    }
    if (is_at(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->insert({kRequestIdKey, request_id_});
    }
    if (mutates_ && is_at(InterceptionHookPoints::PRE_SEND_MESSAGE)) {
      Note(static_cast<const Message*>(methods->GetSendMessage()));
      // A stream that has begun has changed what it changes.
      if (is_streaming_) Audit(absl::StatusCode::kOk);
    }
    if (is_at(InterceptionHookPoints::PRE_SEND_STATUS)) {
      code_ =
          static_cast<absl::StatusCode>(methods->GetSendStatus().error_code());
      if (mutates_) Audit(code_);
    }
    methods->Proceed();
  }

 private:
  void Identify(
      const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
    const absl::string_view sent = MetadataOf(metadata, kRequestIdKey);
    request_id_ = IsRequestId(sent)
                      ? std::string(sent)
                      : absl::BytesToHexString(RandomBytes(kRequestIdBytes));
    is_watch_ = !mutates_ && !MetadataOf(metadata, kWatchKey).empty() &&
                context_.peer() == kOwnProcess;
    absl::string_view token = MetadataOf(metadata, "authorization");
    if (!absl::ConsumePrefix(&token, "Bearer ")) return;
    if (auto caller = parts_.tokens.Authenticate(token); caller.ok()) {
      caller_ = *std::move(caller);
    }
  }

  void Note(const Message* message) {
    if (message == nullptr || !resource_.empty()) return;
    resource_ = ResourceOf(*message);
  }

  void Audit(absl::StatusCode code) {
    if (is_audited_) return;
    is_audited_ = true;
    v1::AuditEvent event;
    *event.mutable_time() =
        google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(
            absl::ToUnixMicros(parts_.clock.Now()));
    event.set_user(NameOfUser(caller_.user));
    event.set_token(caller_.token);
    event.set_method(method_);
    // Whoever gives a token's secret for its name must not find it kept.
    event.set_resource(absl::StrContains(resource_, kSecretPrefix)
                           ? "(a secret)"
                           : absl::CHexEscape(resource_.substr(0, 300)));
    event.set_code(absl::StatusCodeToString(code));
    event.set_request_id(request_id_);
    event.set_peer(context_.peer());
    const absl::Status stored = parts_.audit.Append(event);
    if (stored.ok()) return;
    Log(LogLevel::kError, "a change is not in the audit log",
        {{"method", method_},
         {"user", caller_.user},
         {"resource", event.resource()},
         {"request", request_id_},
         {"why", stored.message()}});
  }

  const std::string method_;
  const grpc::ServerContextBase& context_;
  const bool mutates_;
  const bool is_streaming_;
  const RpcLogParts parts_;
  const absl::Duration start_;
  Principal caller_;
  std::string request_id_;
  std::string resource_;
  bool is_audited_ = false;
  bool is_watch_ = false;  // see local_calls.h
  // Of a call that ends without a status: its client went away.
  absl::StatusCode code_ = absl::StatusCode::kCancelled;
};

class CallLogFactory final : public ServerInterceptorFactoryInterface {
 public:
  explicit CallLogFactory(const RpcLogParts& parts) : parts_(parts) {}

  Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    // Health is asked all the time, and its watches never end by themselves.
    if (absl::StartsWith(info->method(), "/grpc.")) return nullptr;
    return new CallLog(*info, parts_);
  }

 private:
  const RpcLogParts parts_;
};

}  // namespace

std::vector<std::unique_ptr<ServerInterceptorFactoryInterface>> RpcLogCreators(
    const RpcLogParts& parts) {
  std::vector<std::unique_ptr<ServerInterceptorFactoryInterface>> creators;
  creators.push_back(std::make_unique<CallLogFactory>(parts));
  return creators;
}

}  // namespace dissonance
