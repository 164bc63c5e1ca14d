// A logit lens's readings as JSON and as a heat map. Not thread safe.
#ifndef DISSONANCE_CLIENT_CLI_LENS_VIEW_H_
#define DISSONANCE_CLIENT_CLI_LENS_VIEW_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/cli/heat.h"
#include "client/cli/token_texts.h"
#include "dissonance/v1/interpretability.pb.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// One variant's reading of one position of an input.
struct LensResult {
  std::string variant;
  nlohmann::json id;  // of the input
  v1::LensPosition reading;
};

// {id, variant, position, token_id, token, breaking_block, layers: [{block,
// site, candidates: {NAME: {token_id, logit, logprob, prob, rank}}, margin,
// top: [{token_id, text, logprob}]}]}; block, margin and breaking_block are
// null where there is none.
nlohmann::json LensJson(const LensResult& result, TokenTexts& texts);

// The readings of one input: rows are layers, the last is the model's output.
// Of a single position each variant has its candidates' probabilities, their
// margin and its most likely token; of several, each variant has a map of its
// own with a column for each position. REQUIRES: all have the same layers.
std::string LensText(absl::Span<const LensResult> results, TokenTexts& texts,
                     const Heat& heat);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_LENS_VIEW_H_
