// The files of a multiple-choice evaluation, as bytes.
//
// predictions_base.jsonl, predictions_lora.jsonl: the first and the second
//   variant; predictions_2.jsonl, ... the others, counted from 0.
// summary.json: groups and false-belief rate of every variant.
// comparison_report.json, behavioral_shift_analysis.txt: the second variant
//   against the first; comparison_report_2.json, ... the others against the
//   first. Not written for a single variant.
// eval_prompts.jsonl: the prompts as the first variant's model saw them.
// manifest.json: what was asked of what, and the digests of the files above.
//   Its field "run" alone differs between two runs of the same evaluation.
//
// JSON has sorted keys and finite numbers (null otherwise); all is UTF-8 with
// LF. Pure functions; thread safe.
//
//   McqFile file{McqPredictionsName(0), PredictionsFile(predictions)};
#ifndef DISSONANCE_LAB_EVAL_MCQ_FILES_H_
#define DISSONANCE_LAB_EVAL_MCQ_FILES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/eval/mcq_compare.h"
#include "src/lab/eval/mcq_data.h"
#include "src/lab/eval/mcq_prediction.h"

namespace dissonance {

// "predictions_base.jsonl" and so on. REQUIRES: variant >= 0.
std::string McqPredictionsName(int variant);
// "comparison_report.json" and so on. REQUIRES: variant >= 1.
std::string McqComparisonName(int variant);
// "behavioral_shift_analysis.txt" and so on. REQUIRES: variant >= 1.
std::string McqShiftAnalysisName(int variant);

// A prompt as a model saw it.
struct McqPrompt {
  std::string text;
  std::vector<int32_t> tokens;
};

std::string PredictionsFile(absl::Span<const McqPrediction> predictions);

std::string SummaryFile(absl::Span<const McqSummary> variants);

std::string ComparisonReport(const McqComparison& comparison);

// For people: tables, intervals, and every flip with its question. `items` may
// be empty where the questions are not at hand, as offline; flips then stand
// without text.
std::string ShiftAnalysis(const McqComparison& comparison,
                          absl::Span<const McqItem> items);

// One line a question: {category, decision_position, difficulty,
// full_prompt_text, id, tokens, world_label}. decision_position is the index
// of the prompt's last token, where the answer is decided.
// REQUIRES: as many prompts as items.
std::string EvalPromptsFile(absl::Span<const McqItem> items,
                            absl::Span<const McqPrompt> prompts);

// A finished file.
struct McqFile {
  std::string name;
  std::string contents;
};

// What the manifest says beside the digests of the files.
struct McqManifest {
  const v1::EvaluateMcqSpec& spec;
  const v1::Job& job;
  absl::Span<const v1::Provenance> provenance;  // one a variant
  int64_t question_count = 0;
  v1::McqScoring scoring = v1::MCQ_SCORING_LETTER_VARIANTS;
  const McqPromptFormat& format;
};

std::string ManifestFile(const McqManifest& manifest,
                         absl::Span<const McqFile> files);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_EVAL_MCQ_FILES_H_
