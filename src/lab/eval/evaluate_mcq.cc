#include "src/lab/eval/evaluate_mcq.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "src/base/failpoint.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_compare.h"
#include "src/lab/eval/mcq_data.h"
#include "src/lab/eval/mcq_failpoints.h"
#include "src/lab/eval/mcq_files.h"
#include "src/lab/eval/mcq_prediction.h"
#include "src/lab/eval/mcq_prompt.h"
#include "src/lab/eval/mcq_record.h"
#include "src/lab/eval/mcq_scorer.h"
#include "src/lab/eval/mcq_scores.h"
#include "src/lab/eval/network_difference.h"

namespace dissonance {
namespace {

constexpr size_t kDataLimitBytes = size_t{16} << 20;
constexpr size_t kDataArtifactLimitBytes = size_t{256} << 20;
constexpr size_t kDataNameLimitBytes = 255;
constexpr int kVariantLimit = 16;
constexpr absl::string_view kManifestName = "manifest.json";
constexpr int kDropoutSampleLimit = 1000;
// Dropout samples of one request, over its questions: keeps a response well
// below the size of a gRPC message.
constexpr int kDropoutSamplesPerBatch = 128;

// A spec that has been checked.
struct Plan {
  std::vector<McqItem> items;
  std::vector<v1::Variant> variants;
  v1::McqScoring scoring = v1::MCQ_SCORING_LETTER_VARIANTS;
};

absl::Status BadField(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("evaluate_mcq.", field, ": ", what));
}

absl::StatusOr<Plan> MakePlan(const v1::JobSpec& job_spec) {
  if (!job_spec.has_evaluate_mcq()) {
    return absl::InvalidArgumentError("spec.kind: expected evaluate_mcq");
  }
  const v1::EvaluateMcqSpec& spec = job_spec.evaluate_mcq();
  if (spec.variants().empty() || spec.variants_size() > kVariantLimit) {
    return BadField("variants", absl::StrCat("expected 1 to ", kVariantLimit,
                                             ", found ", spec.variants_size()));
  }
  const size_t data_limit =
      spec.data_artifact().empty() ? kDataLimitBytes : kDataArtifactLimitBytes;
  if (spec.data().size() > data_limit) {
    return BadField("data", absl::StrCat(spec.data().size(), " bytes; at most ",
                                         data_limit, ", so split the file"));
  }
  if (spec.data_name().size() > kDataNameLimitBytes) {
    return BadField("data_name",
                    absl::StrCat(spec.data_name().size(), " bytes; at most ",
                                 kDataNameLimitBytes));
  }
  const int samples = spec.mc_dropout_sample_count();
  if (samples < 0 || samples > kDropoutSampleLimit) {
    return BadField("mc_dropout_sample_count",
                    absl::StrCat("expected 0 to ", kDropoutSampleLimit,
                                 ", found ", samples));
  }
  Plan plan;
  plan.variants.assign(spec.variants().begin(), spec.variants().end());
  ASSIGN_OR_RETURN(plan.scoring, ResolveMcqScoring(spec.scoring()));
  const std::string name = spec.data_name().empty() ? "data" : spec.data_name();
  ASSIGN_OR_RETURN(plan.items, ParseMcqData(spec.data(), name));
  RETURN_IF_ERROR(CheckBeliefIsMeasured(plan.items, name));
  return plan;
}

// The name under which a variant's predictions are listed.
std::string ModelName(const v1::Variant& variant) {
  return absl::StrCat(
      variant.adapter().empty() ? variant.model() : variant.adapter(),
      variant.interventions().empty() ? "" : ", steered");
}

absl::string_view MediaType(absl::string_view file_name) {
  if (absl::EndsWith(file_name, ".jsonl")) return "application/jsonl";
  if (absl::EndsWith(file_name, ".json")) return "application/json";
  return "text/plain; charset=utf-8";
}

// One attempt at a job: the questions that have no record yet, then the files.
class Attempt {
 public:
  Attempt(ComputeClient& compute, const v1::EvaluateMcqSpec& spec, Plan plan,
          JobContext& job)
      : compute_(compute),
        spec_(spec),
        plan_(std::move(plan)),
        job_(job),
        call_{.cancelled = [&job] { return job.cancelled(); },
              .spend = &job.spend()},
        scorer_(compute, plan_.variants, plan_.scoring, call_),
        provenance_(job.job().provenance().begin(),
                    job.job().provenance().end()) {}

