// Files to the server, named by their digest. Thread safe if the connection is.
//
//   ASSIGN_OR_RETURN(const Upload upload, UploadOfFile("adapter.safetensors"));
//   ASSIGN_OR_RETURN(v1::Artifact artifact,
//                    SendUpload(*connection, upload,
//                    "application/octet-stream",
//                               display));
#ifndef DISSONANCE_CLIENT_CLI_UPLOAD_H_
#define DISSONANCE_CLIENT_CLI_UPLOAD_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/connection.h"
#include "client/cli/progress.h"
#include "dissonance/v1/artifacts.pb.h"

namespace dissonance::cli {

// Bytes that can be read again from anywhere.
struct Upload {
  // "artifacts/sha256:HEX".
  std::string name;
  int64_t size_bytes = 0;
  // What messages call it.
  std::string label;
  // Up to `limit` bytes from `offset` on; fewer only at the end.
  std::function<absl::StatusOr<std::string>(int64_t offset, size_t limit)> read;
};

// A file, read once for its digest and again in pieces. NOT_FOUND if it is not
// there, INVALID_ARGUMENT if it is not a regular file. One that changes while
// it is sent is refused by the server.
absl::StatusOr<Upload> UploadOfFile(const std::string& path);

// Bytes that outlive the upload.
Upload UploadOfBytes(absl::string_view bytes, const std::string& label);

// Sends what the server does not have yet, in pieces of 1 MiB. Goes on where
// it stopped when the connection drops, a few times.
absl::StatusOr<v1::Artifact> SendUpload(Connection& connection,
                                        const Upload& upload,
                                        const std::string& media_type,
                                        ProgressDisplay& display);

// From the file name's ending; "application/octet-stream" if it says nothing.
std::string MediaTypeOf(const std::string& path);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_UPLOAD_H_
