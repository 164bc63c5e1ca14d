#include "tests/client/fake_artifacts.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/sha256.h"

namespace dissonance {
namespace {

// Small, so that every read is a test of putting pieces together.
constexpr size_t kPieceBytes = 16;

grpc::Status NotFound(const std::string& name) {
  return {grpc::StatusCode::NOT_FOUND, absl::StrCat(name, " does not exist")};
}

}  // namespace

FakeArtifacts::FakeArtifacts(
    std::function<grpc::Status(const grpc::ServerContext&)> check)
    : check_(std::move(check)) {}

FakeArtifacts::Stored& FakeArtifacts::Store(const std::string& name,
                                            const std::string& contents,
                                            const std::string& media_type) {
  Stored& stored = artifacts_[name];
  stored.contents = contents;
  stored.artifact.set_name(name);
  stored.artifact.set_size_bytes(static_cast<int64_t>(contents.size()));
  stored.artifact.set_media_type(media_type);
  stored.artifact.set_visibility(v1::VISIBILITY_PRIVATE);
  stored.artifact.set_owned(true);
  return stored;
}

std::string FakeArtifacts::Add(const std::string& contents) {
  absl::MutexLock lock(&mutex_);
  const std::string name = absl::StrCat("artifacts/", Sha256Of(contents));
  Store(name, contents, "text/plain");
  return name;
}

void FakeArtifacts::Damage(const std::string& name,
                           const std::string& contents) {
  absl::MutexLock lock(&mutex_);
  artifacts_[name].contents = contents;
}

void FakeArtifacts::BreakUploads(int count, int64_t after_bytes) {
  absl::MutexLock lock(&mutex_);
  break_count_ = count;
  break_after_ = after_bytes;
}

void FakeArtifacts::ForgetUploads() {
  absl::MutexLock lock(&mutex_);
  forget_ = true;
}

void FakeArtifacts::RefuseUploads(const grpc::Status& status) {
  absl::MutexLock lock(&mutex_);
  refusal_ = status;
}

std::string FakeArtifacts::contents(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  const auto found = artifacts_.find(name);
  return found == artifacts_.end() ? "" : found->second.contents;
}

size_t FakeArtifacts::largest_piece() {
  absl::MutexLock lock(&mutex_);
  return largest_piece_;
}

grpc::Status FakeArtifacts::GetArtifact(grpc::ServerContext* context,
                                        const v1::GetArtifactRequest* request,
                                        v1::GetArtifactResponse* response) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  const auto found = artifacts_.find(request->name());
  if (found == artifacts_.end()) return NotFound(request->name());
  *response->mutable_artifact() = found->second.artifact;
  return grpc::Status::OK;
}

grpc::Status FakeArtifacts::ListArtifacts(grpc::ServerContext* context,
                                          const v1::ListArtifactsRequest*,
                                          v1::ListArtifactsResponse* response) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, stored] : artifacts_) {
    *response->add_artifacts() = stored.artifact;
  }
  return grpc::Status::OK;
}

grpc::Status FakeArtifacts::ReadArtifact(
    grpc::ServerContext* context, const v1::ReadArtifactRequest* request,
    grpc::ServerWriter<v1::ReadArtifactResponse>* writer) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  std::string contents;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = artifacts_.find(request->name());
    if (found == artifacts_.end()) return NotFound(request->name());
    contents = found->second.contents;
  }
  for (size_t at = request->offset_bytes(); at < contents.size();
       at += kPieceBytes) {
    v1::ReadArtifactResponse response;
    response.set_offset_bytes(static_cast<int64_t>(at));
    response.set_data(contents.substr(at, kPieceBytes));
    writer->Write(response);
  }
  return grpc::Status::OK;
}

grpc::Status FakeArtifacts::WriteArtifact(
    grpc::ServerContext* context,
    grpc::ServerReader<v1::WriteArtifactRequest>* reader,
    v1::WriteArtifactResponse* response) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  {
    absl::MutexLock lock(&mutex_);
    if (!refusal_.ok()) return refusal_;
  }
  v1::WriteArtifactRequest first;
  v1::WriteArtifactRequest piece;
  std::string received;
  while (reader->Read(&piece)) {
    absl::MutexLock lock(&mutex_);
    largest_piece_ = std::max(largest_piece_, piece.data().size());
    if (first.name().empty()) {
      first = piece;
      first.clear_data();
      log_.Add(first);
      received = uploads_[first.name()];
    }
    if (piece.offset_bytes() != static_cast<int64_t>(received.size())) {
      return {grpc::StatusCode::OUT_OF_RANGE,
              absl::StrCat("offset ", piece.offset_bytes(), " follows ",
                           received.size(), " bytes")};
    }
    received += piece.data();
    uploads_[first.name()] = received;
    if (break_count_ > 0 &&
        static_cast<int64_t>(received.size()) - first.offset_bytes() >=
            break_after_) {
      --break_count_;
      if (forget_) uploads_.erase(first.name());
      return {grpc::StatusCode::UNAVAILABLE, "the connection was lost"};
    }
  }
  absl::MutexLock lock(&mutex_);
  if (static_cast<int64_t>(received.size()) != first.size_bytes() ||
      absl::StrCat("artifacts/", Sha256Of(received)) != first.name()) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "the bytes do not match"};
  }
  uploads_.erase(first.name());
  *response->mutable_artifact() =
      Store(first.name(), received, first.media_type()).artifact;
  return grpc::Status::OK;
}

grpc::Status FakeArtifacts::GetUpload(grpc::ServerContext* context,
                                      const v1::GetUploadRequest* request,
                                      v1::GetUploadResponse* response) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  log_.Add(*request);
  absl::MutexLock lock(&mutex_);
  response->set_complete(artifacts_.contains(request->name()));
  const auto found = uploads_.find(request->name());
  if (found != uploads_.end()) {
    response->set_received_bytes(static_cast<int64_t>(found->second.size()));
  }
  return grpc::Status::OK;
}

grpc::Status FakeArtifacts::UpdateArtifact(
    grpc::ServerContext* context, const v1::UpdateArtifactRequest* request,
    v1::UpdateArtifactResponse* response) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  log_.Add(*request);
  absl::MutexLock lock(&mutex_);
  const auto found = artifacts_.find(request->name());
  if (found == artifacts_.end()) return NotFound(request->name());
  v1::Artifact& artifact = found->second.artifact;
  if (request->visibility() != v1::VISIBILITY_UNSPECIFIED) {
    artifact.set_visibility(request->visibility());
  }
  if (request->has_pinned()) artifact.set_pinned(request->pinned());
  *response->mutable_artifact() = artifact;
  return grpc::Status::OK;
}

grpc::Status FakeArtifacts::DeleteArtifact(
    grpc::ServerContext* context, const v1::DeleteArtifactRequest* request,
    v1::DeleteArtifactResponse* /*response*/) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  if (artifacts_.erase(request->name()) == 0) return NotFound(request->name());
  return grpc::Status::OK;
}

}  // namespace dissonance
