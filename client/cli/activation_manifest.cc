#include "client/cli/activation_manifest.h"

#include <optional>

#include "client/cli/places.h"
#include "client/cli/proto_json.h"

namespace dissonance::cli {
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
std::optional<int> HiddenStatesIndex(const Place& place, int block_count) {
  if (place.site == v1::SITE_FINAL_NORM) return block_count;
  if (place.blocks.empty()) return std::nullopt;
  const int block = place.blocks.front();
  if (place.site == v1::SITE_RESID_PRE) return block;
  // The last entry there is taken after the final norm.
  if (place.site == v1::SITE_RESID_POST && block + 1 < block_count) {
    return block + 1;
  }
  return std::nullopt;
}

nlohmann::json PlaceJson(const std::string& name,
                         const std::vector<int64_t>& row_shape,
                         int block_count) {
  nlohmann::json out = {{"name", name},
                        {"row_shape", row_shape},
                        {"hf_hidden_states_index", nullptr}};
  const absl::StatusOr<Place> place = ParsePlace(name);
  if (!place.ok()) return out;
  out["site"] = EnumWord(place->site);
  out["block"] = nullptr;
  if (!place->blocks.empty()) out["block"] = place->blocks.front();
  out["meaning"] = MeaningOf(place->site);
  if (const auto index = HiddenStatesIndex(*place, block_count)) {
    out["hf_hidden_states_index"] = *index;
  }
  return out;
}

}  // namespace

nlohmann::json ActivationManifest(const std::string& variant_name,
                                  const v1::StreamActivationsRequest& request,
                                  const v1::ActivationSummary& summary,
                                  const RowShapes& row_shapes,
                                  int block_count) {
  nlohmann::json places = nlohmann::json::array();
  for (const auto& [name, row_shape] : row_shapes) {
    places.push_back(PlaceJson(name, row_shape, block_count));
  }
  const v1::Variant& variant = request.variants(0);
  nlohmann::json interventions = nlohmann::json::array();
  for (const v1::Intervention& each : variant.interventions()) {
    interventions.push_back(ToJson(each));
  }
  return {{"kind", "activations"},
          {"variant",
           {{"name", variant_name},
            {"model", variant.model()},
            {"adapter", variant.adapter()},
            {"interventions", std::move(interventions)}}},
          {"block_count", block_count},
          {"request_count", request.inputs_size()},
          {"capture", ToJson(request.capture())},
          {"generation", request.has_generation() ? ToJson(request.generation())
                                                  : nlohmann::json()},
          {"places", std::move(places)},
          {"provenance", summary.provenance().empty()
                             ? nlohmann::json()
                             : ToJson(summary.provenance(0))},
          {"run",
           {{"client_version", DISSONANCE_VERSION},
            {"from_store", summary.from_store()}}}};
}

}  // namespace dissonance::cli
