#include "client/cli/docs_view.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/output.h"
#include "client/cli/result_files.h"

namespace dissonance::cli {
namespace {

using Json = nlohmann::json;

std::string Count(const Json& object, const char* field) {
  return HumanCount(object.at(field).get<int64_t>());
}

// "missing_bucket 2, too_short 1".
std::string ReasonsOf(const Json& counts) {
  std::vector<std::string> parts;
  for (const auto& [reason, count] : counts.items()) {
    parts.push_back(
        absl::StrCat(reason, " ", HumanCount(count.get<int64_t>())));
  }
  return absl::StrJoin(parts, ", ");
}

// Of {cost_usd, cost_from | cost_reason}.
std::string CostOf(const Json& object) {
  const Json& cost = object.at("cost_usd");
  if (cost.is_null()) {
    return absl::StrCat("unknown: ",
                        object.at("cost_reason").get<std::string>());
  }
  return absl::StrFormat("%.4g US dollars, by %s", cost.get<double>(),
                         object.at("cost_from").get<std::string>());
}

std::string TokensOf(const Json& object) {
  return absl::StrCat(Count(object, "prompt_tokens"), " of prompts, ",
                      Count(object, "completion_tokens"), " of replies");
}

// The buckets that no document hits; a statistic of documents without a
// universe has none.
std::string NeverHit(const Json& statistics) {
  std::vector<std::string> buckets;
  const auto coverage = statistics.find("pattern_coverage");
  if (coverage == statistics.end() || !coverage->is_object()) return "";
  for (const auto& [bucket, share] : coverage->items()) {
    if (share.is_number() && share == 0) buckets.push_back(bucket);
  }
  return absl::StrJoin(buckets, ", ");
}

}  // namespace

absl::StatusOr<std::string> StatisticsText(const Json& statistics) {
  return Rendered("statistics.json", [&] {
    Table table({{""}, {""}});
    table.AddRow(
        {"documents", absl::StrCat(Count(statistics, "valid"), " valid of ",
                                   Count(statistics, "documents"))});
    if (statistics.at("invalid").get<int64_t>() > 0) {
      table.AddRow(
          {"not valid",
           absl::StrCat(
               Count(statistics, "invalid"), " (",
               HumanPercent(statistics.at("error_share").get<double>()),
               "): ", ReasonsOf(statistics.at("invalid_by_reason")))});
    }
    table.AddRow({"length", DistributionText(statistics.at("lengths"))});
    table.AddRow(
        {"near-duplicate pairs", Count(statistics, "near_duplicates")});
    const std::string never = NeverHit(statistics);
    if (!never.empty()) table.AddRow({"patterns never hit", never});
    if (statistics.contains("calls")) {
      const Json& calls = statistics.at("calls");
      table.AddRow({"calls answered", Count(calls, "answered")});
      table.AddRow({"tokens", TokensOf(calls)});
      table.AddRow({"cost", CostOf(calls)});
    }
    return table.Render();
  });
}

absl::StatusOr<std::string> EstimateText(const Json& estimate) {
  return Rendered("estimate.json", [&] {
    Table table({{""}, {""}});
    table.AddRow({"calls", Count(estimate, "calls")});
    table.AddRow({"documents", Count(estimate, "documents")});
    table.AddRow({"tokens", TokensOf(estimate)});
    table.AddRow({"cost", CostOf(estimate)});
    return absl::StrCat(
        table.Render(),
        "An estimate: as if every list came whole and nothing had to be asked "
        "for again.\n");
  });
}

std::string DistributionText(const Json& distribution) {
  if (distribution.is_null()) return "-";
  return absl::StrCat(
      "mean ", HumanCount(std::llround(distribution.at("mean").get<double>())),
      ", median ", Count(distribution, "median"), ", 95 % up to ",
      Count(distribution, "p95"), ", longest ", Count(distribution, "max"), " ",
      distribution.at("unit").get<std::string>());
}

}  // namespace dissonance::cli
