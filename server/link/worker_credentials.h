// How control plane and workers know each other over TCP: both show the same
// certificate, which is made anew with each start of the server and lies in a
// folder that its user alone can read. Whoever can read it may join; nobody
// else is spoken to. Values; thread safe.
//
//   RETURN_IF_ERROR(MakeWorkerCredentials(folder));       // control plane
//   ASSIGN_OR_RETURN(const WorkerCredentials credentials,
//                    WorkerCredentials::Read(folder));    // both
//   builder.AddListeningPort("0.0.0.0:0", credentials.server(), &port);
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

namespace dissonance {

// Makes a key on the curve P-256 and a certificate that it signs itself, as
// workers.key (mode 0600) and workers.crt in `folder`.
absl::Status MakeWorkerCredentials(const std::string& folder);

class WorkerCredentials {
 public:
  // NOT_FOUND if the folder has none.
  static absl::StatusOr<WorkerCredentials> Read(const std::string& folder);

  // Takes those that show the certificate, and no others.
  std::shared_ptr<grpc::ServerCredentials> server() const;
  // For channels with SetServerName(): the certificate has the name of no
  // machine.
  std::shared_ptr<grpc::ChannelCredentials> channel() const;

 private:
  WorkerCredentials(std::string key, std::string certificate)
      : key_(std::move(key)), certificate_(std::move(certificate)) {}

  std::string key_;          // PEM
  std::string certificate_;  // PEM
};

// Without effect on channels that are not encrypted.
void SetServerName(grpc::ChannelArguments& arguments);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_LINK_WORKER_CREDENTIALS_H_
