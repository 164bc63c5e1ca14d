#include "server/control/probes_service.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
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

// A probe: which item has it, and where in that.
struct Cursor {
  int64_t item = 0;
  int64_t probe = 0;
};

absl::Status BadToken() {
  return absl::InvalidArgumentError(
      "page_token: give the next_page_token of the page before, or none");
}

absl::StatusOr<Cursor> CursorOf(absl::string_view token) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(token, absl::MaxSplits('.', 1));
  Cursor cursor;
  if (!absl::SimpleAtoi(parts.first, &cursor.item) || cursor.item < 0 ||
      !absl::SimpleAtoi(parts.second, &cursor.probe) || cursor.probe < 0) {
    return BadToken();
  }
  return cursor;
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
    if (request.page_size() < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("page_size is ", request.page_size(),
                       "; give 0 for the default, or 1 to ", kMaxPageSize));
    }
    const int size = request.page_size() == 0
                         ? kDefaultPageSize
                         : std::min(request.page_size(), kMaxPageSize);
    Cursor next;
    if (!request.page_token().empty()) {
      ASSIGN_OR_RETURN(next, CursorOf(request.page_token()));
    }
    return ReadPage(job.name(), next, size, response);
  }

  // Reads one item after the other: each may be large.
  absl::Status ReadPage(const std::string& job, Cursor next, int size,
                        v1::ListProbesResponse& response) {
    const bool is_first = next.item == 0 && next.probe == 0;
    for (;; next = {.item = next.item + 1}) {
      ASSIGN_OR_RETURN(const std::vector<std::string> items,
                       parts_.store.Items(job, next.item, /*limit=*/1));
      // A token names a probe that is there.
      const bool is_begin = response.probes().empty() && !is_first;
      if (items.empty()) return is_begin ? BadToken() : absl::OkStatus();
      ASSIGN_OR_RETURN(std::vector<v1::ProbeResult> probes,
                       ProbesIn(items.front()));
      const auto count = static_cast<int64_t>(probes.size());
      if (is_begin && next.probe >= count) return BadToken();
      for (; next.probe < count; ++next.probe) {
        if (response.probes_size() == size) {
          response.set_next_page_token(
              absl::StrCat(next.item, ".", next.probe));
          return absl::OkStatus();
        }
        *response.add_probes() =
            std::move(probes[static_cast<size_t>(next.probe)]);
      }
    }
  }

  const ProbesParts parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeProbesService(const ProbesParts& parts) {
  return std::make_unique<ProbesService>(parts);
}

}  // namespace dissonance
