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
// rotary; z is each head's output before the o projection; attn_out and
// mlp_out are what is added to the residual stream, after a norm of their own
// where the family has one; mlp_hidden is the down projection's input.
// resid_pre of block 0 is the embedding.
enum class Site {
  kResidPre,
  kQ,
  kK,
  kV,
  kZ,
  kAttnOut,
  kResidMid,
  kMlpHidden,
  kMlpOut,
  kResidPost,
  kFinalNorm,
};

// "resid_pre" and so on.
absl::string_view SiteName(Site site);

// Heads of q and z, key/value heads of k and v, 0 for a site without heads.
int64_t SiteHeads(const DecoderSpec& spec, Site site);

// Components of a row at the site: of one head where it has heads.
int64_t SiteWidth(const DecoderSpec& spec, Site site);

// INVALID_ARGUMENT, with what there is instead, if the model has no such site
// there: a block out of range, resid_mid beside a parallel residual,
// mlp_hidden of experts. kFinalNorm belongs to no block: REQUIRES -1.
absl::Status CheckSite(const DecoderSpec& spec, Site site, int64_t block);

// Visits the sites of a pass in the order of computation.
class SiteVisitor {
 public:
  virtual ~SiteVisitor() = default;
  // Whether Visit wants all rows of a block; if not, it may not be called for
  // the last one.
  virtual bool Watches(int64_t block) const = 0;
  // x [rows, width], or [rows, heads, width] where the site has heads; may be
  // written in place, and holds these values only until Visit returns. block
  // is -1 for kFinalNorm, which holds only the rows asked for.
  virtual void Visit(Site site, int64_t block, at::Tensor& x) = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_SITE_H_
