#include "server/control/artifacts_service.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "server/control/auth.h"
#include "server/control/grpc_status.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Context = grpc::CallbackServerContext;

constexpr int64_t kChunkBytes = 1 << 20;

absl::StatusOr<Viewer> ViewerOf(const Context& context, TokenStore& tokens) {
  ASSIGN_OR_RETURN(const Principal caller, CallerOf(context, tokens));
  return ViewerOf(caller);
}

// Sends a range of an artifact. Deletes itself.
class ArtifactStream final
    : public grpc::ServerWriteReactor<v1::ReadArtifactResponse> {
 public:
  ArtifactStream(ArtifactStore& artifacts, OpenCalls& streams,
                 const absl::StatusOr<Principal>& caller,
                 const v1::ReadArtifactRequest& request) {
    const absl::Status opened =
        caller.ok() ? Open(artifacts, ViewerOf(*caller), request)
                    : caller.status();
    if (!opened.ok()) {
      Finish(ToGrpc(opened));
      return;
    }
    open_ = streams.Add(caller->token, [this](const absl::Status& status) {
      const absl::MutexLock lock(&mutex_);
      ended_with_ = status;
    });
    SendNext();
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

  absl::Status EndedWith() ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    return ended_with_;
  }

  // One write is in progress at a time, and only its end comes here.
  void SendNext() {
    const absl::Status ended = EndedWith();
    if (!ended.ok()) return Finish(ToGrpc(ended));
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
  absl::Mutex mutex_;
  // Not OK: nothing more is sent, and the stream ends so.
  absl::Status ended_with_ ABSL_GUARDED_BY(mutex_);
  // Goes first: what it ends is there still.
  std::unique_ptr<OpenCall> open_;
};

// Whose an upload is, and by which token.
struct Uploader {
  ArtifactOwner owner;
  std::string token;
};

// Takes an upload, a message at a time. A call that breaks leaves what came.
// Deletes itself. One read is in progress at a time; a cancellation, and an end
// from outside, make it fail.
class UploadStream final
    : public grpc::ServerReadReactor<v1::WriteArtifactRequest> {
 public:
  UploadStream(ArtifactUploads& uploads, OpenCalls& streams,
               absl::StatusOr<Uploader> uploader,
               v1::WriteArtifactResponse* response)
      : uploads_(uploads), uploader_(std::move(uploader)), response_(response) {
    if (!uploader_.ok()) {
      const absl::MutexLock lock(&mutex_);
      FinishOnce(uploader_.status());
      return;
    }
    // Before it can be ended: an end makes the read fail, which OnReadDone
    // waits for.
    StartRead(&message_);
    open_ = streams.Add(uploader_->token, [this](const absl::Status& status) {
      const absl::MutexLock lock(&mutex_);
      FinishOnce(status);
    });
  }

  void OnReadDone(bool ok) override {
    const absl::MutexLock lock(&mutex_);
    if (is_finished_) return;
    const absl::Status status = ok ? Take() : End();
    if (ok && status.ok()) return StartRead(&message_);
    FinishOnce(status);
  }
  void OnDone() override { delete this; }

 private:
  void FinishOnce(const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (std::exchange(is_finished_, true)) return;
    // Frees a resumed call's file and claim before the client hears of it.
    upload_.reset();
    Finish(ToGrpc(status));
  }

  absl::Status Take() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (upload_ == nullptr) {
      name_ = message_.name();
      ASSIGN_OR_RETURN(upload_, uploads_.Begin(message_, uploader_->owner));
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
  absl::Status End() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (upload_ == nullptr) {
      return absl::InvalidArgumentError(
          "no message came: the first says name, size_bytes and media_type");
    }
    ASSIGN_OR_RETURN(*response_->mutable_artifact(), upload_->Finish());
    return absl::OkStatus();
  }

  ArtifactUploads& uploads_;
  const absl::StatusOr<Uploader> uploader_;
  v1::WriteArtifactResponse* const response_;
  v1::WriteArtifactRequest message_;  // gRPC's while a read is in progress
  absl::Mutex mutex_;
  bool is_finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::string name_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<ArtifactUpload> upload_ ABSL_GUARDED_BY(mutex_);
  // Goes first: what it ends is there still.
  std::unique_ptr<OpenCall> open_;
};

class ArtifactsService final : public v1::Artifacts::CallbackService {
 public:
  explicit ArtifactsService(ArtifactsParts parts)
      : artifacts_(parts.artifacts),
        uploads_(parts.uploads),
        tokens_(parts.tokens),
        streams_(parts.streams),
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
    return new ArtifactStream(artifacts_, streams_, CallerOf(*context, tokens_),
                              *request);
  }

  grpc::ServerReadReactor<v1::WriteArtifactRequest>* WriteArtifact(
      Context* context, v1::WriteArtifactResponse* response) override {
    return new UploadStream(uploads_, streams_, UploaderOf(*context), response);
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

  absl::StatusOr<Uploader> UploaderOf(const Context& context) {
    ASSIGN_OR_RETURN(Principal caller, CallerOf(context, tokens_));
    Uploader uploader = {.owner = {.user = std::move(caller.user)},
                         .token = std::move(caller.token)};
    if (limit_bytes_) {
      uploader.owner.limit_bytes = limit_bytes_(uploader.owner.user);
    }
    return uploader;
  }

  ArtifactStore& artifacts_;
  ArtifactUploads& uploads_;
  TokenStore& tokens_;
  OpenCalls& streams_;
  const std::function<int64_t(const std::string& user)> limit_bytes_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeArtifactsService(ArtifactsParts parts) {
  return std::make_unique<ArtifactsService>(std::move(parts));
}

}  // namespace dissonance
