#include "server/control/artifacts_service.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "server/control/auth.h"
#include "server/control/grpc_status.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Context = grpc::CallbackServerContext;

constexpr int64_t kChunkBytes = 1 << 20;

absl::StatusOr<Viewer> ViewerOf(const Context& context, TokenStore& tokens) {
  ASSIGN_OR_RETURN(Principal caller, CallerOf(context, tokens));
  return Viewer{.user = std::move(caller.user), .sees_all = caller.is_admin()};
}

// Sends a range of an artifact. Deletes itself.
class ArtifactStream final
    : public grpc::ServerWriteReactor<v1::ReadArtifactResponse> {
 public:
  ArtifactStream(ArtifactStore& artifacts, const absl::StatusOr<Viewer>& viewer,
                 const v1::ReadArtifactRequest& request) {
    const absl::Status opened =
        viewer.ok() ? Open(artifacts, *viewer, request) : viewer.status();
    if (opened.ok()) {
      SendNext();
    } else {
      Finish(ToGrpc(opened));
    }
  }

  void OnWriteDone(bool ok) override {
    if (ok) return SendNext();
    Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the client went away"));
  }
  void OnDone() override { delete this; }

 private:
  absl::Status Open(ArtifactStore& artifacts, const Viewer& viewer,
                    const v1::ReadArtifactRequest& request) {
    if (request.offset_bytes() < 0 || request.limit_bytes() < 0) {
      return absl::InvalidArgumentError(
          "offset_bytes and limit_bytes must not be negative");
    }
    ASSIGN_OR_RETURN(reader_, artifacts.Open(request.name(), viewer));
    offset_ = request.offset_bytes();
    const int64_t size = reader_->artifact().size_bytes();
    const int64_t wanted = request.limit_bytes() == 0
                               ? std::numeric_limits<int64_t>::max()
                               : request.limit_bytes();
    end_ =
        offset_ >= size ? offset_ : offset_ + std::min(wanted, size - offset_);
    return absl::OkStatus();
  }

  // No lock: one write is in progress at a time, and only its end comes here.
  void SendNext() {
    if (offset_ >= end_) return Finish(grpc::Status::OK);
    absl::StatusOr<std::string> bytes =
        reader_->Read(offset_, std::min(kChunkBytes, end_ - offset_));
    if (bytes.ok() && bytes->empty()) {
      bytes = absl::DataLossError("the artifact is shorter than recorded");
    }
    if (!bytes.ok()) return Finish(ToGrpc(bytes.status()));
    chunk_.set_offset_bytes(offset_);
    offset_ += static_cast<int64_t>(bytes->size());
    chunk_.set_data(*std::move(bytes));
    StartWrite(&chunk_);
  }

  std::optional<ArtifactReader> reader_;
  int64_t offset_ = 0;
  int64_t end_ = 0;
  v1::ReadArtifactResponse chunk_;
};

// Takes an upload, a message at a time. A call that breaks leaves what came.
// Deletes itself. No lock: one read is in progress at a time, and only its end
// comes here; a cancellation makes it fail.
class UploadStream final
    : public grpc::ServerReadReactor<v1::WriteArtifactRequest> {
 public:
  UploadStream(ArtifactUploads& uploads, absl::StatusOr<ArtifactOwner> owner,
               v1::WriteArtifactResponse* response)
      : uploads_(uploads), owner_(std::move(owner)), response_(response) {
    if (owner_.ok()) {
      StartRead(&message_);
    } else {
      Finish(ToGrpc(owner_.status()));
    }
  }

  void OnReadDone(bool ok) override {
    const absl::Status status = ok ? Take() : End();
    // Frees a resumed call's file and claim before the client hears of it.
    if (!ok || !status.ok()) upload_.reset();
    if (ok && status.ok()) return StartRead(&message_);
    Finish(ToGrpc(status));
  }
  void OnDone() override { delete this; }

 private:
  absl::Status Take() {
    if (upload_ == nullptr) {
      name_ = message_.name();
      ASSIGN_OR_RETURN(upload_, uploads_.Begin(message_, *owner_));
    } else if (!message_.name().empty() && message_.name() != name_) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the upload of ", name_,
          " names another artifact in a later message; one call is one "
          "artifact"));
    }
    return upload_->Append(message_.offset_bytes(), message_.data());
  }

  // All messages have come, or the call broke: then bytes are missing, or none
  // are and the client may as well have its artifact.
  absl::Status End() {
    if (upload_ == nullptr) {
      return absl::InvalidArgumentError(
          "no message came: the first says name, size_bytes and media_type");
    }
    ASSIGN_OR_RETURN(*response_->mutable_artifact(), upload_->Finish());
    return absl::OkStatus();
  }

  ArtifactUploads& uploads_;
  const absl::StatusOr<ArtifactOwner> owner_;
  v1::WriteArtifactResponse* const response_;
  std::string name_;
  v1::WriteArtifactRequest message_;
  std::unique_ptr<ArtifactUpload> upload_;
};

