// A server's API as the server itself tells it (grpc.reflection.v1alpha), and
// calls of any method, streaming or not, by its path. Thread safe.
//
//   const auto api = ReflectedApi::Ask(channel, secret);
//   for (const auto* method : api->Methods("dissonance.v1.")) ...
#ifndef DISSONANCE_TESTS_SERVER_REFLECTED_API_H_
#define DISSONANCE_TESTS_SERVER_REFLECTED_API_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor_database.h"
#include "google/protobuf/dynamic_message.h"
#include "grpcpp/channel.h"
#include "grpcpp/support/status.h"

namespace dissonance {

inline constexpr char kReflectionPath[] =
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

// Calls with one message, reads to the end and returns how it ended.
// `authorization` are the values of that header, one each.
grpc::Status CallRaw(const std::shared_ptr<grpc::Channel>& channel,
                     const std::string& path,
                     const std::vector<std::string>& authorization,
                     const std::string& request,
                     std::vector<std::string>* answers = nullptr);

class ReflectedApi {
 public:
  using Method = google::protobuf::MethodDescriptor;

  static absl::StatusOr<std::unique_ptr<ReflectedApi>> Ask(
      const std::shared_ptr<grpc::Channel>& channel, const std::string& secret);

  const std::vector<std::string>& services() const { return services_; }
  // Of services whose name begins with `prefix`.
  std::vector<const Method*> Methods(const std::string& prefix) const;
  // An empty request of the method's.
  std::unique_ptr<google::protobuf::Message> NewRequest(
      const Method& method) const;

 private:
  ReflectedApi() = default;

  std::vector<std::string> services_;
  google::protobuf::SimpleDescriptorDatabase files_;
  google::protobuf::DescriptorPool pool_{&files_};
  mutable google::protobuf::DynamicMessageFactory messages_{&pool_};
};

// "/PACKAGE.SERVICE/METHOD".
std::string PathOf(const google::protobuf::MethodDescriptor& method);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_REFLECTED_API_H_
