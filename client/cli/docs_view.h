// What people see of documents: of statistics.json and of estimate.json, as the
// job generate_documents and `docs import` write them. Pure; thread safe.
//
//   ASSIGN_OR_RETURN(const std::string text, StatisticsText(statistics));
#ifndef DISSONANCE_CLIENT_CLI_DOCS_VIEW_H_
#define DISSONANCE_CLIENT_CLI_DOCS_VIEW_H_

#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// Documents, what was not valid by reason, lengths, near-duplicates, and where
// somebody was asked calls, tokens and cost. DATA_LOSS if fields are missing.
absl::StatusOr<std::string> StatisticsText(const nlohmann::json& statistics);

// Calls, documents, tokens, cost. DATA_LOSS if fields are missing.
absl::StatusOr<std::string> EstimateText(const nlohmann::json& estimate);

// "mean 812, median 790, 95 % up to 1,400, longest 2,031 characters", of what
// DistributionJson gives.
std::string DistributionText(const nlohmann::json& distribution);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_DOCS_VIEW_H_
