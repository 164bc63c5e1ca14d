#include "src/compute/tensor/safetensors_stream.h"

#include <algorithm>
#include <vector>

#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// The digest of bytes that come one after another.
class PieceDigest {
 public:
  void Update(absl::string_view bytes) {
    while (!bytes.empty()) {
      if (filled_ == kDigestPieceBytes) EndPiece();
      const absl::string_view part =
          bytes.substr(0, static_cast<size_t>(kDigestPieceBytes - filled_));
      piece_.Update(part);
      filled_ += part.size();
      bytes.remove_prefix(part.size());
    }
  }

  std::string Finish() {
    EndPiece();
    if (ended_.size() == 1) return ended_.front();
    Sha256 whole;
    for (const std::string& digest : ended_) whole.UpdateFramed(digest);
    return whole.Finish();
  }

 private:
  void EndPiece() {
    ended_.push_back(piece_.Finish());
    piece_ = Sha256();
    filled_ = 0;
  }

  Sha256 piece_;
  uint64_t filled_ = 0;
  std::vector<std::string> ended_;
};

}  // namespace

absl::StatusOr<std::string> SafetensorsDigest(
    absl::Span<const NamedTensor> tensors,
    const SafetensorsMetadata& metadata) {
  PieceDigest digest;
  RETURN_IF_ERROR(
      SerializeSafetensors(tensors, metadata, [&](absl::string_view bytes) {
        digest.Update(bytes);
        return absl::OkStatus();
      }));
  return digest.Finish();
}

}  // namespace dissonance
