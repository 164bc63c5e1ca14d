// What lets the control plane and its workers know each other over a network:
// one certificate with its key for all of them. Whoever can read the two files
// belongs to them, nobody else does. Thread safe.
//
//   RETURN_IF_ERROR(WorkerCredentials::Renew(folder));
//   ASSIGN_OR_RETURN(const auto credentials, WorkerCredentials::Load(folder));
//   builder.AddListeningPort("0.0.0.0:0", credentials.ForServer());
//   grpc::CreateCustomChannel(address, credentials.ForClient(), arguments);
#ifndef DISSONANCE_SERVER_LINK_WORKER_CREDENTIALS_H_
#define DISSONANCE_SERVER_LINK_WORKER_CREDENTIALS_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "src/base/secret.h"

namespace dissonance {

class WorkerCredentials {
 public:
  // Makes a new pair and writes it as workers.pem and workers.key, which only
  // this user can read. Those who have an older pair are strangers from then
  // on.
  static absl::Status Renew(const std::string& folder);
  // The pair that lies there; NOT_FOUND if there is none.
  static absl::StatusOr<WorkerCredentials> Load(const std::string& folder);

  // Takes calls only of those who have the same pair.
  std::shared_ptr<grpc::ServerCredentials> ForServer() const;
  // Makes calls only to those who have the same pair. Needs SetNameIn().
  std::shared_ptr<grpc::ChannelCredentials> ForClient() const;
  // The certificate is for all machines: what the other side is called is no
  // part of who it is.
  static void SetNameIn(grpc::ChannelArguments& arguments);

 private:
  WorkerCredentials(std::string certificate, Secret key)
      : certificate_(std::move(certificate)), key_(std::move(key)) {}

  std::string certificate_;  // PEM
  Secret key_;               // PEM
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_LINK_WORKER_CREDENTIALS_H_
