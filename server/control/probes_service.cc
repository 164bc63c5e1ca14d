#include "server/control/probes_service.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "dissonance/v1/probes.grpc.pb.h"
#include "server/control/auth.h"
#include "server/control/forwarded_call.h"
#include "server/control/grpc_status.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Context = grpc::CallbackServerContext;
using Bytes = grpc::ByteBuffer;
using Unary = grpc::ServerUnaryReactor;
using Stream = grpc::ServerWriteReactor<Bytes>;

constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;

using RawProbes = v1::Probes::WithRawCallbackMethod_TrainProbes<
    v1::Probes::WithRawCallbackMethod_FitDirections<
        v1::Probes::WithRawCallbackMethod_ApplyProbe<
            v1::Probes::WithCallbackMethod_ListProbes<v1::Probes::Service>>>>;

// The probes of a recorded item, which is what one place gave, without what is
// bulky.
absl::StatusOr<std::vector<v1::ProbeResult>> ProbesIn(const std::string& item) {
  v1::ListProbesResponse place;
  if (!place.ParseFromString(item)) {
    return absl::DataLossError("a recorded item is no result of probes");
  }
  std::vector<v1::ProbeResult> probes;
  for (v1::ProbeResult& probe : *place.mutable_probes()) {
    probe.clear_weights();
    probe.clear_direction();
    probe.clear_decisions();
    probes.push_back(std::move(probe));
  }
  return probes;
}

class ProbesService final : public RawProbes {
 public:
  explicit ProbesService(const ProbesParts& parts) : parts_(parts) {}

  Stream* TrainProbes(Context* context, const Bytes* request) override {
    return ForwardStream(
        Admit<v1::TrainProbesRequest>(parts_.forwarding, *context, *request),
        "/dissonance.v1.Probes/TrainProbes", *context, request);
  }
  Unary* FitDirections(Context* context, const Bytes* request,
                       Bytes* response) override {
    return ForwardUnary(
        Admit<v1::FitDirectionsRequest>(parts_.forwarding, *context, *request),
        "/dissonance.v1.Probes/FitDirections", *context, request, response);
  }
  Unary* ApplyProbe(Context* context, const Bytes* request,
                    Bytes* response) override {
    return ForwardUnary(
        Admit<v1::ApplyProbeRequest>(parts_.forwarding, *context, *request),
        "/dissonance.v1.Probes/ApplyProbe", *context, request, response);
  }
  Unary* ListProbes(Context* context, const v1::ListProbesRequest* request,
                    v1::ListProbesResponse* response) override {
    Unary* reactor = context->DefaultReactor();
    const absl::StatusOr<Principal> caller =
        CallerOf(*context, parts_.forwarding.tokens);
    reactor->Finish(ToGrpc(caller.ok() ? List(*caller, *request, *response)
                                       : caller.status()));
    return reactor;
  }

 private:
  absl::Status List(const Principal& caller,
                    const v1::ListProbesRequest& request,
                    v1::ListProbesResponse& response) {
    ASSIGN_OR_RETURN(const v1::Job job,
                     parts_.jobs.Get(JobsOwnerOf(caller), request.job()));
    if (!job.spec().has_train_probes()) {
      return absl::InvalidArgumentError(
          absl::StrCat("job: ", job.name(), " is no train_probes job"));
    }
    int64_t begin = 0;
    if (request.page_size() < 0 ||
        (!request.page_token().empty() &&
         (!absl::SimpleAtoi(request.page_token(), &begin) || begin < 0))) {
      return absl::InvalidArgumentError(absl::StrCat(
          "give a page_size of 0 to ", kMaxPageSize,
          ", and as page_token the next_page_token of the page before"));
    }
    const int64_t size = request.page_size() == 0
                             ? kDefaultPageSize
                             : std::min(request.page_size(), kMaxPageSize);
    ASSIGN_OR_RETURN(const std::vector<std::string> items,
                     parts_.store.Items(job.name()));
    int64_t index = 0;
    for (const std::string& item : items) {
      ASSIGN_OR_RETURN(std::vector<v1::ProbeResult> probes, ProbesIn(item));
      for (v1::ProbeResult& probe : probes) {
        if (index == begin + size) {
          response.set_next_page_token(absl::StrCat(index));
          return absl::OkStatus();
        }
        if (index++ >= begin) *response.add_probes() = std::move(probe);
      }
    }
    return absl::OkStatus();
  }

  const ProbesParts parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeProbesService(const ProbesParts& parts) {
  return std::make_unique<ProbesService>(parts);
}

}  // namespace dissonance
