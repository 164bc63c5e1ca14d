// What manifest.json of a folder of activations says. Pure functions; thread
// safe.
#ifndef DISSONANCE_CLIENT_CLI_ACTIVATION_MANIFEST_H_
#define DISSONANCE_CLIENT_CLI_ACTIVATION_MANIFEST_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "dissonance/v1/interpretability.pb.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// Shapes of one row, by the name of the place.
using RowShapes = std::map<std::string, std::vector<int64_t>>;

// {kind, variant, capture, places: [{name, row_shape, meaning,
// hf_hidden_states_index}], provenance, run}. `request` has one variant, of a
// model of `block_count` blocks.
nlohmann::json ActivationManifest(const std::string& variant_name,
                                  const v1::StreamActivationsRequest& request,
                                  const v1::ActivationSummary& summary,
                                  const RowShapes& row_shapes, int block_count);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_ACTIVATION_MANIFEST_H_
