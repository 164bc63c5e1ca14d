#include "client/cli/upload.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/errors.h"
#include "client/cli/output.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr int64_t kPieceBytes = 1 << 20;
// In a row without anything new having arrived.
constexpr int kAttempts = 5;
constexpr absl::Duration kFirstBackoff = absl::Milliseconds(200);

// An open file. Not thread safe.
class OpenFile {
 public:
  OpenFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~OpenFile() { ::close(fd_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  absl::StatusOr<std::string> Read(int64_t offset, size_t limit) const {
    std::string bytes(limit, '\0');
    size_t got = 0;
    while (got < limit) {
      const ssize_t n =
          ::pread(fd_, bytes.data() + got, limit - got,
                  static_cast<off_t>(offset + static_cast<int64_t>(got)));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path_));
      }
      if (n == 0) break;
      got += static_cast<size_t>(n);
    }
    bytes.resize(got);
    return bytes;
  }

 private:
  const std::string path_;
  const int fd_;
};

absl::StatusOr<std::string> DigestOf(const OpenFile& file) {
  Sha256 digest;
  int64_t offset = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::string piece, file.Read(offset, kPieceBytes));
    if (piece.empty()) return digest.Finish();
    digest.Update(piece);
    offset += static_cast<int64_t>(piece.size());
  }
}

// Nothing is shown of what takes a single piece.
void ShowProgress(const Upload& upload, int64_t sent,
                  ProgressDisplay& display) {
  if (upload.size_bytes <= kPieceBytes) return;
  v1::Progress progress;
  const auto pieces = [](int64_t bytes) {
    return (bytes + kPieceBytes - 1) / kPieceBytes;
  };
  progress.set_done_count(pieces(sent));
  progress.set_total_count(pieces(upload.size_bytes));
  progress.set_unit("MiB");
  display.Update(progress);
}

absl::StatusOr<std::string> NextPiece(const Upload& upload, int64_t offset) {
  const int64_t wanted = std::min(kPieceBytes, upload.size_bytes - offset);
  ASSIGN_OR_RETURN(std::string piece,
                   upload.read(offset, static_cast<size_t>(wanted)));
  if (static_cast<int64_t>(piece.size()) == wanted) return piece;
  return absl::FailedPreconditionError(
      absl::StrCat(upload.label, " became shorter while it was sent"));
}

// One call, from `offset` to the end.
absl::StatusOr<v1::Artifact> SendFrom(Connection& connection,
                                      const Upload& upload,
                                      const std::string& media_type,
                                      int64_t offset,
                                      ProgressDisplay& display) {
  const std::unique_ptr<grpc::ClientContext> context = connection.NewContext();
  v1::WriteArtifactResponse response;
  const auto writer = connection.stub<v1::Artifacts::Stub>().WriteArtifact(
      context.get(), &response);
  v1::WriteArtifactRequest request;
  request.set_name(upload.name);
  request.set_size_bytes(upload.size_bytes);
  request.set_media_type(media_type);
  // Also a file without bytes takes one message: it says what comes.
  do {
    absl::StatusOr<std::string> piece = NextPiece(upload, offset);
    if (!piece.ok()) {
      context->TryCancel();
      writer->Finish().ok();
      return piece.status();
    }
    request.set_offset_bytes(offset);
    request.set_data(*std::move(piece));
    // The server ended the call; its status says why.
    if (!writer->Write(request)) break;
    offset += static_cast<int64_t>(request.data().size());
    ShowProgress(upload, offset, display);
    request.Clear();
  } while (offset < upload.size_bytes);
  writer->WritesDone();
  const grpc::Status end = writer->Finish();
  if (!end.ok()) return connection.Explain(end);
  return response.artifact();
}

absl::StatusOr<v1::GetUploadResponse> Received(Connection& connection,
                                               const Upload& upload) {
  v1::GetUploadRequest request;
  request.set_name(upload.name);
  ASSIGN_OR_RETURN(
      v1::GetUploadResponse response,
      connection.CallAgain(&v1::Artifacts::Stub::GetUpload, request));
  if (response.received_bytes() < 0 ||
      response.received_bytes() > upload.size_bytes) {
    return absl::DataLossError(absl::StrCat(
        upload.label, ": the server says that it has ",
        response.received_bytes(), " bytes of ", upload.size_bytes));
  }
  return response;
}

absl::StatusOr<v1::Artifact> Get(Connection& connection,
                                 const std::string& name) {
  v1::GetArtifactRequest request;
  request.set_name(name);
  ASSIGN_OR_RETURN(
      v1::GetArtifactResponse response,
      connection.CallAgain(&v1::Artifacts::Stub::GetArtifact, request));
  return std::move(*response.mutable_artifact());
}

}  // namespace

absl::StatusOr<Upload> UploadOfFile(const std::string& path) {
  // Without O_NONBLOCK a FIFO would wait for its other end.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
  const auto file = std::make_shared<OpenFile>(path, fd);
  struct stat info = {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not a regular file"));
  }
  Upload upload;
  ASSIGN_OR_RETURN(const std::string digest, DigestOf(*file));
  upload.name = absl::StrCat("artifacts/", digest);
  upload.size_bytes = static_cast<int64_t>(info.st_size);
  upload.label = path;
  upload.read = [file](int64_t offset, size_t limit) {
    return file->Read(offset, limit);
  };
  return upload;
}

Upload UploadOfBytes(absl::string_view bytes, const std::string& label) {
  Upload upload;
  upload.name = absl::StrCat("artifacts/", Sha256Of(bytes));
  upload.size_bytes = static_cast<int64_t>(bytes.size());
  upload.label = label;
  upload.read = [bytes](int64_t offset, size_t limit) {
    return std::string(bytes.substr(static_cast<size_t>(offset), limit));
  };
  return upload;
}

absl::StatusOr<v1::Artifact> SendUpload(Connection& connection,
                                        const Upload& upload,
                                        const std::string& media_type,
                                        ProgressDisplay& display) {
  absl::Duration backoff = kFirstBackoff;
  int64_t most_received = 0;
  for (int attempt = 1;; ++attempt) {
    ASSIGN_OR_RETURN(const v1::GetUploadResponse there,
                     Received(connection, upload));
    if (there.complete()) return Get(connection, upload.name);
    if (there.received_bytes() > most_received) {
      most_received = there.received_bytes();
      attempt = 1;
      backoff = kFirstBackoff;
    }
    const absl::StatusOr<v1::Artifact> sent = SendFrom(
        connection, upload, media_type, there.received_bytes(), display);
    display.Finish();
    if (!absl::IsUnavailable(sent.status())) return sent;
    if (attempt == kAttempts) {
      return WithHint(sent.status(),
                      "the server keeps what it has for a day: the same "
                      "command goes on from there");
    }
    display.Line("lost the server; sending on from what it has");
    absl::SleepFor(backoff);
    backoff *= 2;
  }
}

std::string MediaTypeOf(const std::string& path) {
  if (absl::EndsWith(path, ".jsonl")) return "application/jsonl";
  if (absl::EndsWith(path, ".json")) return "application/json";
  if (absl::EndsWith(path, ".txt")) return "text/plain";
  return "application/octet-stream";
}

}  // namespace dissonance::cli
