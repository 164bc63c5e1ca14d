// Variants compared position by position, as JSON and as tables. Not thread
// safe.
#ifndef DISSONANCE_CLIENT_CLI_COMPARE_VIEW_H_
#define DISSONANCE_CLIENT_CLI_COMPARE_VIEW_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/cli/heat.h"
#include "client/cli/token_texts.h"
#include "dissonance/v1/interpretability.pb.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// {id, position, token_id, token, readings: [{variant, next_token_logprob, kl,
// reverse_kl, top, residual: [{block, distance, relative_distance, cosine,
// lens_kl}]}]}; `variants` are the names, by index.
nlohmann::json ComparedJson(const nlohmann::json& id,
                            const v1::ComparedPosition& position,
                            const std::vector<std::string>& variants,
                            TokenTexts& texts);

// The positions of one input: what each variant expects next and how far its
// distribution is from the first one's; then, for each variant but the first,
// how far the blocks' residual streams are, over these positions.
std::string ComparedText(const nlohmann::json& id,
                         absl::Span<const v1::ComparedPosition> positions,
                         const std::vector<std::string>& variants,
                         TokenTexts& texts, const Heat& heat);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_COMPARE_VIEW_H_
