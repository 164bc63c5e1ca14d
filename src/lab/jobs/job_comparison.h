// How two jobs differ: in what they were asked, in what computed them, and in
// the bytes that they gave. Pure; thread safe.
#ifndef DISSONANCE_LAB_JOBS_JOB_COMPARISON_H_
#define DISSONANCE_LAB_JOBS_JOB_COMPARISON_H_

#include "dissonance/v1/jobs.pb.h"

namespace dissonance {

// Specs are compared without the contents of bytes fields: their digests are
// compared as inputs.
v1::CompareJobsResponse CompareTwoJobs(const v1::Job& first,
                                       const v1::Job& second);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_JOB_COMPARISON_H_
