#include "server/control/rpc_log.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "spdlog/spdlog.h"
#include "src/base/clock.h"

namespace dissonance {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerInterceptorFactoryInterface;
using grpc::experimental::ServerRpcInfo;

// Lives as long as its call.
class CallLog final : public Interceptor {
 public:
  CallLog(std::string method, CallCount& calls)
      : method_(std::move(method)), calls_(calls) {
    calls_.Add(1);
  }
  ~CallLog() override {
    const double ms =
        absl::ToDoubleMilliseconds(Clock::Real().Monotonic() - start_);
    spdlog::info("{} {} {:.1f} ms", method_, absl::StatusCodeToString(code_),
                 ms);
    calls_.Add(-1);
  }

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(
            InterceptionHookPoints::PRE_SEND_STATUS)) {
      code_ =
          static_cast<absl::StatusCode>(methods->GetSendStatus().error_code());
    }
    methods->Proceed();
  }

 private:
  const std::string method_;
  CallCount& calls_;
  const absl::Duration start_ = Clock::Real().Monotonic();
  // Of a call that ends without a status: its client went away.
  absl::StatusCode code_ = absl::StatusCode::kCancelled;
};

class CallLogFactory final : public ServerInterceptorFactoryInterface {
 public:
  explicit CallLogFactory(CallCount& calls) : calls_(calls) {}

  Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    const std::string method = info->method();
    // Health is asked all the time, and its watches never end by themselves.
    if (absl::StartsWith(method, "/grpc.")) return nullptr;
    return new CallLog(method, calls_);
  }

 private:
  CallCount& calls_;
};

}  // namespace

std::vector<std::unique_ptr<ServerInterceptorFactoryInterface>> RpcLogCreators(
    CallCount& calls) {
  std::vector<std::unique_ptr<ServerInterceptorFactoryInterface>> creators;
  creators.push_back(std::make_unique<CallLogFactory>(calls));
  return creators;
}

}  // namespace dissonance
