// Which activations of a forward pass are kept: sites of blocks at positions of
// a sequence. Values, thread safe.
//
//   ASSIGN_OR_RETURN(auto capture, PrepareCapture(model, {
//       .places = {{Site::kResidPost, 3}, {Site::kFinalNorm, -1}},
//       .positions = Positions::Of(Positions::Kind::kLastPrompt)}));
#ifndef DISSONANCE_COMPUTE_INTERP_CAPTURE_H_
#define DISSONANCE_COMPUTE_INTERP_CAPTURE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "src/compute/interp/intervention.h"
#include "src/compute/model/model.h"
#include "src/compute/model/site.h"

namespace dissonance {

// A place in the network. block is -1 for sites behind the blocks.
struct SitePlace {
  Site site = Site::kResidPost;
  int64_t block = 0;

  // NOLINTNEXTLINE(modernize-use-nullptr): it takes the comparison's 0 for one
  friend auto operator<=>(const SitePlace&, const SitePlace&) = default;
};

struct CaptureSpec {
  std::vector<SitePlace> places;
  Positions positions = {};
};

// What a step kept of one sequence.
struct CapturedRows {
  std::vector<int64_t> positions;  // ascending
  // Of each place [positions, width], or [positions, heads, width]; in the
  // model's type, on its device. A pattern's width is the keys held so far.
  std::vector<at::Tensor> values;
};

// Checks the places against the model. INVALID_ARGUMENT naming which one and
// what: a site that is not there (CheckSite), one given twice, none at all.
absl::StatusOr<std::shared_ptr<const CaptureSpec>> PrepareCapture(
    const Model& model, CaptureSpec capture);

// The latest block that a pass may begin with and still keep all that is asked
// for. At most the last block.
int64_t LatestEntry(const DecoderSpec& spec, const CaptureSpec& capture);

// Bytes that one captured row takes, in a sequence of `tokens`.
int64_t CaptureRowBytes(const Model& model, const CaptureSpec& capture,
                        int64_t tokens);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_INTERP_CAPTURE_H_
