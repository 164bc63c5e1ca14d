#include "src/lab/answers/evaluate_open.h"

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/answers/open_asker.h"
#include "src/lab/answers/open_files.h"
#include "src/lab/answers/open_plan.h"
#include "src/lab/answers/open_record.h"
#include "src/lab/interp/kept_networks.h"
#include "src/lab/interp/variant_json.h"
#include "src/lab/jobs/job_files.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

std::vector<std::string> NamesOf(const OpenPlan& plan) {
  std::vector<std::string> names;
  for (const v1::Variant& each : plan.variants) {
    names.push_back(VariantName(each));
  }
  return names;
}

// One attempt at a job: the questions that have no record yet, then the files.
class Attempt {
 public:
  Attempt(InterpClient& compute, const v1::EvaluateOpenSpec& spec,
          OpenPlan plan, JobContext& job)
      : spec_(spec),
        plan_(std::move(plan)),
        job_(job),
        call_{.cancelled = [&job] { return job.cancelled(); },
              .spend = &job.spend()},
        asker_(compute, plan_, call_),
        networks_(job, NamesOf(plan_), Sha256Of(spec.data()),
                  plan_.greedy() ? 0 : plan_.seed) {}

  // Chooses the prompts' format, and reads what earlier attempts recorded.
  absl::Status Begin();
  absl::Status AskRest();
  absl::Status WriteFiles();

 private:
  absl::StatusOr<OpenRecord> Stored(const std::string& text, size_t question);
  Json Manifest() const;

  const v1::EvaluateOpenSpec& spec_;
  const OpenPlan plan_;
  JobContext& job_;
  const CallOptions call_;
  OpenAsker asker_;
  KeptNetworks networks_;
  std::vector<OpenRecord> records_;
};

absl::StatusOr<OpenRecord> Attempt::Stored(const std::string& text,
                                           size_t question) {
  const std::string where = absl::StrCat("record ", question);
  ASSIGN_OR_RETURN(OpenRecord record, DecodeOpenRecord(text, where));
  if (question < plan_.questions.size() &&
      record.id == plan_.questions[question].id &&
      record.answers.size() == plan_.variants.size() &&
      absl::c_all_of(record.answers, [&](const auto& samples) {
        return std::ssize(samples) == plan_.sample_count;
      })) {
    return record;
  }
  return absl::DataLossError(
      absl::StrCat(where, ": not of a question of this job"));
}

absl::Status Attempt::Begin() {
  ASSIGN_OR_RETURN(const std::string without_template, asker_.ReadModel());
  if (!without_template.empty()) {
    RETURN_IF_ERROR(job_.Log(absl::StrCat(
        without_template, " has no chat template: prompts are plain text")));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> stored, job_.RecordedItems());
  for (const std::string& text : stored) {
    ASSIGN_OR_RETURN(OpenRecord record, Stored(text, records_.size()));
    records_.push_back(std::move(record));
  }
  RETURN_IF_ERROR(networks_.Resume(records_.size()));
  if (!records_.empty()) {
    RETURN_IF_ERROR(
        job_.Log(absl::StrCat("resumes after ", records_.size(), " of ",
                              plan_.questions.size(), " questions")));
  }
  return asker_.CheckLengths(records_.size());
}

absl::Status Attempt::AskRest() {
  while (records_.size() < plan_.questions.size()) {
    if (job_.cancelled()) return absl::CancelledError("cancelled");
    ASSIGN_OR_RETURN(OpenReplies replies, asker_.Ask(records_.size()));
    for (const std::vector<v1::Provenance>& each : replies.provenance) {
      RETURN_IF_ERROR(networks_.Keep(each, records_.size()));
    }
    std::vector<std::string> items;
    for (const OpenRecord& record : replies.records) {
      items.push_back(EncodeRecord(record));
    }
    RETURN_IF_ERROR(job_.RecordItems(
        static_cast<int64_t>(records_.size()), items,
        static_cast<int64_t>(plan_.questions.size()), "questions"));
    absl::c_move(replies.records, std::back_inserter(records_));
  }
  return absl::OkStatus();
}

Json Attempt::Manifest() const {
  Json variants = Json::array();
  for (size_t v = 0; v < plan_.variants.size(); ++v) {
    Json own = VariantJson(plan_.variants[v], networks_.all()[v]);
    own["name"] = OpenVariantName(static_cast<int>(v));
    own["answers"] = OpenAnswersName(static_cast<int>(v));
    variants.push_back(std::move(own));
  }
  const bool greedy = plan_.greedy();
  return {{"kind", "evaluate_open"},
          {"data",
           {{"name", spec_.data_name()},
            {"sha256", Sha256Of(spec_.data())},
            {"question_count", plan_.questions.size()}}},
          {"mode", OpenModeName(plan_.mode)},
          {"prompt_format",
           {{"chat", asker_.format().chat},
            {"system", asker_.format().system},
            {"doubt_ending", asker_.format().doubt_ending}}},
          {"generation",
           {{"sample_count", plan_.sample_count},
            {"temperature", plan_.temperature},
            {"top_p", greedy ? Json() : Json(plan_.top_p)},
            {"seed", greedy ? Json() : Json(plan_.seed)},
            {"max_new_tokens", plan_.max_new_tokens}}},
          {"variants", std::move(variants)}};
}

absl::Status Attempt::WriteFiles() {
  return AddFiles(job_, OpenFiles({.plan = plan_, .records = records_}),
                  Manifest());
}

}  // namespace

absl::Status EvaluateOpen::Validate(const v1::JobSpec& spec) {
  ASSIGN_OR_RETURN(const OpenPlan plan, MakeOpenPlan(spec));
  RETURN_IF_ERROR(
      OpenFields().CheckLoaded(spec.evaluate_open().variants(), compute_));
  ASSIGN_OR_RETURN(const v1::Model model,
                   compute_.GetModel(plan.variants.front().model()));
  if (plan.max_new_tokens < model.max_position_count()) {
    return absl::OkStatus();
  }
  return OpenFields().Bad(
      "max_new_tokens",
      absl::StrCat(plan.max_new_tokens,
                   " leave no room for a prompt: ", model.name(), " has ",
                   model.max_position_count(), " positions"));
}

absl::Status EvaluateOpen::Run(const v1::JobSpec& spec, JobContext& job) {
  ASSIGN_OR_RETURN(OpenPlan plan, MakeOpenPlan(spec));
  Attempt attempt(compute_, spec.evaluate_open(), std::move(plan), job);
  RETURN_IF_ERROR(attempt.Begin());
  RETURN_IF_ERROR(attempt.AskRest());
  return attempt.WriteFiles();
}

DeviceMemory EvaluateOpen::Memory(const v1::JobSpec& spec) {
  return MemoryOf(spec.evaluate_open().variants(), compute_);
}

}  // namespace dissonance
