#include "src/lab/tensors/place_words.h"

#include <optional>

#include "dissonance/v1/common.pb.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

const char* MeaningOf(v1::Site site) {
  switch (site) {
    case v1::SITE_RESID_PRE:
      return "residual stream before the block";
    case v1::SITE_Q:
      return "queries, after their norm, before rotary";
    case v1::SITE_K:
      return "keys, after their norm, before rotary";
    case v1::SITE_V:
      return "values";
    case v1::SITE_PATTERN:
      return "attention probabilities [heads, queries, keys], a tensor "
             "NAME.<request> for each request; 0 at keys after the query";
    case v1::SITE_Z:
      return "each head's output before the output projection";
    case v1::SITE_ATTN_OUT:
      return "what attention adds to the residual stream";
    case v1::SITE_RESID_MID:
      return "residual stream between attention and MLP";
    case v1::SITE_MLP_HIDDEN:
      return "input of the MLP's down projection";
    case v1::SITE_MLP_OUT:
      return "what the MLP adds to the residual stream";
    case v1::SITE_RESID_POST:
      return "residual stream after the block";
    case v1::SITE_FINAL_NORM:
      return "residual stream after the last block and the final norm";
    case v1::SITE_LOGITS:
      return "logits of the next token";
    default:
      return "";
  }
}

// k where the rows are hidden_states[k] of Hugging Face's models.
std::optional<int> HiddenStatesIndex(const v1::SiteRef& place,
                                     int block_count) {
  if (place.site() == v1::SITE_FINAL_NORM) return block_count;
  if (!IsInBlocks(place.site())) return std::nullopt;
  const int block = place.block();
  if (place.site() == v1::SITE_RESID_PRE) return block;
  // The last entry there is taken after the final norm.
  if (place.site() == v1::SITE_RESID_POST && block + 1 < block_count) {
    return block + 1;
  }
  return std::nullopt;
}

}  // namespace

nlohmann::json PlaceJson(const std::string& name,
                         const std::vector<int64_t>& row_shape,
                         int block_count) {
  nlohmann::json out = {{"name", name},
                        {"row_shape", row_shape},
                        {"hf_hidden_states_index", nullptr}};
  const std::optional<v1::SiteRef> place = ParsePlaceName(name);
  if (!place.has_value()) return out;
  out["site"] = SiteName(place->site());
  out["block"] = nullptr;
  if (IsInBlocks(place->site())) out["block"] = place->block();
  out["meaning"] = MeaningOf(place->site());
  if (const auto index = HiddenStatesIndex(*place, block_count)) {
    out["hf_hidden_states_index"] = *index;
  }
  return out;
}

}  // namespace dissonance
