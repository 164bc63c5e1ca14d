#include "src/lab/interp/variant_json.h"

#include "src/lab/files/json_document.h"
#include "src/lab/tensors/intervention_words.h"

namespace dissonance {

nlohmann::json IntervalJson(const Interval& interval) {
  return nlohmann::json::array({interval.low, interval.high});
}

nlohmann::json VariantJson(const v1::Variant& variant,
                           const v1::Provenance& provenance) {
  return {{"model", variant.model()},
          {"adapter", variant.adapter()},
          {"interventions", InterventionsJson(variant)},
          {"provenance", ProvenanceJson(provenance)}};
}

}  // namespace dissonance