  // Chooses the prompts' format.
  absl::Status ReadModels() {
    ASSIGN_OR_RETURN(const std::string without_template, scorer_.ReadModels());
    if (without_template.empty()) return absl::OkStatus();
    return job_.Log(absl::StrCat(
        without_template, " has no chat template: prompts are plain text"));
  }

  // That the questions left fit the models' positions.
  absl::Status CheckLengths() {
    return scorer_.CheckLengths(
        absl::MakeConstSpan(plan_.items).subspan(records_.size()));
  }

  // Reads what earlier attempts recorded.
  absl::Status Resume() {
    ASSIGN_OR_RETURN(const std::vector<std::string> stored,
                     job_.RecordedItems());
    if (stored.size() > plan_.items.size()) {
      return absl::DataLossError(absl::StrCat(
          stored.size(), " records for ", plan_.items.size(), " questions"));
    }
    if (!stored.empty() && provenance_.size() != plan_.variants.size()) {
      return absl::DataLossError(
          "questions are recorded, but not which weights answered them");
    }
    for (size_t i = 0; i < stored.size(); ++i) {
      const std::string where = absl::StrCat("record ", i);
      ASSIGN_OR_RETURN(McqRecord record, DecodeRecord(stored[i], where));
      if (record.id != plan_.items[i].id ||
          record.variants.size() != plan_.variants.size()) {
        return absl::DataLossError(
            absl::StrCat(where, ": of question ", record.id, " by ",
                         record.variants.size(), " variants, expected ",
                         plan_.items[i].id, " by ", plan_.variants.size()));
      }
      records_.push_back(std::move(record));
    }
    if (stored.empty()) {
      provenance_.clear();  // of a network that answered nothing
      const std::string left_out = LeftOutOfBelief(plan_.items);
      return left_out.empty() ? absl::OkStatus() : job_.Log(left_out);
    }
    return job_.Log(absl::StrCat("resumes after ", stored.size(), " of ",
                                 plan_.items.size(), " questions"));
  }

  // Scores and records all questions that are left, `batch_size` at a time.
  absl::Status ComputeRest(int batch_size) {
    while (records_.size() < plan_.items.size()) {
      if (job_.cancelled()) return absl::CancelledError("cancelled");
      const absl::Span<const McqItem> batch =
          absl::MakeConstSpan(plan_.items)
              .subspan(records_.size(), static_cast<size_t>(batch_size));
      RETURN_IF_ERROR(ComputeBatch(batch));
    }
    return absl::OkStatus();
  }

  absl::Status WriteOutputs();

 private:
  absl::Status ComputeBatch(absl::Span<const McqItem> batch);
  // The scores without dropout; sets the provenance.
  absl::Status Score(absl::Span<const McqItem> batch,
                     absl::Span<McqRecord> records);
  // Dropout samples of the variants that have an adapter; a base model has no
  // dropout.
  absl::Status SampleDropout(absl::Span<const McqItem> batch,
                             absl::Span<McqRecord> records);
  absl::Status KeepProvenance(absl::Span<const v1::Provenance> provenance);
  // That `variant` is the network that answered before.
  absl::Status CheckSameNetwork(size_t variant,
                                const v1::Provenance& provenance) const;
  std::vector<McqPrediction> Predictions(int variant) const;
  absl::StatusOr<std::vector<McqFile>> MakeFiles() const;

  ComputeClient& compute_;
  const v1::EvaluateMcqSpec& spec_;
  Plan plan_;
  JobContext& job_;
  const CallOptions call_;
  McqScorer scorer_;
  std::vector<v1::Provenance> provenance_;  // one a variant, once known
  std::vector<McqRecord> records_;
};

absl::Status Attempt::CheckSameNetwork(size_t variant,
                                       const v1::Provenance& provenance) const {
  const std::string changed =
      NetworkDifference(provenance_[variant], provenance);
  if (changed.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      ModelName(plan_.variants[variant]), " changed after ", records_.size(),
      " questions (", changed,
      "); create a new job rather than mix two networks in one result"));
}

