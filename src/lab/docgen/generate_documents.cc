#include "src/lab/docgen/generate_documents.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/docgen/document_files.h"
#include "src/lab/docgen/document_task.h"
#include "src/lab/docgen/documents_plan.h"
#include "src/lab/docgen/list_task.h"
#include "src/lab/files/json_document.h"
#include "src/lab/files/row_files.h"
#include "src/lab/jobs/job_files.h"
#include "src/lab/llm/call_cost.h"
#include "src/lab/llm/call_runner.h"

namespace dissonance {
namespace {

using nlohmann::json;

// Of documents that ended, from which on too many failures end the job.
constexpr int64_t kFirstLook = 20;
// Of English text.
constexpr double kBytesPerToken = 4.0;
// What replies come to, for estimates: an entry of a list, and a document.
constexpr double kItemTokens = 25;
constexpr double kDocumentTokens = 700;
constexpr char kFailuresName[] = "failures.jsonl";

absl::Status Nothing() { return absl::OkStatus(); }

template <typename Task>
std::vector<ChatTask*> Pointers(
    const std::vector<std::unique_ptr<Task>>& tasks) {
  std::vector<ChatTask*> pointers;
  for (const auto& task : tasks) pointers.push_back(task.get());
  return pointers;
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

// One run of a job.
class Attempt {
 public:
  Attempt(const DocumentsPlan& plan, const ChatEndpoint& endpoint,
          CallRunner& calls, JobContext& job)
      : plan_(plan), endpoint_(endpoint), calls_(calls), job_(job) {}

  absl::Status Run() {
    RETURN_IF_ERROR(FindFacts());
    RETURN_IF_ERROR(FindTypes());
    RETURN_IF_ERROR(FindIdeas());
    return WriteDocuments();
  }

  // Of a run that went well.
  std::vector<JobFile> Files() const {
    DocumentFiles files =
        FilesOf(Results(), &plan_.universe, plan_.near_duplicate_similarity);
    files.statistics["calls"] = CallsJson(calls_.totals(), endpoint_);
    return {{"docs.jsonl", std::move(files.docs)},
            {kFailuresName, std::move(files.failures)},
            {"near_duplicates.csv", std::move(files.near_duplicates)},
            {"facts.json", JsonDocument(FactsJson(facts_, ideas_))},
            {"statistics.json", JsonDocument(files.statistics)}};
  }

 private:
  using Lists = std::vector<std::unique_ptr<ListTask>>;

  absl::Status FindFacts() {
    ListTask task([this](const std::vector<std::string>&,
                         int64_t attempt) { return plan_.AskFacts(attempt); },
                  {.wanted = static_cast<size_t>(plan_.fact_count),
                   .rounds = 3,
                   .retries = 2,
                   .accumulates = false});
    ChatTask* const tasks[] = {&task};
    RETURN_IF_ERROR(calls_.Run(tasks, Nothing));
    if (!task.is_full() && task.has_no_reply()) {
      return absl::FailedPreconditionError(
          absl::StrCat("no reply from endpoint ", plan_.llm.endpoint(), ": ",
                       task.trouble().message()));
    }
    if (!task.is_full()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the model gave no ", plan_.fact_count, " facts of the universe: ",
          task.trouble().message(), "; try another model"));
    }
    facts_ = task.TakeItems();
    calls_.set_total(static_cast<int64_t>(facts_.size()) *
                     (plan_.types_per_fact + 1));
    return job_.Log(absl::StrCat(facts_.size(), " facts"));
  }

  absl::Status FindTypes() {
    Lists tasks;
    for (const std::string& fact : facts_) {
      tasks.push_back(std::make_unique<ListTask>(
          [this, fact](const std::vector<std::string>& known, int64_t attempt) {
            const int64_t missing =
                plan_.types_per_fact - static_cast<int64_t>(known.size());
            return plan_.AskTypes(fact, known, missing, attempt);
          },
          ListTask::Limits{.wanted = static_cast<size_t>(plan_.types_per_fact),
                           .rounds = plan_.type_rounds}));
    }
    RETURN_IF_ERROR(calls_.Run(Pointers(tasks), Nothing));
    for (size_t i = 0; i < tasks.size(); ++i) {
      if (!tasks[i]->is_full())
        RETURN_IF_ERROR(Lacks("kinds of documents", "fact", i, *tasks[i]));
      std::vector<std::string> types = tasks[i]->TakeItems();
      types.resize(
          std::min(types.size(), static_cast<size_t>(plan_.types_per_fact)));
      for (size_t t = 0; t < types.size(); ++t) {
        ideas_.push_back({.fact_index = static_cast<int64_t>(i),
                          .type_index = static_cast<int64_t>(t),
                          .fact = facts_[i],
                          .type = std::move(types[t]),
                          .ideas = {}});
      }
    }
    return job_.Log(absl::StrCat(ideas_.size(), " kinds of documents"));
  }

