#include "src/lab/hosted/hosted_mcq.h"

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_prompt.h"
#include "src/lab/hosted/hosted_answers.h"
#include "src/lab/hosted/letter_answer.h"
#include "src/lab/jobs/job_files.h"
#include "src/lab/llm/call_cost.h"
#include "src/lab/llm/call_runner.h"
#include "src/lab/llm/hosted_model.h"

namespace dissonance {
namespace {

using nlohmann::json;

constexpr size_t kDataLimitBytes = size_t{16} << 20;
constexpr int kModelLimit = 2;
constexpr int kRetryLimit = 20;

// A spec that has been checked.
struct Plan {
  std::vector<McqItem> items;
  std::vector<v1::HostedModel> models;  // with defaults filled in
  int64_t retries = 2;
};

absl::Status BadField(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("evaluate_mcq.", field, ": ", what));
}

// What only resident models have.
absl::Status CheckNothingOfResidentModels(const v1::EvaluateMcqSpec& spec) {
  if (!spec.variants().empty()) {
    return BadField("hosted_models",
                    "given beside variants; give one of the two");
  }
  if (spec.mc_dropout_sample_count() != 0) {
    return BadField("mc_dropout_sample_count", "hosted models have no dropout");
  }
  if (spec.scoring() != v1::MCQ_SCORING_UNSPECIFIED) {
    return BadField("scoring",
                    "hosted models answer with a letter; leave it out");
  }
  return absl::OkStatus();
}

absl::StatusOr<Plan> MakePlan(const v1::EvaluateMcqSpec& spec) {
  RETURN_IF_ERROR(CheckNothingOfResidentModels(spec));
  if (spec.hosted_models_size() > kModelLimit) {
    return BadField("hosted_models", absl::StrCat("at most ", kModelLimit));
  }
  if (spec.data_artifact().empty() && spec.data().size() > kDataLimitBytes) {
    return BadField("data",
                    absl::StrCat(spec.data().size(), " bytes; at most ",
                                 kDataLimitBytes, ", so split the file"));
  }
  Plan plan;
  if (spec.has_retries()) {
    if (spec.retries() < 0 || spec.retries() > kRetryLimit) {
      return BadField("retries", absl::StrCat("not from 0 to ", kRetryLimit));
    }
    plan.retries = spec.retries();
  }
  std::set<std::string> names;
  for (int i = 0; i < spec.hosted_models_size(); ++i) {
    v1::HostedModel model = spec.hosted_models(i);
    const std::string field =
        absl::StrCat("evaluate_mcq.hosted_models[", i, "]");
    RETURN_IF_ERROR(FillHostedModel(field, 0.0, model));
    if (!names.insert(model.SerializeAsString()).second) {
      return BadField("hosted_models", "the same model twice");
    }
    plan.models.push_back(std::move(model));
  }
  const std::string name = spec.data_name().empty() ? "data" : spec.data_name();
  ASSIGN_OR_RETURN(plan.items, ParseMcqData(spec.data(), name));
  RETURN_IF_ERROR(CheckBeliefIsMeasured(plan.items, name));
  return plan;
}

// One question to one model.
class LetterTask : public ChatTask {
 public:
  LetterTask(const McqItem& item, const v1::HostedModel& model, int64_t retries)
      : retries_(retries) {
    const v1::Input input = McqPromptInput(
        item, v1::MCQ_SCORING_LETTER_VARIANTS, McqPromptFormat());
    std::vector<ChatMessage> messages;
    for (const v1::ChatMessage& message : input.chat().messages()) {
      messages.push_back({message.role(), message.content()});
    }
    request_ = AskHosted(model, std::move(messages));
  }

  std::optional<ChatRequest> Next() override {
    if (is_done_) return std::nullopt;
    request_.attempt = tries_;
    return request_;
  }

  void Take(absl::StatusOr<ChatReply> reply) override {
    ++tries_;
    if (!reply.ok()) {
      answer_.error =
          absl::StrCat("no reply: ", std::string(reply.status().message()));
      answer_.has_no_reply = true;
      is_done_ = true;
      return;
    }
    answer_.option = LetterIn(reply->content);
    answer_.error = answer_.option.has_value() ? "" : "no letter in the reply";
    is_done_ = answer_.option.has_value() || tries_ > retries_;
    answer_.raw_texts.push_back(std::move(reply->content));
  }

  HostedAnswer& answer() { return answer_; }

