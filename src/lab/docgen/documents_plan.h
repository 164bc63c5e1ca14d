// What a job generate_documents is told, checked and with its defaults, and the
// questions that follow from it. Values; thread safe.
#ifndef DISSONANCE_LAB_DOCGEN_DOCUMENTS_PLAN_H_
#define DISSONANCE_LAB_DOCGEN_DOCUMENTS_PLAN_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/language_jobs.pb.h"
#include "src/lab/docgen/document_task.h"
#include "src/lab/docgen/prompt_template.h"
#include "src/lab/docgen/universe.h"
#include "src/lab/llm/chat_messages.h"

namespace dissonance {

struct DocumentsPlan {
  Universe universe;
  v1::HostedModel llm;  // with defaults filled in
  int64_t fact_count = 8;
  int64_t types_per_fact = 50;
  int64_t type_rounds = 20;
  int64_t ideas_per_type = 10;
  int64_t most_repeats = 3;
  int64_t retries = 3;
  uint64_t seed = 42;
  int64_t document_limit = 0;
  double near_duplicate_similarity = 0.8;
  std::vector<std::string> forbidden_phrases;
  PromptTemplate key_facts;
  PromptTemplate document_types;
  PromptTemplate document_ideas;
  PromptTemplate document;

  ChatRequest AskFacts(int64_t attempt) const;
  // `known`: kinds that are there; `wanted`: how many more.
  ChatRequest AskTypes(const std::string& fact,
                       const std::vector<std::string>& known, int64_t wanted,
                       int64_t attempt) const;
  ChatRequest AskIdeas(const std::string& fact, const std::string& type,
                       int64_t attempt) const;
  ChatRequest AskDocument(const DocumentPlan& document, int64_t attempt) const;

  // Digests of the prompts, by name.
  std::map<std::string, std::string> PromptDigests() const;
};

// INVALID_ARGUMENT naming file and field.
absl::StatusOr<DocumentsPlan> MakeDocumentsPlan(
    const v1::GenerateDocumentsSpec& spec);

// A type of a fact, with what may be written of it.
struct TypeIdeas {
  int64_t fact_index = 0;
  int64_t type_index = 0;
  std::string fact;
  std::string type;
  std::vector<std::string> ideas;
};

// The documents, in the order of facts, types, ideas and repeats: of each idea
// 1 to most_repeats, drawn from the seed and the idea's place; no more than
// document_limit, drawn from the seed.
std::vector<DocumentPlan> PlanDocuments(const DocumentsPlan& plan,
                                        const std::vector<TypeIdeas>& ideas);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_DOCUMENTS_PLAN_H_