  absl::Status FindIdeas() {
    Lists tasks;
    for (const TypeIdeas& type : ideas_) {
      tasks.push_back(std::make_unique<ListTask>(
          [this, &type](const std::vector<std::string>&, int64_t attempt) {
            return plan_.AskIdeas(type.fact, type.type, attempt);
          },
          ListTask::Limits{.wanted =
                               static_cast<size_t>(plan_.ideas_per_type)}));
    }
    RETURN_IF_ERROR(calls_.Run(Pointers(tasks), Nothing));
    for (size_t i = 0; i < tasks.size(); ++i) {
      if (!tasks[i]->is_full())
        RETURN_IF_ERROR(Lacks("ideas", "kind", i, *tasks[i]));
      ideas_[i].ideas = tasks[i]->TakeItems();
      ideas_[i].ideas.resize(std::min(
          ideas_[i].ideas.size(), static_cast<size_t>(plan_.ideas_per_type)));
    }
    return absl::OkStatus();
  }

  // Fewer than wanted is no error, but is not silent either.
  absl::Status Lacks(absl::string_view what, absl::string_view of,
                     size_t number, const ListTask& task) {
    return job_.Log(absl::StrCat("fewer ", what, " than wanted for ", of, " ",
                                 number + 1, ": ", task.trouble().message()));
  }

  absl::Status WriteDocuments() {
    for (DocumentPlan& document : PlanDocuments(plan_, ideas_)) {
      documents_.push_back(std::make_unique<DocumentTask>(
          std::move(document),
          [this](const DocumentPlan& wanted, int64_t attempt) {
            return plan_.AskDocument(wanted, attempt);
          },
          DocumentTask::Rules{.universe = plan_.universe,
                              .phrases = plan_.forbidden_phrases,
                              .retries = plan_.retries,
                              .tally = tally_}));
    }
    RETURN_IF_ERROR(
        job_.Log(absl::StrCat(documents_.size(), " documents to write")));
    calls_.set_total(calls_.totals().call_count +
                     static_cast<int64_t>(documents_.size()));
    const absl::Status status =
        calls_.Run(Pointers(documents_), [this] { return LookAtErrors(); });
    if (too_many_fail_) {
      RETURN_IF_ERROR(job_.AddOutput(kFailuresName, MediaTypeOf(kFailuresName),
                                     FailuresFile(Results()),
                                     OutputKind::kResult));
    }
    return status;
  }

  absl::Status LookAtErrors() {
    too_many_fail_ = tally_.count() >= kFirstLook &&
                     2 * tally_.invalid_count > tally_.count();
    if (!too_many_fail_) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        tally_.invalid_count, " of ", tally_.count(),
        " documents are not valid, by reason ", ReasonCounts(Results()).dump(),
        "; failures.jsonl has their texts; change the model, the prompts or "
        "the universe's patterns"));
  }

  // Of those that are done; while the job goes on, not all are.
  std::vector<CheckedDocument> Results() const {
    std::vector<CheckedDocument> results;
    for (const auto& document : documents_) {
      if (document->is_done()) results.push_back(document->Result());
    }
    return results;
  }

  const DocumentsPlan& plan_;
  const ChatEndpoint& endpoint_;
  CallRunner& calls_;
  JobContext& job_;
  std::vector<std::string> facts_;
  std::vector<TypeIdeas> ideas_;
  DocumentTally tally_;
  std::vector<std::unique_ptr<DocumentTask>> documents_;
  bool too_many_fail_ = false;
};

