// What changes a network, in words, as files of results have it. Pure
// functions; thread safe.
//
//   report["interventions"] = InterventionsJson(variant);
#ifndef DISSONANCE_LAB_TENSORS_INTERVENTION_WORDS_H_
#define DISSONANCE_LAB_TENSORS_INTERVENTION_WORDS_H_

#include "dissonance/v1/common.pb.h"
#include "nlohmann/json.hpp"

namespace dissonance {

// A variant's interventions without their vectors: {text, site, blocks, head,
// add?}, where text is as the command line has it,
// "steer truth@resid_post.2=80".
nlohmann::json InterventionsJson(const v1::Variant& variant);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_TENSORS_INTERVENTION_WORDS_H_
