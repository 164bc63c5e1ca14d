// The models, adapters and directions that a request names, read from its
// bytes: what is bulky is skipped, nothing is copied but the names. Thread
// safe.
//
//   ASSIGN_OR_RETURN(const NamedModels named,
//                    ModelsNamedIn(v1::ScoreRequest::descriptor(), bytes));
#ifndef DISSONANCE_SERVER_CONTROL_NAMED_MODELS_H_
#define DISSONANCE_SERVER_CONTROL_NAMED_MODELS_H_

#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "dissonance/v1/jobs.pb.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"

namespace dissonance {

// Values of the string fields `model`, `adapter` and `direction` at any depth,
// without the empty ones and those of v1.HostedModel. In bytes that name one
// twice, both.
struct NamedModels {
  std::set<std::string> models = {};
  std::set<std::string> adapters = {};
  std::set<std::string> directions = {};
};

// `type` is the request's. INVALID_ARGUMENT if the bytes are no such message.
absl::StatusOr<NamedModels> ModelsNamedIn(
    const google::protobuf::Descriptor& type, const grpc::ByteBuffer& bytes);
absl::StatusOr<NamedModels> ModelsNamedIn(
    const google::protobuf::Message& message);
// Of a pipeline without the adapters that its stages make.
absl::StatusOr<NamedModels> ModelsNeededBy(const v1::JobSpec& spec);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_NAMED_MODELS_H_
