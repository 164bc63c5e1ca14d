#include "src/lab/docgen/documents_plan.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/mix.h"
#include "src/base/shuffle.h"
#include "src/base/status_macros.h"
#include "src/lab/docgen/document_check.h"
#include "src/lab/docgen/shipped_prompts.h"
#include "src/lab/llm/hosted_model.h"

namespace dissonance {
namespace {

constexpr int64_t kLeastFacts = 8;
constexpr size_t kUniverseBytes = 1 << 20;
constexpr uint64_t kRepeatStream = 0x72657073;  // "reps"
constexpr uint64_t kLimitStream = 0x6C696D69;   // "limi"

absl::Status Error(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("generate_documents.", field, ": ", what));
}

// Sets a number that is given, within bounds.
absl::Status Set(absl::string_view field, int64_t given, int64_t low,
                 int64_t high, int64_t& to) {
  if (given == 0) return absl::OkStatus();
  if (given < low || given > high) {
    return Error(field,
                 absl::StrCat(given, " is not between ", low, " and ", high));
  }
  to = given;
  return absl::OkStatus();
}

absl::Status SetNumbers(const v1::GenerateDocumentsSpec& spec,
                        DocumentsPlan& plan) {
  RETURN_IF_ERROR(
      Set("fact_count", spec.fact_count(), kLeastFacts, 1000, plan.fact_count));
  RETURN_IF_ERROR(Set("types_per_fact", spec.types_per_fact(), 1, 1000,
                      plan.types_per_fact));
  RETURN_IF_ERROR(
      Set("type_rounds", spec.type_rounds(), 1, 100, plan.type_rounds));
  RETURN_IF_ERROR(Set("ideas_per_type", spec.ideas_per_type(), 1, 1000,
                      plan.ideas_per_type));
  RETURN_IF_ERROR(
      Set("most_repeats", spec.most_repeats(), 1, 100, plan.most_repeats));
  RETURN_IF_ERROR(Set("document_limit", spec.document_limit(), 1, 1'000'000,
                      plan.document_limit));
  if (spec.has_retries()) {
    if (spec.retries() < 0 || spec.retries() > 20) {
      return Error("retries", "not between 0 and 20");
    }
    plan.retries = spec.retries();
  }
  if (spec.has_seed()) plan.seed = spec.seed();
  if (spec.has_near_duplicate_similarity()) {
    const double similarity = spec.near_duplicate_similarity();
    if (!(similarity > 0 && similarity <= 1)) {
      return Error("near_duplicate_similarity", "not above 0 and at most 1");
    }
    plan.near_duplicate_similarity = similarity;
  }
  return absl::OkStatus();
}

absl::StatusOr<PromptTemplate> PromptOf(const std::string& given,
                                        absl::string_view shipped,
                                        absl::string_view name,
                                        std::set<std::string> known) {
  known.insert("universe_context");
  return PromptTemplate::Parse(given.empty() ? shipped : given,
                               absl::StrCat("prompts.", name), known);
}

absl::Status SetPrompts(const v1::DocumentPrompts& given, DocumentsPlan& plan) {
  ASSIGN_OR_RETURN(plan.key_facts, PromptOf(given.key_facts(), kKeyFactsPrompt,
                                            "key_facts", {"fact_count"}));
  ASSIGN_OR_RETURN(
      plan.document_types,
      PromptOf(given.document_types(), kDocumentTypesPrompt, "document_types",
               {"fact", "type_count", "known_types"}));
  ASSIGN_OR_RETURN(
      plan.document_ideas,
      PromptOf(given.document_ideas(), kDocumentIdeasPrompt, "document_ideas",
               {"fact", "document_type", "idea_count"}));
  ASSIGN_OR_RETURN(plan.document,
                   PromptOf(given.document(), kDocumentPrompt, "document",
                            {"fact", "document_type", "idea"}));
  return absl::OkStatus();
}

ChatRequest Asking(const DocumentsPlan& plan, const PromptTemplate& prompt,
                   PromptTemplate::Values values, int64_t attempt,
                   bool json_object) {
  values["universe_context"] = plan.universe.context;
  ChatRequest request = AskHosted(plan.llm, prompt.Fill(values));
  request.json_object = json_object;
  request.attempt = attempt;
  return request;
}

}  // namespace

