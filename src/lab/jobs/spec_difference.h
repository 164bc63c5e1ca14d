// Says how two specs differ: for the message of a reused request id, and for
// the comparison of two jobs. Thread safe.
#ifndef DISSONANCE_LAB_JOBS_SPEC_DIFFERENCE_H_
#define DISSONANCE_LAB_JOBS_SPEC_DIFFERENCE_H_

#include <string>
#include <vector>

#include "dissonance/v1/jobs.pb.h"
#include "google/protobuf/message.h"

namespace dissonance {

// The fields in which two messages of one type differ, with short values;
// `prefix` begins each field's path.
std::vector<v1::JobDifference> MessageDifferences(
    const google::protobuf::Message& before,
    const google::protobuf::Message& after, const std::string& prefix = "");

// Empty if `before` and `after` are equal; else up to five differences, as in
// "evaluate_mcq.seed: 1 before, 2 now; evaluate_mcq.data: 10 bytes before, 12
// bytes now".
std::string DescribeDifference(const v1::JobSpec& before,
                               const v1::JobSpec& after);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_SPEC_DIFFERENCE_H_
