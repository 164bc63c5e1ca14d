// The files of an evaluate_open job, made of its records:
//
//   answers_base.jsonl, answers_lora.jsonl   the first and the second variant;
//   answers_2.jsonl, ...                     the others, counted from 0
//   summary.json   of each variant: mean negative log-likelihood and length,
//                  the share that ended by itself, confidence, and how many
//                  answers differ from the first variant's
//   answers.txt    for people: each question with all answers to it; only the
//                  first line of a question is not indented
//
// One line an answer, by question and sample: {answer, category, difficulty,
// finish_reason, id, mode, model, nll_mean, nll_sum, question, sample, seed,
// token_count, token_ids, token_logprobs, variant}, in doubt_probe also
// {confidence, reason}. Pure functions; thread safe.
//
//   std::vector<JobFile> files = OpenFiles(outcome);
#ifndef DISSONANCE_LAB_ANSWERS_OPEN_FILES_H_
#define DISSONANCE_LAB_ANSWERS_OPEN_FILES_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "src/lab/answers/open_plan.h"
#include "src/lab/answers/open_record.h"
#include "src/lab/jobs/job_files.h"

namespace dissonance {

// All that a job has. Refers to the plan and the records, one of which belongs
// to each question.
struct OpenOutcome {
  const OpenPlan& plan;
  absl::Span<const OpenRecord> records;
};

// "base", "lora", "2", ... REQUIRES: variant >= 0.
std::string OpenVariantName(int variant);

// "answers_base.jsonl" and so on. REQUIRES: variant >= 0.
std::string OpenAnswersName(int variant);

// All but the manifest.
std::vector<JobFile> OpenFiles(const OpenOutcome& outcome);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_ANSWERS_OPEN_FILES_H_
