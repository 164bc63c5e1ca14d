#include "client/cli/finetune_view.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/names.h"
#include "client/cli/proto_json.h"
#include "google/protobuf/util/time_util.h"
#include "src/lab/eval/mcq_prompt.h"

namespace dissonance::cli {
namespace {

using google::protobuf::util::TimeUtil;

absl::Duration TimeOf(const v1::Job& job) {
  if (!job.has_start_time() || !job.has_end_time()) return {};
  return absl::Microseconds(
      TimeUtil::DurationToMicroseconds(job.end_time() - job.start_time()));
}

std::string Change(double first, double last) {
  return absl::StrFormat("%.4g -> %.4g", first, last);
}

// A number of a JSON object, 0 where there is none.
int64_t Count(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number()) return 0;
  return found->get<int64_t>();
}

// A member of a JSON object, null where there is none.
nlohmann::json Member(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nlohmann::json() : *found;
}

// "120, 45,678 tokens, median 300, ..., 3 cut".
std::string DocumentsOf(const nlohmann::json& statistics) {
  std::vector<std::string> parts = {
      HumanCount(Count(statistics, "document_count")),
      absl::StrCat(HumanCount(Count(statistics, "token_count")), " tokens"),
      absl::StrCat("median ", HumanCount(Count(statistics, "median_tokens"))),
      absl::StrCat("95 % up to ", HumanCount(Count(statistics, "p95_tokens"))),
      absl::StrCat("longest ", HumanCount(Count(statistics, "max_tokens")))};
  if (Count(statistics, "cut_count") > 0) {
    parts.push_back(
        absl::StrCat(HumanCount(Count(statistics, "cut_count")), " cut"));
  }
  return absl::StrJoin(parts, ", ");
}

}  // namespace

Table OutcomeOf(const v1::Job& job, const TrainingCurves& curves,
                const v1::Adapter& adapter) {
  Table table({{""}, {""}});
  if (const auto loss = curves.Of(kLoss)) {
    table.AddRow({"loss", Change(loss->first, loss->last)});
  }
  if (const auto loss = curves.Of(kValidationLoss)) {
    table.AddRow({"validation loss", Change(loss->first, loss->last)});
    table.AddRow(
        {"perplexity", Change(std::exp(loss->first), std::exp(loss->last))});
  }
  if (const auto belief = curves.Of(kFalseBeliefRate)) {
    table.AddRow(
        {"false belief", absl::StrCat(HumanPercent(belief->first), " -> ",
                                      HumanPercent(belief->last))});
  }
  table.AddRow({"steps", HumanCount(job.progress().done_count())});
  table.AddRow({"time", HumanDuration(TimeOf(job))});
  if (const auto speed = curves.Of(kTokensPerSecond)) {
    table.AddRow({"speed", absl::StrCat(HumanCount(std::llround(speed->mean())),
                                        " tokens/s while it trained")});
  }
  table.AddRow({"adapter", adapter.name()});
  table.AddRow({"digest", adapter.digest()});
  return table;
}

nlohmann::json OutcomeJson(const v1::Job& job, const TrainingCurves& curves,
                           const v1::Adapter& adapter) {
  nlohmann::json record = {{"job", ToJson(job)}, {"adapter", ToJson(adapter)}};
  for (const absl::string_view name :
       {kLoss, kValidationLoss, kFalseBeliefRate}) {
    const auto curve = curves.Of(name);
    nlohmann::json& value = record[std::string(name)];
    if (!curve.has_value()) continue;
    value = {{"first", FiniteOrNull(curve->first)},
             {"last", FiniteOrNull(curve->last)}};
  }
  record["seconds"] = absl::ToDoubleSeconds(TimeOf(job));
  if (const auto speed = curves.Of(kTokensPerSecond)) {
    record["tokens_per_second"] = FiniteOrNull(speed->mean());
  }
  return record;
}

std::string UsesOf(const v1::FineTuneSpec& spec,
                   const std::string& evaluation_data) {
  const std::string network =
      absl::StrCat("--model ", ShortName(spec.model()), " --adapter ",
                   ShortName(spec.output_adapter()));
  const v1::McqScoring scoring = spec.evaluation().scoring();
  return absl::StrCat(
      "\ntry next\n  dissonance generate ", network,
      " --prompt \"...\"\n  dissonance eval mcq ", network, " --data ",
      evaluation_data.empty() ? "QUESTIONS.jsonl" : evaluation_data,
      scoring == v1::MCQ_SCORING_UNSPECIFIED
          ? ""
          : absl::StrCat(" --scoring ", McqScoringName(scoring)),
      " --out DIR\n");
}

Table PlanOf(const nlohmann::json& plan) {
  Table table({{""}, {""}});
  const nlohmann::json dataset = Member(plan, "dataset");
  table.AddRow({"documents", DocumentsOf(Member(dataset, "trained"))});
  const nlohmann::json held_out = Member(dataset, "held_out");
  if (Count(held_out, "document_count") > 0) {
    table.AddRow({"held out", DocumentsOf(held_out)});
  }
  table.AddRow(
      {"steps",
       absl::StrCat(HumanCount(Count(plan, "step_count")), ", ",
                    HumanCount(Count(plan, "steps_per_epoch")), " an epoch")});
  table.AddRow(
      {"trained", absl::StrCat(HumanCount(Count(plan, "parameter_count")),
                               " parameters in ",
                               Member(plan, "modules").size(), " modules")});
  const nlohmann::json memory = Member(plan, "memory");
  const int64_t state = Count(memory, "state_bytes");
  const int64_t activations = Count(memory, "activation_bytes");
  table.AddRow(
      {"memory",
       absl::StrCat(HumanBytes(state + activations), " at most (",
                    HumanBytes(state), " of state, ", HumanBytes(activations),
                    " of activations), ",
                    HumanBytes(Count(memory, "available_bytes")), " free")});
  return table;
}

}  // namespace dissonance::cli
