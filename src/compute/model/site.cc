#include "src/compute/model/site.h"

#include "absl/strings/str_cat.h"

namespace dissonance {

absl::string_view SiteName(Site site) {
  switch (site) {
    case Site::kResidPre:
      return "resid_pre";
    case Site::kQ:
      return "q";
    case Site::kK:
      return "k";
    case Site::kV:
      return "v";
    case Site::kPattern:
      return "pattern";
    case Site::kZ:
      return "z";
    case Site::kAttnOut:
      return "attn_out";
    case Site::kResidMid:
      return "resid_mid";
    case Site::kMlpHidden:
      return "mlp_hidden";
    case Site::kMlpOut:
      return "mlp_out";
    case Site::kResidPost:
      return "resid_post";
    case Site::kFinalNorm:
      return "final_norm";
    case Site::kLogits:
      return "logits";
  }
  return "unknown";
}

int64_t SiteHeads(const DecoderSpec& spec, Site site) {
  switch (site) {
    case Site::kQ:
    case Site::kPattern:
    case Site::kZ:
      return spec.head_count;
    case Site::kK:
    case Site::kV:
      return spec.kv_head_count;
    default:
      return 0;
  }
}

int64_t SiteWidth(const DecoderSpec& spec, Site site) {
  switch (site) {
    case Site::kPattern:
      return spec.max_positions;
    case Site::kMlpHidden:
      return spec.d_mlp;
    case Site::kLogits:
      return spec.vocab_size;
    default:
      return SiteHeads(spec, site) > 0 ? spec.head_dim : spec.d_model;
  }
}

int64_t LatestEntry(const DecoderSpec& spec, Site site, int64_t block) {
  if (IsBehindBlocks(site)) return spec.block_count();
  return site == Site::kResidPost ? block + 1 : block;
}

absl::Status CheckSite(const DecoderSpec& spec, Site site, int64_t block) {
  if (IsBehindBlocks(site)) return absl::OkStatus();
  if (block < 0 || block >= spec.block_count()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "block ", block, " does not exist; the model has blocks 0 to ",
        spec.block_count() - 1));
  }
  if (site == Site::kResidMid && spec.parallel_residual) {
    return absl::InvalidArgumentError(absl::StrCat(
        "blocks of ", spec.architecture,
        " have no resid_mid: attention and MLP read the same residual stream; "
        "use resid_pre or resid_post"));
  }
  if (site == Site::kMlpHidden &&
      spec.blocks[static_cast<size_t>(block)].has_experts) {
    return absl::InvalidArgumentError(
        absl::StrCat("block ", block,
                     " has experts, which share no mlp_hidden; use mlp_out"));
  }
  return absl::OkStatus();
}

}  // namespace dissonance
