#include "src/lab/docgen/document_files.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "src/base/json_lines.h"
#include "src/lab/docgen/near_duplicates.h"

namespace dissonance {
namespace {

using nlohmann::json;

json PlanJson(const DocumentPlan& plan) {
  return {{"id", plan.id()},
          {"fact", plan.fact},
          {"document_type", plan.type},
          {"idea", plan.idea}};
}

std::vector<const DocumentTask*> Valid(const DocumentTasks& tasks) {
  std::vector<const DocumentTask*> valid;
  for (const auto& task : tasks) {
    if (task->is_valid()) valid.push_back(task.get());
  }
  return valid;
}

std::vector<std::string> ContentsOf(
    const std::vector<const DocumentTask*>& tasks) {
  std::vector<std::string> contents;
  for (const DocumentTask* task : tasks) contents.push_back(task->content());
  return contents;
}

int64_t Characters(const std::string& text) {
  return std::count_if(text.begin(), text.end(),
                       [](unsigned char c) { return (c & 0xC0) != 0x80; });
}

json LengthsJson(const std::vector<std::string>& contents) {
  if (contents.empty()) return nullptr;
  std::vector<int64_t> lengths;
  int64_t total = 0;
  for (const std::string& text : contents) {
    lengths.push_back(Characters(text));
    total += lengths.back();
  }
  std::sort(lengths.begin(), lengths.end());
  // The smallest that so much of all does not exceed.
  const auto quantile = [&lengths](double share) {
    const auto rank = static_cast<size_t>(
        share * static_cast<double>(lengths.size() - 1) + 0.5);
    return lengths[rank];
  };
  return {{"unit", "characters"},
          {"total", total},
          {"mean",
           static_cast<double>(total) / static_cast<double>(lengths.size())},
          {"median", quantile(0.5)},
          {"p95", quantile(0.95)},
          {"max", lengths.back()}};
}

// Of each bucket the share of documents that hit it.
json CoverageJson(const Universe& universe,
                  const std::vector<std::string>& contents) {
  json coverage = json::object();
  for (const PatternBucket& bucket : universe.buckets) {
    const auto hits = std::count_if(
        contents.begin(), contents.end(),
        [&bucket](const std::string& text) { return Hits(text, bucket); });
    coverage[bucket.name] =
        contents.empty()
            ? 0.0
            : static_cast<double>(hits) / static_cast<double>(contents.size());
  }
  return coverage;
}

template <typename Key>
json CountsBy(const std::vector<const DocumentTask*>& tasks, Key key) {
  std::map<std::string, int64_t> counts;
  for (const DocumentTask* task : tasks) ++counts[key(*task)];
  return counts;
}

json CallsJson(const CallTotals& totals) {
  json calls = {{"answered", totals.call_count},
                {"prompt_tokens", totals.prompt_tokens},
                {"completion_tokens", totals.completion_tokens},
                {"models", totals.models}};
  if (totals.cost.has_value()) calls["cost_usd"] = *totals.cost;
  return calls;
}

}  // namespace

std::string DocsFile(const DocumentsPlan& plan, const DocumentTasks& tasks) {
  std::string text;
  for (const DocumentTask* task : Valid(tasks)) {
    json line = PlanJson(task->plan());
    line["content"] = task->content();
    line["model"] = task->model();
    line["tries"] = task->tries();
    line["universe_id"] = plan.universe.id;
    text += ToJsonLine(line);
  }
  return text;
}

std::string FailuresFile(const DocumentTasks& tasks) {
  std::string text;
  for (const auto& task : tasks) {
    if (!task->is_done() || task->is_valid()) continue;
    json line = PlanJson(task->plan());
    line["content"] = task->content();
    line["tries"] = task->tries();
    line["reasons"] = task->failures();
    text += ToJsonLine(line);
  }
  return text;
}

std::string NearDuplicatesFile(const DocumentsPlan& plan,
                               const DocumentTasks& tasks) {
  const std::vector<const DocumentTask*> valid = Valid(tasks);
  std::string text = "first,second,similarity\n";
  for (const NearDuplicate& pair :
       FindNearDuplicates(ContentsOf(valid), plan.near_duplicate_similarity)) {
    absl::StrAppend(&text, valid[pair.first]->plan().id(), ",",
                    valid[pair.second]->plan().id(), ",", pair.similarity,
                    "\n");
  }
  return text;
}

json FactsJson(const std::vector<std::string>& facts,
               const std::vector<TypeIdeas>& ideas) {
  json list = json::array();
  for (const std::string& fact : facts) {
    list.push_back({{"fact", fact}, {"types", json::array()}});
  }
  for (const TypeIdeas& type : ideas) {
    list[static_cast<size_t>(type.fact_index)]["types"].push_back(
        {{"type", type.type}, {"ideas", type.ideas}});
  }
  return {{"facts", list}};
}

json ReasonCounts(const DocumentTasks& tasks) {
  std::map<std::string, int64_t> counts;
  for (const auto& task : tasks) {
    if (!task->is_done() || task->is_valid()) continue;
    for (const std::string& reason : task->failures().back()) {
      const std::vector<std::string> parts = absl::StrSplit(reason, ':');
      ++counts[parts.front()];
    }
  }
  return counts;
}

json StatisticsJson(const DocumentsPlan& plan, const DocumentTasks& tasks,
                    const CallTotals& totals) {
  const std::vector<const DocumentTask*> valid = Valid(tasks);
  const std::vector<std::string> contents = ContentsOf(valid);
  const size_t invalid = tasks.size() - valid.size();
  return {
      {"universe_id", plan.universe.id},
      {"planned", tasks.size()},
      {"valid", valid.size()},
      {"invalid", invalid},
      {"error_share", tasks.empty() ? 0.0
                                    : static_cast<double>(invalid) /
                                          static_cast<double>(tasks.size())},
      {"invalid_by_reason", ReasonCounts(tasks)},
      {"by_fact",
       CountsBy(valid, [](const DocumentTask& t) { return t.plan().fact; })},
      {"by_type",
       CountsBy(valid, [](const DocumentTask& t) { return t.plan().type; })},
      {"lengths", LengthsJson(contents)},
      {"pattern_coverage", CoverageJson(plan.universe, contents)},
      {"near_duplicates",
       FindNearDuplicates(contents, plan.near_duplicate_similarity).size()},
      {"calls", CallsJson(totals)}};
}

}  // namespace dissonance
