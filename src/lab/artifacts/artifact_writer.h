// Bytes that come in pieces and become an artifact once all are there: they lie
// in a temporary file of the store, which nothing names, are hashed as they
// come, and without Commit leave nothing. What a crash leaves is garbage, and
// collected as such. Not thread safe. Borrows the store.
//
//   ASSIGN_OR_RETURN(ArtifactWriter writer,
//                    ArtifactWriter::Create(store, "application/json",
//                                           {.user = "ada"}));
//   for (const std::string& piece : pieces) {
//     RETURN_IF_ERROR(writer.Append(piece));
//   }
//   ASSIGN_OR_RETURN(v1::Artifact artifact, writer.Commit());
#ifndef DISSONANCE_LAB_ARTIFACTS_ARTIFACT_WRITER_H_
#define DISSONANCE_LAB_ARTIFACTS_ARTIFACT_WRITER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/artifacts.pb.h"
#include "src/base/sha256.h"
#include "src/lab/artifacts/artifact_store.h"

namespace dissonance {

class ArtifactWriter {
 public:
  static absl::StatusOr<ArtifactWriter> Create(ArtifactStore& store,
                                               absl::string_view media_type,
                                               const ArtifactOwner& owner);
  ArtifactWriter(ArtifactWriter&& other) noexcept;
  ArtifactWriter& operator=(ArtifactWriter&& other) = delete;
  ~ArtifactWriter();

  // RESOURCE_EXHAUSTED, with path and bytes, on a full disk.
  absl::Status Append(absl::string_view bytes);
  // The artifact, durable. Fails as ArtifactStore::Put does. Call once, last.
  absl::StatusOr<v1::Artifact> Commit();

 private:
  ArtifactWriter(ArtifactStore& store, absl::string_view media_type,
                 ArtifactOwner owner, std::string path, int fd);

  ArtifactStore& store_;
  const std::string media_type_;
  const ArtifactOwner owner_;
  std::string path_;  // empty once it is the artifact's or moved from
  int fd_ = -1;
  int64_t size_bytes_ = 0;
  Sha256 digest_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ARTIFACTS_ARTIFACT_WRITER_H_