absl::StatusOr<DocumentsPlan> MakeDocumentsPlan(
    const v1::GenerateDocumentsSpec& spec) {
  if (spec.universe().size() > kUniverseBytes) {
    return Error("universe",
                 absl::StrCat("more than ", kUniverseBytes, " bytes"));
  }
  DocumentsPlan plan;
  ASSIGN_OR_RETURN(plan.universe,
                   ParseUniverse(spec.universe(), spec.universe_name().empty()
                                                      ? "universe"
                                                      : spec.universe_name()));
  plan.llm = spec.llm();
  RETURN_IF_ERROR(FillHostedModel("generate_documents.llm", 1.0, plan.llm));
  RETURN_IF_ERROR(SetNumbers(spec, plan));
  RETURN_IF_ERROR(SetPrompts(spec.prompts(), plan));
  plan.forbidden_phrases.assign(spec.forbidden_phrases().begin(),
                                spec.forbidden_phrases().end());
  for (const std::string& phrase : plan.forbidden_phrases) {
    if (absl::StripAsciiWhitespace(phrase).empty()) {
      return Error("forbidden_phrases", "an entry is empty");
    }
  }
  if (plan.forbidden_phrases.empty()) {
    plan.forbidden_phrases = DefaultForbiddenPhrases();
  }
  return plan;
}

ChatRequest DocumentsPlan::AskFacts(int64_t attempt) const {
  return Asking(*this, key_facts, {{"fact_count", absl::StrCat(fact_count)}},
                attempt, true);
}

ChatRequest DocumentsPlan::AskTypes(const std::string& fact,
                                    const std::vector<std::string>& known,
                                    int64_t wanted, int64_t attempt) const {
  const std::string there =
      known.empty() ? ""
                    : absl::StrCat(" These are there already, so give others: ",
                                   absl::StrJoin(known, "; "), ".");
  return Asking(*this, document_types,
                {{"fact", fact},
                 {"type_count", absl::StrCat(wanted)},
                 {"known_types", there}},
                attempt, true);
}

ChatRequest DocumentsPlan::AskIdeas(const std::string& fact,
                                    const std::string& type,
                                    int64_t attempt) const {
  return Asking(*this, document_ideas,
                {{"fact", fact},
                 {"document_type", type},
                 {"idea_count", absl::StrCat(ideas_per_type)}},
                attempt, true);
}

ChatRequest DocumentsPlan::AskDocument(const DocumentPlan& wanted,
                                       int64_t attempt) const {
  ChatRequest request = Asking(*this, document,
                               {{"fact", wanted.fact},
                                {"document_type", wanted.type},
                                {"idea", wanted.idea}},
                               attempt, false);
  // Repeats, and documents whose prompt does not name all that sets them apart,
  // are alike otherwise, and want texts of their own.
  request.attempt += wanted.ordinal * (retries + 1);
  return request;
}

std::map<std::string, std::string> DocumentsPlan::PromptDigests() const {
  return {{"key_facts", key_facts.digest()},
          {"document_types", document_types.digest()},
          {"document_ideas", document_ideas.digest()},
          {"document", document.digest()}};
}

std::vector<DocumentPlan> PlanDocuments(const DocumentsPlan& plan,
                                        const std::vector<TypeIdeas>& ideas) {
  std::vector<DocumentPlan> documents;
  for (const TypeIdeas& type : ideas) {
    for (size_t i = 0; i < type.ideas.size(); ++i) {
      const auto idea = static_cast<int64_t>(i);
      uint64_t key = Mix(plan.seed) ^ kRepeatStream;
      for (const int64_t place : {type.fact_index, type.type_index, idea}) {
        key = Mix(key ^ static_cast<uint64_t>(place));
      }
      const auto repeats = static_cast<int64_t>(
          1 + BelowBound(Mix(key), static_cast<uint64_t>(plan.most_repeats)));
      for (int64_t repeat = 0; repeat < repeats; ++repeat) {
        documents.push_back({.fact_index = type.fact_index,
                             .type_index = type.type_index,
                             .idea_index = idea,
                             .repeat = repeat,
                             .ordinal = std::ssize(documents),
                             .fact = type.fact,
                             .type = type.type,
                             .idea = type.ideas[i]});
      }
    }
  }
  const auto count = static_cast<int64_t>(documents.size());
  if (plan.document_limit == 0 || plan.document_limit >= count) {
    return documents;
  }
  std::vector<int64_t> chosen =
      ShuffledIndices(count, Mix(plan.seed) ^ kLimitStream);
  chosen.resize(static_cast<size_t>(plan.document_limit));
  std::sort(chosen.begin(), chosen.end());
  std::vector<DocumentPlan> kept;
  for (const int64_t i : chosen) {
    kept.push_back(std::move(documents[static_cast<size_t>(i)]));
  }
  return kept;
}

}  // namespace dissonance
