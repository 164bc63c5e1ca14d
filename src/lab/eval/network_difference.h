// What tells two provenances apart. Pure functions; thread safe.
#ifndef DISSONANCE_LAB_EVAL_NETWORK_DIFFERENCE_H_
#define DISSONANCE_LAB_EVAL_NETWORK_DIFFERENCE_H_

#include <string>

#include "dissonance/v1/common.pb.h"

namespace dissonance {

// In words, what changed of the network and of how it was run: "libtorch 2.11.0
// became 2.12.0, dtype". Empty if results of both may stand in one file.
std::string NetworkDifference(const v1::Provenance& before,
                              const v1::Provenance& after);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_NETWORK_DIFFERENCE_H_