class ArtifactsService final : public v1::Artifacts::CallbackService {
 public:
  explicit ArtifactsService(ArtifactsParts parts)
      : artifacts_(parts.artifacts),
        uploads_(parts.uploads),
        tokens_(parts.tokens),
        limit_bytes_(std::move(parts.limit_bytes)) {}

  grpc::ServerUnaryReactor* GetArtifact(
      Context* context, const v1::GetArtifactRequest* request,
      v1::GetArtifactResponse* response) override {
    return Answer(context, [&](const Viewer& viewer) -> absl::Status {
      ASSIGN_OR_RETURN(*response->mutable_artifact(),
                       artifacts_.Get(request->name(), viewer));
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ListArtifacts(
      Context* context, const v1::ListArtifactsRequest* request,
      v1::ListArtifactsResponse* response) override {
    return Answer(context, [&](const Viewer& viewer) -> absl::Status {
      ASSIGN_OR_RETURN(
          ArtifactPage page,
          artifacts_.List(viewer, request->page_size(), request->page_token()));
      for (v1::Artifact& artifact : page.artifacts) {
        *response->add_artifacts() = std::move(artifact);
      }
      response->set_next_page_token(page.next_page_token);
      return absl::OkStatus();
    });
  }

  grpc::ServerWriteReactor<v1::ReadArtifactResponse>* ReadArtifact(
      Context* context, const v1::ReadArtifactRequest* request) override {
    return new ArtifactStream(artifacts_, ViewerOf(*context, tokens_),
                              *request);
  }

  grpc::ServerReadReactor<v1::WriteArtifactRequest>* WriteArtifact(
      Context* context, v1::WriteArtifactResponse* response) override {
    return new UploadStream(uploads_, OwnerOf(*context), response);
  }

  grpc::ServerUnaryReactor* GetUpload(
      Context* context, const v1::GetUploadRequest* request,
      v1::GetUploadResponse* response) override {
    return Answer(context, [&](const Viewer& viewer) -> absl::Status {
      ASSIGN_OR_RETURN(*response, uploads_.Find(viewer.user, request->name()));
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* UpdateArtifact(
      Context* context, const v1::UpdateArtifactRequest* request,
      v1::UpdateArtifactResponse* response) override {
    return Answer(context, [&](const Viewer& viewer) -> absl::Status {
      ArtifactUpdate update = {.visibility = request->visibility()};
      if (request->has_pinned()) update.pinned = request->pinned();
      ASSIGN_OR_RETURN(*response->mutable_artifact(),
                       artifacts_.Update(request->name(), viewer, update));
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* DeleteArtifact(
      Context* context, const v1::DeleteArtifactRequest* request,
      v1::DeleteArtifactResponse* /*response*/) override {
    return Answer(context, [&](const Viewer& viewer) {
      return artifacts_.Delete(request->name(), viewer);
    });
  }

 private:
  // Runs a call of the caller's and ends it.
  grpc::ServerUnaryReactor* Answer(
      Context* context,
      absl::FunctionRef<absl::Status(const Viewer& viewer)> call) {
    const absl::StatusOr<Viewer> viewer = ViewerOf(*context, tokens_);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(viewer.ok() ? call(*viewer) : viewer.status()));
    return reactor;
  }

  absl::StatusOr<ArtifactOwner> OwnerOf(const Context& context) {
    ASSIGN_OR_RETURN(Viewer viewer, ViewerOf(context, tokens_));
    ArtifactOwner owner = {.user = std::move(viewer.user)};
    if (limit_bytes_) owner.limit_bytes = limit_bytes_(owner.user);
    return owner;
  }

  ArtifactStore& artifacts_;
  ArtifactUploads& uploads_;
  TokenStore& tokens_;
  const std::function<int64_t(const std::string& user)> limit_bytes_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeArtifactsService(ArtifactsParts parts) {
  return std::make_unique<ArtifactsService>(std::move(parts));
}

}  // namespace dissonance