absl::Status Attempt::KeepProvenance(
    absl::Span<const v1::Provenance> provenance) {
  if (!provenance_.empty()) {
    for (size_t i = 0; i < plan_.variants.size(); ++i) {
      RETURN_IF_ERROR(CheckSameNetwork(i, provenance[i]));
    }
    return absl::OkStatus();
  }
  provenance_.assign(provenance.begin(), provenance.end());
  for (v1::Provenance& each : provenance_) {
    each.set_input_digest(Sha256Of(spec_.data()));
    each.set_seed(spec_.mc_dropout_sample_count() > 0 ? spec_.seed() : 0);
  }
  return job_.SetProvenance(provenance_);
}

absl::Status Attempt::Score(absl::Span<const McqItem> batch,
                            absl::Span<McqRecord> records) {
  ASSIGN_OR_RETURN(McqAnswers answers, scorer_.Score(batch));
  for (size_t i = 0; i < batch.size(); ++i) {
    records[i].variants = std::move(answers.scores[i]);
  }
  return KeepProvenance(answers.provenance);
}

absl::Status Attempt::SampleDropout(absl::Span<const McqItem> batch,
                                    absl::Span<McqRecord> records) {
  std::vector<size_t> adapted;  // indices of variants
  std::vector<v1::Variant> variants;
  for (size_t v = 0; v < plan_.variants.size(); ++v) {
    if (plan_.variants[v].adapter().empty()) continue;
    adapted.push_back(v);
    variants.push_back(plan_.variants[v]);
  }
  if (spec_.mc_dropout_sample_count() == 0 || adapted.empty()) {
    return absl::OkStatus();
  }
  v1::ScoreRequest request =
      MakeScoreRequest(batch, variants, plan_.scoring, scorer_.format());
  request.mutable_dropout()->set_sample_count(spec_.mc_dropout_sample_count());
  request.mutable_dropout()->set_seed(spec_.seed());
  ASSIGN_OR_RETURN(const v1::ScoreResponse response,
                   compute_.Score(request, call_));
  ASSIGN_OR_RETURN(McqScoreGrid grid,
                   UnpackScores(request, response, plan_.scoring));
  for (size_t v = 0; v < adapted.size(); ++v) {
    RETURN_IF_ERROR(
        CheckSameNetwork(adapted[v], response.provenance(static_cast<int>(v))));
    for (size_t i = 0; i < batch.size(); ++i) {
      records[i].variants[adapted[v]].dropout_samples = std::move(grid[v][i]);
    }
  }
  return absl::OkStatus();
}

absl::Status Attempt::ComputeBatch(absl::Span<const McqItem> batch) {
  std::vector<McqRecord> records(batch.size());
  for (size_t i = 0; i < batch.size(); ++i) {
    records[i].id = batch[i].id;
    absl::StatusOr<McqPrompt> prompt = scorer_.Render(batch[i]);
    RETURN_IF_ERROR(
        Annotate(prompt.status(), absl::StrCat("question ", batch[i].id)));
    records[i].prompt = *std::move(prompt);
  }
  RETURN_IF_ERROR(Score(batch, absl::MakeSpan(records)));
  RETURN_IF_ERROR(SampleDropout(batch, absl::MakeSpan(records)));
  Failpoint(kFailpointBatchScored);
  std::vector<std::string> encoded;
  for (const McqRecord& record : records) {
    encoded.push_back(EncodeRecord(record));
  }
  RETURN_IF_ERROR(
      job_.RecordItems(static_cast<int64_t>(records_.size()), encoded,
                       static_cast<int64_t>(plan_.items.size()), "questions"));
  Failpoint(kFailpointBatchRecorded);
  std::move(records.begin(), records.end(), std::back_inserter(records_));
  return absl::OkStatus();
}

