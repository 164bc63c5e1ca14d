// Places where a forward pass can be seen and changed. Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_MODEL_SITE_H_
#define DISSONANCE_COMPUTE_MODEL_SITE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "src/compute/model/decoder_spec.h"

namespace dissonance {

// In the order of computation. q and k are taken after their norm and before
// rotary; the pattern is attention's probabilities; z is each head's output
// before the o projection; attn_out and mlp_out are what is added to the
// residual stream, after a norm of their own where the family has one;
// mlp_hidden is the down projection's input. resid_pre of block 0 is the
// embedding. The pattern and the logits can be looked at, not changed.
enum class Site {
  kResidPre,
  kQ,
  kK,
  kV,
  kPattern,
  kZ,
  kAttnOut,
  kResidMid,
  kMlpHidden,
  kMlpOut,
  kResidPost,
  kFinalNorm,
  kLogits,
};

// "resid_pre" and so on.
absl::string_view SiteName(Site site);

// Whether the site belongs to the end of the network instead of a block.
inline bool IsBehindBlocks(Site site) { return site >= Site::kFinalNorm; }

// Whether it comes after the heads of a block. Rows that nobody waits for get
// no further in the last one.
inline bool IsBehindAttention(Site site) { return site > Site::kZ; }

// Heads of q, the pattern and z, key/value heads of k and v, 0 for a site
// without heads.
int64_t SiteHeads(const DecoderSpec& spec, Site site);

// Components of a row at the site: of one head where it has heads. The
// pattern's are the keys that a row may see, at most this many.
int64_t SiteWidth(const DecoderSpec& spec, Site site);

// The latest block that a pass may begin with and still visit the site: a pass
// that begins with a block visits resid_post of the one before. block_count()
// for what lies behind the last block.
int64_t LatestEntry(const DecoderSpec& spec, Site site, int64_t block);

// INVALID_ARGUMENT, with what there is instead, if the model has no such site
// there: a block out of range, resid_mid beside a parallel residual,
// mlp_hidden of experts. The block of a site behind the blocks is not looked
// at.
absl::Status CheckSite(const DecoderSpec& spec, Site site, int64_t block);

// Visits the sites of a pass in the order of computation.
class SiteVisitor {
 public:
  virtual ~SiteVisitor() = default;
  // Whether all rows of the last block, this one, must be computed to its end.
  // If not, rows that nobody waits for are left out behind its attention.
  virtual bool NeedsAllRows(int64_t block) const = 0;
  // From here on x holds only the rows that the pass was asked for.
  virtual void Narrowed() {}
  // x [rows, width], or [rows, heads, width] where the site has heads; may be
  // written in place, and holds these values only until Visit returns. block
  // is -1 behind the blocks, where x holds only the rows asked for.
  virtual void Visit(Site site, int64_t block, at::Tensor& x) = 0;

  // Whether the pattern of any of these rows of a block is wanted, which costs
  // a pass over their scores.
  virtual bool WantsPattern(int64_t /*block*/, int64_t /*row_begin*/,
                            int64_t /*row_count*/) const {
    return false;
  }
  // The pattern of consecutive rows of one sequence: [rows, heads, keys], 0 at
  // keys that a row may not see.
  virtual void VisitPattern(int64_t /*block*/, int64_t /*row_begin*/,
                            const at::Tensor& /*pattern*/) {}
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_SITE_H_
