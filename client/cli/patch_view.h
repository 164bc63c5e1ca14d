// The patches of one input as JSON and as a heat map. Not thread safe.
#ifndef DISSONANCE_CLIENT_CLI_PATCH_VIEW_H_
#define DISSONANCE_CLIENT_CLI_PATCH_VIEW_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/cli/heat.h"
#include "client/cli/token_texts.h"
#include "dissonance/v1/interpretability.pb.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// Of what the patches are, for headings.
struct PatchNames {
  std::string source;
  std::string target;
  std::string first;   // candidate A
  std::string second;  // candidate B
};

// {id, block, site, position, delta_before, delta_after, pair_prob_before,
// pair_prob_after, flip, delta_source}; block is null for a site of no block.
nlohmann::json PatchJson(const nlohmann::json& id,
                         const v1::PatchResult& result);

// For each site a map of delta_after: rows are positions with the target's
// tokens, columns are blocks; coloured by the share of the way from the target
// to the source, flips marked "*". Then how many flipped, and the patch that
// went furthest towards the source. REQUIRES: at least one result.
std::string PatchText(const nlohmann::json& id,
                      absl::Span<const v1::PatchResult> results,
                      const std::vector<int32_t>& tokens,
                      const PatchNames& names, TokenTexts& texts,
                      const Heat& heat);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_PATCH_VIEW_H_
