// One artifact's bytes, already checked against its name. Reads are thread
// safe. Owns the open file, so it outlives a removal from the disk.
//
//   ASSIGN_OR_RETURN(ArtifactReader reader, store.Open(name, viewer));
//   ASSIGN_OR_RETURN(std::string chunk, reader.Read(0, 1 << 20));
#ifndef DISSONANCE_LAB_ARTIFACTS_ARTIFACT_READER_H_
#define DISSONANCE_LAB_ARTIFACTS_ARTIFACT_READER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/artifacts.pb.h"

namespace dissonance {

class ArtifactReader {
 public:
  // Reads all of `path` once, in pieces. DATA_LOSS if its bytes are not the
  // artifact's, or are gone; a link is not followed.
  static absl::StatusOr<ArtifactReader> Open(v1::Artifact artifact,
                                             std::string path);
  ~ArtifactReader();
  ArtifactReader(ArtifactReader&& other) noexcept;
  ArtifactReader& operator=(ArtifactReader&& other) noexcept;

  const v1::Artifact& artifact() const { return artifact_; }
  // Bytes [offset_bytes, offset_bytes + count_bytes), fewer at the end, none
  // past it. INVALID_ARGUMENT if either is negative.
  absl::StatusOr<std::string> Read(int64_t offset_bytes,
                                   int64_t count_bytes) const;

 private:
  ArtifactReader(v1::Artifact artifact, std::string path, int fd);
  absl::Status Verify() const;

  v1::Artifact artifact_;
  std::string path_;
  int fd_;
};

// Up to `count_bytes` of the file at the offset; fewer only at its end. `path`
// is for messages.
absl::StatusOr<std::string> ReadAt(int fd, const std::string& path,
                                   int64_t offset_bytes, int64_t count_bytes);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ARTIFACTS_ARTIFACT_READER_H_
