#include "client/cli/activation_manifest.h"

#include "client/cli/proto_json.h"
#include "src/lab/tensors/place_words.h"

namespace dissonance::cli {

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