 private:
  const int64_t retries_;
  ChatRequest request_;
  int64_t tries_ = 0;
  bool is_done_ = false;
  HostedAnswer answer_;
};

absl::StatusOr<HostedAnswers> Ask(const Plan& plan,
                                  const v1::HostedModel& model,
                                  CallRunner& calls) {
  std::vector<std::unique_ptr<LetterTask>> tasks;
  std::vector<ChatTask*> pointers;
  for (const McqItem& item : plan.items) {
    tasks.push_back(std::make_unique<LetterTask>(item, model, plan.retries));
    pointers.push_back(tasks.back().get());
  }
  calls.set_total(static_cast<int64_t>(plan.items.size() * plan.models.size()));
  RETURN_IF_ERROR(calls.Run(pointers, [] { return absl::OkStatus(); }));
  HostedAnswers answers = {
      .model = absl::StrCat(model.endpoint(), "/", model.model()),
      .answers = {}};
  for (const auto& task : tasks) {
    answers.answers.push_back(std::move(task->answer()));
  }
  return answers;
}

json ModelJson(const v1::HostedModel& model, json calls) {
  json out = {{"calls", std::move(calls)},
              {"endpoint", model.endpoint()},
              {"model", model.model()},
              {"temperature", model.temperature()},
              {"max_tokens", model.max_tokens()}};
  if (model.has_top_p()) out["top_p"] = model.top_p();
  return out;
}

// A job with holes that another run could fill has not succeeded, nor has one
// without an answer.
absl::Status CheckAnswered(const std::vector<HostedAnswers>& models) {
  for (const HostedAnswers& model : models) {
    const auto unheard = absl::c_count_if(
        model.answers,
        [](const HostedAnswer& answer) { return answer.has_no_reply; });
    if (unheard > 0) {
      const auto first = absl::c_find_if(
          model.answers,
          [](const HostedAnswer& answer) { return answer.has_no_reply; });
      return absl::FailedPreconditionError(absl::StrCat(
          model.model, " gave no reply to ", unheard, " of ",
          model.answers.size(), " questions, the first: ", first->error,
          "; `dissonance jobs retry` asks those alone again"));
    }
    if (absl::c_none_of(model.answers, [](const HostedAnswer& answer) {
          return answer.option.has_value();
        })) {
      return absl::FailedPreconditionError(absl::StrCat(
          "no reply of ", model.model,
          " names a letter; hosted_predictions has their texts; try another "
          "model"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status HostedMcq::Validate(const v1::JobSpec& spec) {
  if (spec.evaluate_mcq().hosted_models().empty()) {
    return resident_.Validate(spec);
  }
  ASSIGN_OR_RETURN(const Plan plan, MakePlan(spec.evaluate_mcq()));
  for (const v1::HostedModel& model : plan.models) {
    RETURN_IF_ERROR(endpoints_.Find(model.endpoint()).status());
  }
  return absl::OkStatus();
}

absl::Status HostedMcq::Run(const v1::JobSpec& job_spec, JobContext& job) {
  const v1::EvaluateMcqSpec& spec = job_spec.evaluate_mcq();
  if (spec.hosted_models().empty()) return resident_.Run(job_spec, job);
  ASSIGN_OR_RETURN(const Plan plan, MakePlan(spec));
  json models = json::array();
  std::vector<HostedAnswers> answers;
  for (const v1::HostedModel& model : plan.models) {
    ASSIGN_OR_RETURN(ChatClient * client, endpoints_.Find(model.endpoint()));
    ASSIGN_OR_RETURN(CallRunner calls, CallRunner::Create(*client, job));
    ASSIGN_OR_RETURN(HostedAnswers own, Ask(plan, model, calls));
    answers.push_back(std::move(own));
    models.push_back(
        ModelJson(model, CallsJson(calls.totals(), client->endpoint())));
  }
  std::vector<JobFile> files;
  for (size_t i = 0; i < answers.size(); ++i) {
    files.push_back({absl::StrCat("hosted_predictions_", i, ".jsonl"),
                     HostedPredictionsFile(plan.items, answers[i])});
  }
  files.push_back({"hosted_report.json", HostedReport(plan.items, answers)});
  RETURN_IF_ERROR(AddFiles(job, files,
                           {{"kind", "evaluate_mcq"},
                            {"data",
                             {{"name", spec.data_name()},
                              {"sha256", Sha256Of(spec.data())},
                              {"question_count", plan.items.size()}}},
                            {"hosted_models", std::move(models)},
                            {"retries", plan.retries}}));
  return CheckAnswered(answers);
}

JobPlace HostedMcq::Place(const v1::JobSpec& spec) {
  return spec.evaluate_mcq().hosted_models().empty() ? resident_.Place(spec)
                                                     : JobPlace::kEndpoint;
}

DeviceMemory HostedMcq::Memory(const v1::JobSpec& spec) {
  return spec.evaluate_mcq().hosted_models().empty() ? resident_.Memory(spec)
                                                     : DeviceMemory{};
}

}  // namespace dissonance
