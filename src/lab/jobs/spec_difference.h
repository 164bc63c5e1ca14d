// Says how two specs differ, for the message of a reused request id. Thread
// safe.
#ifndef DISSONANCE_LAB_JOBS_SPEC_DIFFERENCE_H_
#define DISSONANCE_LAB_JOBS_SPEC_DIFFERENCE_H_

#include <string>

#include "dissonance/v1/jobs.pb.h"

namespace dissonance {

// Empty if `before` and `after` are equal; else up to five differences, as in
// "evaluate_mcq.seed: 1 before, 2 now; evaluate_mcq.data: 10 bytes before, 12
// bytes now".
std::string DescribeDifference(const v1::JobSpec& before,
                               const v1::JobSpec& after);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_SPEC_DIFFERENCE_H_
