// The files of a job generate_documents. Pure; thread safe.
//
// docs.jsonl           {"content", "document_type", "fact", "id", "idea",
//                      "model", "tries", "universe_id"}, valid documents in the
//                      order of the plan
// failures.jsonl       the others, with "tries" and of each the reasons
// facts.json           facts, kinds of documents, ideas
// near_duplicates.csv  pairs of documents that are nearly alike
// statistics.json      counts, lengths, pattern coverage, what was asked
#ifndef DISSONANCE_LAB_DOCGEN_DOCUMENT_FILES_H_
#define DISSONANCE_LAB_DOCGEN_DOCUMENT_FILES_H_

#include <memory>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "src/lab/docgen/document_task.h"
#include "src/lab/docgen/documents_plan.h"
#include "src/lab/llm/call_runner.h"

namespace dissonance {

using DocumentTasks = std::vector<std::unique_ptr<DocumentTask>>;

std::string DocsFile(const DocumentsPlan& plan, const DocumentTasks& tasks);
std::string FailuresFile(const DocumentTasks& tasks);
std::string NearDuplicatesFile(const DocumentsPlan& plan,
                               const DocumentTasks& tasks);
nlohmann::json FactsJson(const std::vector<std::string>& facts,
                         const std::vector<TypeIdeas>& ideas);
nlohmann::json StatisticsJson(const DocumentsPlan& plan,
                              const DocumentTasks& tasks,
                              const CallTotals& totals);

// Of reasons as CheckDocument gives them how often each rule spoke in a last
// try, e.g. {"missing_bucket": 3}.
nlohmann::json ReasonCounts(const DocumentTasks& tasks);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_DOCUMENT_FILES_H_
