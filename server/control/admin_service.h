// The public Admin service. Some of its calls take minutes, so each holds a
// thread. Thread safe. Borrows its parts.
#ifndef DISSONANCE_SERVER_CONTROL_ADMIN_SERVICE_H_
#define DISSONANCE_SERVER_CONTROL_ADMIN_SERVICE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dissonance/v1/admin.pb.h"
#include "server/control/housekeeper.h"
#include "server/control/job_maintenance.h"
#include "server/control/quotas.h"
#include "server/control/records.h"

namespace grpc {
class Service;
}

namespace dissonance {

// What is asked anew at each call.
struct AdminSources {
  std::function<std::vector<std::string>()> addresses;
  std::function<std::vector<v1::Worker>()> workers;
  std::function<bool()> draining;
};

struct AdminParts {
  Records& records;
  const Quotas& quotas;
  JobManager& jobs;
  JobMaintenance& maintenance;
  Housekeeper& housekeeper;
};

// `fixed` holds what does not change: version, start time, configuration.
std::unique_ptr<grpc::Service> MakeAdminService(v1::ServerInfoResponse fixed,
                                                AdminSources sources,
                                                const AdminParts& parts);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_ADMIN_SERVICE_H_
