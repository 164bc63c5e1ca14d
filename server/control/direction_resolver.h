// Puts the vectors of directions in place of their names, in any request or
// spec: the worker never sees a name, and a job keeps the numbers that its
// names stood for when it was made. Thread safe. Borrows its parts.
//
//   DirectionResolver resolver(catalog, models, 256 << 20);
//   RETURN_IF_ERROR(resolver.Resolve(viewer, spec));
//
// An intervention in several blocks becomes one for each block, with that
// block's vector, where the direction has several; at a site with heads one for
// each head; one that names no site takes all places of the direction. Order is
// kept, and a name stays as the vector's label.
#ifndef DISSONANCE_SERVER_CONTROL_DIRECTION_RESOLVER_H_
#define DISSONANCE_SERVER_CONTROL_DIRECTION_RESOLVER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"
#include "src/lab/directions/direction_catalog.h"
#include "src/lab/storage/model_store.h"
#include "src/lab/storage/viewer.h"

namespace dissonance {

class DirectionResolver {
 public:
  // `limit_bytes` bounds the vectors that one message takes.
  DirectionResolver(DirectionCatalog& catalog, ModelStore& models,
                    int64_t limit_bytes)
      : catalog_(catalog), models_(models), limit_bytes_(limit_bytes) {}

  // In place; a message without names is left as it is. NOT_FOUND, worded the
  // same whether there is none of a name or it is hidden; INVALID_ARGUMENT,
  // with the field's path, if a direction has no vector for the place or is
  // another model's; RESOURCE_EXHAUSTED beyond the limit.
  absl::Status Resolve(const Viewer& viewer,
                       google::protobuf::Message& message) const;

  // The same for a message's bytes. INVALID_ARGUMENT if they are none of the
  // type.
  absl::StatusOr<grpc::ByteBuffer> Resolve(
      const Viewer& viewer, const google::protobuf::Descriptor& type,
      const grpc::ByteBuffer& bytes) const;

 private:
  DirectionCatalog& catalog_;
  ModelStore& models_;
  const int64_t limit_bytes_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_DIRECTION_RESOLVER_H_