std::vector<McqPrediction> Attempt::Predictions(int variant) const {
  std::vector<McqPrediction> predictions;
  for (size_t i = 0; i < plan_.items.size(); ++i) {
    predictions.push_back(MakePrediction(
        plan_.items[i], ModelName(plan_.variants[variant]), plan_.scoring,
        scorer_.format(), records_[i].variants[variant]));
  }
  return predictions;
}

absl::StatusOr<std::vector<McqFile>> Attempt::MakeFiles() const {
  std::vector<McqFile> files;
  std::vector<McqSummary> summaries;
  const std::vector<McqPrediction> base = Predictions(0);
  for (int v = 0; v < static_cast<int>(plan_.variants.size()); ++v) {
    const std::vector<McqPrediction> own = Predictions(v);
    files.push_back({McqPredictionsName(v), PredictionsFile(own)});
    summaries.push_back(SummarizePredictions(own));
    if (v == 0) continue;
    ASSIGN_OR_RETURN(const McqComparison comparison,
                     ComparePredictions({base, McqPredictionsName(0)},
                                        {own, McqPredictionsName(v)}));
    files.push_back({McqComparisonName(v), ComparisonReport(comparison)});
    files.push_back(
        {McqShiftAnalysisName(v), ShiftAnalysis(comparison, plan_.items)});
  }
  files.push_back({"summary.json", SummaryFile(summaries)});
  std::vector<McqPrompt> prompts;
  for (const McqRecord& record : records_) prompts.push_back(record.prompt);
  files.push_back(
      {"eval_prompts.jsonl", EvalPromptsFile(plan_.items, prompts)});
  const McqManifest manifest{
      .spec = spec_,
      .job = job_.job(),
      .provenance = provenance_,
      .question_count = static_cast<int64_t>(plan_.items.size()),
      .scoring = plan_.scoring,
      .format = scorer_.format()};
  std::string manifest_file = ManifestFile(manifest, files);
  files.push_back({std::string(kManifestName), std::move(manifest_file)});
  return files;
}

absl::Status Attempt::WriteOutputs() {
  Failpoint(kFailpointBeforeOutputs);
  ASSIGN_OR_RETURN(const std::vector<McqFile> files, MakeFiles());
  for (const McqFile& file : files) {
    RETURN_IF_ERROR(
        job_.AddOutput(file.name, MediaType(file.name), file.contents,
                       file.name == kManifestName ? OutputKind::kNamesRun
                                                  : OutputKind::kResult));
    Failpoint(kFailpointOutputAdded);
  }
  return absl::OkStatus();
}

int BatchSize(int questions_per_batch, int dropout_samples) {
  const int fitting = kDropoutSamplesPerBatch / std::max(dropout_samples, 1);
  return std::clamp(fitting, 1, std::max(questions_per_batch, 1));
}

}  // namespace

absl::Status EvaluateMcq::Validate(const v1::JobSpec& spec) {
  ASSIGN_OR_RETURN(const Plan plan, MakePlan(spec));
  for (size_t i = 0; i < plan.variants.size(); ++i) {
    RETURN_IF_ERROR(Annotate(compute_.CheckVariant(plan.variants[i]),
                             absl::StrCat("evaluate_mcq.variants[", i, "]")));
  }
  return absl::OkStatus();
}

absl::Status EvaluateMcq::Run(const v1::JobSpec& spec, JobContext& job) {
  ASSIGN_OR_RETURN(Plan plan, MakePlan(spec));
  const v1::EvaluateMcqSpec& mcq = spec.evaluate_mcq();
  Attempt attempt(compute_, mcq, std::move(plan), job);
  RETURN_IF_ERROR(attempt.ReadModels());
  RETURN_IF_ERROR(attempt.Resume());
  RETURN_IF_ERROR(attempt.CheckLengths());
  RETURN_IF_ERROR(attempt.ComputeRest(
      BatchSize(options_.questions_per_batch, mcq.mc_dropout_sample_count())));
  return attempt.WriteOutputs();
}

DeviceMemory EvaluateMcq::Memory(const v1::JobSpec& spec) {
  DeviceMemory memory;
  for (const v1::Variant& variant : spec.evaluate_mcq().variants()) {
    memory[variant.model()] = compute_.WeightBytes(variant.model());
  }
  return memory;
}

}  // namespace dissonance
