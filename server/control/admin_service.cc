#include "server/control/admin_service.h"

#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "dissonance/v1/admin.grpc.pb.h"
#include "google/protobuf/util/time_util.h"
#include "src/base/clock.h"
#include "src/base/file.h"

namespace dissonance {
namespace {

constexpr uint64_t kStatmLimitBytes = 4096;

// 0 where the system does not say.
int64_t ResidentBytes() {
  const absl::StatusOr<std::string> text =
      ReadFile("/proc/self/statm", kStatmLimitBytes);
  if (!text.ok()) return 0;
  const std::vector<std::string> fields = absl::StrSplit(*text, ' ');
  int64_t pages = 0;
  if (fields.size() < 2 || !absl::SimpleAtoi(fields[1], &pages)) return 0;
  return pages * ::sysconf(_SC_PAGESIZE);
}

class AdminService final : public v1::Admin::CallbackService {
 public:
  AdminService(v1::ServerInfoResponse fixed, AdminSources sources)
      : fixed_(std::move(fixed)), sources_(std::move(sources)) {}

  grpc::ServerUnaryReactor* ServerInfo(
      grpc::CallbackServerContext* context,
      const v1::ServerInfoRequest* /*request*/,
      v1::ServerInfoResponse* response) override {
    *response = fixed_;
    for (std::string& address : sources_.addresses()) {
      response->add_addresses(std::move(address));
    }
    *response->add_workers() = sources_.worker();
    response->set_draining(sources_.draining());
    response->set_resident_bytes(ResidentBytes());
    *response->mutable_uptime() =
        google::protobuf::util::TimeUtil::NanosecondsToDuration(
            absl::ToInt64Nanoseconds(Clock::Real().Monotonic() - start_));
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  const v1::ServerInfoResponse fixed_;
  const AdminSources sources_;
  const absl::Duration start_ = Clock::Real().Monotonic();
};

}  // namespace

std::unique_ptr<grpc::Service> MakeAdminService(v1::ServerInfoResponse fixed,
                                                AdminSources sources) {
  return std::make_unique<AdminService>(std::move(fixed), std::move(sources));
}

}  // namespace dissonance
