#include "server/control/artifacts_service.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "dissonance/v1/artifacts.grpc.pb.h"
#include "server/control/grpc_status.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Context = grpc::CallbackServerContext;

constexpr int64_t kChunkBytes = 1 << 20;

// Sends a range of an artifact. Deletes itself.
class ArtifactStream final
    : public grpc::ServerWriteReactor<v1::ReadArtifactResponse> {
 public:
  ArtifactStream(ArtifactStore& artifacts,
                 const v1::ReadArtifactRequest& request) {
    const absl::Status opened = Open(artifacts, request);
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
  absl::Status Open(ArtifactStore& artifacts,
                    const v1::ReadArtifactRequest& request) {
    if (request.offset_bytes() < 0 || request.limit_bytes() < 0) {
      return absl::InvalidArgumentError(
          "offset_bytes and limit_bytes must not be negative");
    }
    ASSIGN_OR_RETURN(reader_, artifacts.Open(request.name()));
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

class ArtifactsService final : public v1::Artifacts::CallbackService {
 public:
  explicit ArtifactsService(ArtifactStore& artifacts) : artifacts_(artifacts) {}

  grpc::ServerUnaryReactor* GetArtifact(
      Context* context, const v1::GetArtifactRequest* request,
      v1::GetArtifactResponse* response) override {
    absl::StatusOr<v1::Artifact> artifact = artifacts_.Get(request->name());
    if (artifact.ok()) *response->mutable_artifact() = *std::move(artifact);
    return Finish(context, artifact.status());
  }

  grpc::ServerUnaryReactor* ListArtifacts(
      Context* context, const v1::ListArtifactsRequest* request,
      v1::ListArtifactsResponse* response) override {
    absl::StatusOr<ArtifactPage> page =
        artifacts_.List(request->page_size(), request->page_token());
    if (page.ok()) {
      for (v1::Artifact& artifact : page->artifacts) {
        *response->add_artifacts() = std::move(artifact);
      }
      response->set_next_page_token(page->next_page_token);
    }
    return Finish(context, page.status());
  }

  grpc::ServerWriteReactor<v1::ReadArtifactResponse>* ReadArtifact(
      Context* /*context*/, const v1::ReadArtifactRequest* request) override {
    return new ArtifactStream(artifacts_, *request);
  }

 private:
  static grpc::ServerUnaryReactor* Finish(Context* context,
                                          const absl::Status& status) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(status));
    return reactor;
  }

  ArtifactStore& artifacts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeArtifactsService(ArtifactStore& artifacts) {
  return std::make_unique<ArtifactsService>(artifacts);
}

}  // namespace dissonance
