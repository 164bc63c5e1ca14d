// How the files of jobs inside the network name variants and intervals. Pure
// functions; thread safe.
#ifndef DISSONANCE_LAB_INTERP_VARIANT_JSON_H_
#define DISSONANCE_LAB_INTERP_VARIANT_JSON_H_

#include "dissonance/v1/common.pb.h"
#include "nlohmann/json.hpp"
#include "src/lab/eval/mcq_metrics.h"

namespace dissonance {

// [low, high].
nlohmann::json IntervalJson(const Interval& interval);

// A variant, with its interventions but without their vectors.
nlohmann::json VariantJson(const v1::Variant& variant,
                           const v1::Provenance& provenance);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_VARIANT_JSON_H_
