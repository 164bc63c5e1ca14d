// Rows out of the files of an extract_activations job. Thread safe as far as
// the jobs are.
//
//   ASSIGN_OR_RETURN(v1::Tensor rows,
//                    ReadActivationRows(jobs, job, "base", place));
#ifndef DISSONANCE_LAB_INTERP_ACTIVATION_ROWS_H_
#define DISSONANCE_LAB_INTERP_ACTIVATION_ROWS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "dissonance/v1/common.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/jobs/finished_jobs.h"

namespace dissonance {

// All rows of one variant at a place, [rows, width], float32 or float64, heads
// flattened; `variant` is its folder. NOT_FOUND if the job has none there.
absl::StatusOr<v1::Tensor> ReadActivationRows(FinishedJobs& jobs,
                                              const v1::Job& job,
                                              const std::string& variant,
                                              const v1::SiteRef& place);

// Bytes that one variant's rows take at the place where they take most, as its
// manifest has it; none of the rows is read.
absl::StatusOr<int64_t> WidestRowsBytes(FinishedJobs& jobs, const v1::Job& job,
                                        const std::string& variant);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_ACTIVATION_ROWS_H_
