// The public Admin service. Thread safe.
#ifndef DISSONANCE_SERVER_CONTROL_ADMIN_SERVICE_H_
#define DISSONANCE_SERVER_CONTROL_ADMIN_SERVICE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dissonance/v1/admin.pb.h"

namespace grpc {
class Service;
}

namespace dissonance {

// What is asked anew at each call.
struct AdminSources {
  std::function<std::vector<std::string>()> addresses;
  std::function<v1::Worker()> worker;
  std::function<bool()> draining;
};

// `fixed` holds what does not change: version, start time, configuration.
std::unique_ptr<grpc::Service> MakeAdminService(v1::ServerInfoResponse fixed,
                                                AdminSources sources);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_ADMIN_SERVICE_H_
