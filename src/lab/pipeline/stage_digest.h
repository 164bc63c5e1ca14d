// What a stage's result depends on, as one digest: its spec, its data, the
// networks that it names, the release that computes. Pure; thread safe.
//
//   ASSIGN_OR_RETURN(std::string digest, StageDigest(spec, networks, "0.1.0"));
#ifndef DISSONANCE_LAB_PIPELINE_STAGE_DIGEST_H_
#define DISSONANCE_LAB_PIPELINE_STAGE_DIGEST_H_

#include <map>
#include <set>
#include <string>

#include "absl/strings/string_view.h"
#include "dissonance/v1/jobs.pb.h"

namespace dissonance {

// Resource names of the models and adapters that a spec names, without the
// adapter that it makes.
std::set<std::string> NetworksIn(const v1::JobSpec& spec);

// 64 hexadecimal digits. In place of the names of jobs the spec has what they
// depend on; `networks`: the digest of each of NetworksIn.
std::string StageDigest(const v1::JobSpec& spec,
                        const std::map<std::string, std::string>& networks,
                        absl::string_view release);

// The first 8 digits of a digest.
std::string Hex8(const std::string& digest);

// What tells a replay's jobs from those of the first run, so that all is
// computed again; empty for others.
std::string ReplaySuffix(const v1::Job& pipeline);

// The request that makes a stage's job. Two jobs of one digest that read
// different jobs, as one was deleted and made again, are not asked the same.
std::string StageRequestId(const std::string& digest,
                           const std::string& source_jobs);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_PIPELINE_STAGE_DIGEST_H_
