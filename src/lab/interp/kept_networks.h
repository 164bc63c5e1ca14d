// Which networks a job's results come from: those that answered first, over
// all its attempts. For one thread; borrows the job.
//
//   KeptNetworks networks(job, {"models/m/adapters/a"}, digest, seed);
//   RETURN_IF_ERROR(networks.Keep(response.provenance(), recorded_count));
#ifndef DISSONANCE_LAB_INTERP_KEPT_NETWORKS_H_
#define DISSONANCE_LAB_INTERP_KEPT_NETWORKS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "dissonance/v1/common.pb.h"
#include "src/lab/jobs/job_context.h"

namespace dissonance {

// The name that messages and files call a variant by.
std::string NetworkName(const v1::Variant& variant);

class KeptNetworks {
 public:
  // `names` of all variants, in the job's order. The job's provenance counts if
  // it has records.
  KeptNetworks(JobContext& job, std::vector<std::string> names,
               std::string input_digest, uint64_t seed)
      : job_(job),
        names_(std::move(names)),
        input_digest_(std::move(input_digest)),
        seed_(seed) {}

  // What an earlier attempt stored. DATA_LOSS if it recorded items without.
  absl::Status Resume(size_t recorded_count);

  // The first time stores them; later FAILED_PRECONDITION if one of them has
  // changed since. `recorded_count` is for the message.
  absl::Status Keep(absl::Span<const v1::Provenance> provenance,
                    size_t recorded_count);

  absl::Span<const v1::Provenance> all() const { return provenance_; }

 private:
  JobContext& job_;
  const std::vector<std::string> names_;
  const std::string input_digest_;
  const uint64_t seed_;
  std::vector<v1::Provenance> provenance_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_KEPT_NETWORKS_H_
