// What a place is, in words and in Hugging Face's numbering, as manifests of
// activations have it. Pure functions; thread safe.
#ifndef DISSONANCE_LAB_TENSORS_PLACE_WORDS_H_
#define DISSONANCE_LAB_TENSORS_PLACE_WORDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace dissonance {

// {name, row_shape, site, block, meaning, hf_hidden_states_index}: of a name as
// PlaceName gives it. The index is k where the rows are hidden_states[k] of
// Hugging Face's models, else null.
nlohmann::json PlaceJson(const std::string& name,
                         const std::vector<int64_t>& row_shape,
                         int block_count);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_TENSORS_PLACE_WORDS_H_
