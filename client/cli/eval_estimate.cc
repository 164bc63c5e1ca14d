// What an evaluation would take, for --dry-run.
#include <algorithm>
#include <cstddef>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/eval_mcq.h"
#include "client/cli/names.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_prompt.h"

namespace dissonance::cli {
namespace {

// Questions that are really scored to measure tokens and time.
constexpr size_t kSampleCount = 8;

struct Cost {
  int64_t continuations = 0;
  double tokens = 0;
  absl::Duration time;
};

// The cost of all questions in one format, from a few of them, evenly spaced.
absl::StatusOr<Cost> Measure(Connection& connection, const EvalMcqArgs& args,
                             const McqQuestions& questions,
                             v1::McqScoring scoring,
                             const McqPromptFormat& format) {
  const size_t total = questions.items.size();
  const size_t sampled = std::min(total, kSampleCount);
  const v1::EvaluateMcqSpec spec = McqSpec(args, questions, scoring);
  v1::ScoreRequest request;
  *request.mutable_variants() = spec.variants();
  Cost cost;
  for (size_t i = 0; i < sampled; ++i) {
    const McqItem& question = questions.items[i * total / sampled];
    v1::ScoreItem& item = *request.add_items();
    *item.mutable_prompt() = McqPromptInput(question, scoring, format);
    for (const std::string& text :
         McqContinuations(question, scoring, format)) {
      item.add_continuations()->set_text(text);
    }
    cost.continuations += item.continuations_size();
  }
  const absl::Time start = absl::Now();
  ASSIGN_OR_RETURN(
      const v1::ScoreResponse response,
      connection.Call(&v1::Inference::Stub::Score, request, absl::Minutes(10)));
  const double scale =
      static_cast<double>(total) / static_cast<double>(sampled);
  // Dropout samples come on top of the plain pass, for adapters alone.
  const auto adapters = absl::c_count_if(
      request.variants(),
      [](const v1::Variant& variant) { return !variant.adapter().empty(); });
  const double passes = 1.0 + static_cast<double>(args.dropout_samples) *
                                  static_cast<double>(adapters) /
                                  request.variants_size();
  cost.continuations =
      static_cast<int64_t>(static_cast<double>(cost.continuations) * scale *
                           request.variants_size());
  cost.tokens =
      static_cast<double>(response.computed_token_count()) * scale * passes;
  cost.time = (absl::Now() - start) * scale * passes;
  return cost;
}

absl::StatusOr<int64_t> ResidentBytes(Connection& connection,
                                      const EvalMcqArgs& args,
                                      const v1::Model& model) {
  int64_t bytes = model.resident_bytes();
  if (!args.network.adapter.empty()) {
    v1::GetAdapterRequest adapter;
    adapter.set_name(AdapterName(args.network.model, args.network.adapter));
    ASSIGN_OR_RETURN(const v1::GetAdapterResponse found,
                     connection.Call(&v1::Models::Stub::GetAdapter, adapter));
    bytes += found.adapter().resident_bytes();
  }
  return bytes;
}

}  // namespace

absl::Status EstimateMcq(const Session& session, const EvalMcqArgs& args,
                         const McqQuestions& questions) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  v1::GetModelRequest model;
  model.set_name(ModelName(args.network.model));
  ASSIGN_OR_RETURN(const v1::GetModelResponse base,
                   connection->Call(&v1::Models::Stub::GetModel, model));
  ASSIGN_OR_RETURN(const int64_t bytes,
                   ResidentBytes(*connection, args, base.model()));
  McqPromptFormat format;
  format.chat = base.model().has_chat_template();
  Table table({{"SCORING"},
               {"QUESTIONS", Align::kRight},
               {"CONTINUATIONS", Align::kRight},
               {"TOKENS", Align::kRight},
               {"TIME", Align::kRight},
               {"WEIGHTS", Align::kRight}});
  std::vector<nlohmann::json> records;
  for (const v1::McqScoring scoring : args.scorings) {
    ASSIGN_OR_RETURN(const Cost cost,
                     Measure(*connection, args, questions, scoring, format));
    const std::string name = McqScoringName(scoring);
    table.AddRow({name, absl::StrCat(questions.items.size()),
                  HumanCount(cost.continuations),
                  HumanCount(static_cast<int64_t>(cost.tokens)),
                  HumanDuration(cost.time), HumanBytes(bytes)});
    records.push_back({{"scoring", name},
                       {"question_count", questions.items.size()},
                       {"continuation_count", cost.continuations},
                       {"estimated_tokens", static_cast<int64_t>(cost.tokens)},
                       {"estimated_seconds", absl::ToDoubleSeconds(cost.time)},
                       {"resident_bytes", bytes}});
  }
  Emit(session.output, records, table);
  return absl::OkStatus();
}

}  // namespace dissonance::cli