// What a run would come to, if lists come whole and nothing is repeated.
json EstimateJson(const DocumentsPlan& plan, const ChatEndpoint& endpoint) {
  const auto prompt = [](const ChatRequest& request) {
    return static_cast<double>(ChatRequestBody(request).size()) /
           kBytesPerToken;
  };
  const auto facts = static_cast<double>(plan.fact_count);
  const double types = facts * static_cast<double>(plan.types_per_fact);
  const double ideas = types * static_cast<double>(plan.ideas_per_type);
  double documents = ideas * (1.0 + static_cast<double>(plan.most_repeats)) / 2;
  if (plan.document_limit > 0) {
    documents = std::min(documents, static_cast<double>(plan.document_limit));
  }
  const double prompts = prompt(plan.AskFacts(0)) +
                         facts * prompt(plan.AskTypes("", {}, 1, 0)) +
                         types * prompt(plan.AskIdeas("", "", 0)) +
                         documents * prompt(plan.AskDocument({}, 0));
  const double replies =
      kItemTokens * (facts + types + ideas) + kDocumentTokens * documents;
  json estimate = {{"calls", std::llround(1 + facts + types + documents)},
                   {"documents", std::llround(documents)},
                   {"prompt_tokens", std::llround(prompts)},
                   {"completion_tokens", std::llround(replies)},
                   {"assumes",
                    {{"bytes_per_token", kBytesPerToken},
                     {"tokens_of_a_list_entry", kItemTokens},
                     {"tokens_of_a_document", kDocumentTokens}}}};
  estimate.update(EstimatedCostJson(std::llround(prompts),
                                    std::llround(replies), endpoint));
  return estimate;
}

json ProvenanceOf(const v1::GenerateDocumentsSpec& spec,
                  const DocumentsPlan& plan, const CallTotals& totals) {
  return {{"endpoint", plan.llm.endpoint()},
          {"fact_count", plan.fact_count},
          {"types_per_fact", plan.types_per_fact},
          {"type_rounds", plan.type_rounds},
          {"ideas_per_type", plan.ideas_per_type},
          {"most_repeats", plan.most_repeats},
          {"document_limit", plan.document_limit},
          {"retries", plan.retries},
          {"near_duplicate_similarity", plan.near_duplicate_similarity},
          {"model", plan.llm.model()},
          {"models_that_answered", totals.models},
          {"temperature", plan.llm.temperature()},
          {"max_tokens", plan.llm.max_tokens()},
          {"seed", plan.seed},
          {"universe", Sha256Of(spec.universe())},
          {"prompts", plan.PromptDigests()},
          {"forbidden_phrases", plan.forbidden_phrases}};
}

json ManifestOf(const v1::GenerateDocumentsSpec& spec,
                const DocumentsPlan& plan) {
  return {{"kind", "generate_documents"},
          {"universe",
           {{"id", plan.universe.id},
            {"name", spec.universe_name()},
            {"sha256", Sha256Of(spec.universe())}}},
          {"dry_run", spec.dry_run()}};
}

}  // namespace

absl::Status GenerateDocuments::Validate(const v1::JobSpec& spec) {
  ASSIGN_OR_RETURN(const DocumentsPlan plan,
                   MakeDocumentsPlan(spec.generate_documents()));
  return endpoints_.Find(plan.llm.endpoint()).status();
}

absl::Status GenerateDocuments::Run(const v1::JobSpec& job_spec,
                                    JobContext& job) {
  const v1::GenerateDocumentsSpec& spec = job_spec.generate_documents();
  ASSIGN_OR_RETURN(const DocumentsPlan plan, MakeDocumentsPlan(spec));
  const json manifest = ManifestOf(spec, plan);
  ASSIGN_OR_RETURN(ChatClient * client, endpoints_.Find(plan.llm.endpoint()));
  if (spec.dry_run()) {
    return AddFiles(job,
                    {{"estimate.json",
                      JsonDocument(EstimateJson(plan, client->endpoint()))}},
                    manifest);
  }
  ASSIGN_OR_RETURN(CallRunner calls, CallRunner::Create(*client, job));
  Attempt attempt(plan, client->endpoint(), calls, job);
  RETURN_IF_ERROR(attempt.Run());
  std::vector<JobFile> files = attempt.Files();
  files.push_back({"provenance.json",
                   JsonDocument(ProvenanceOf(spec, plan, calls.totals()))});
  return AddFiles(job, files, manifest);
}

}  // namespace dissonance
