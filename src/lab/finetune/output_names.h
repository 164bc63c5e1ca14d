// The names of a fine_tune job's files. Constants and a pure function; thread
// safe.
#ifndef DISSONANCE_LAB_FINETUNE_OUTPUT_NAMES_H_
#define DISSONANCE_LAB_FINETUNE_OUTPUT_NAMES_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "dissonance/v1/jobs.pb.h"

namespace dissonance {

// | file                      | what                                          |
// |---------------------------|-----------------------------------------------|
// | adapter_config.json       | of the adapter that came out, as PEFT has it  |
// | adapter_model.safetensors | its weights                                   |
// | training.jsonl            | one line a step                               |
// | training.vl.json          | the curves, Vega-Lite                         |
// | dataset.json              | what it was trained on, in figures            |
// | summary.json              | how it ended                                  |
// | manifest.json             | what was asked, digests, versions, times      |
// | plan.json                 | of a dry run: steps, memory, data             |
inline constexpr absl::string_view kConfigFile = "adapter_config.json";
inline constexpr absl::string_view kWeightsFile = "adapter_model.safetensors";
inline constexpr absl::string_view kStateFile = "state.safetensors";
inline constexpr absl::string_view kStepsFile = "training.jsonl";
inline constexpr absl::string_view kChartFile = "training.vl.json";
inline constexpr absl::string_view kDatasetFile = "dataset.json";
inline constexpr absl::string_view kSummaryFile = "summary.json";
inline constexpr absl::string_view kManifestFile = "manifest.json";
inline constexpr absl::string_view kPlanFile = "plan.json";

inline constexpr absl::string_view kSafetensorsType =
    "application/vnd.safetensors";

// The user whose job it is, without "users/".
inline std::string UserOf(const v1::Job& job) {
  return std::string(absl::StripPrefix(job.owner(), "users/"));
}

}  // namespace dissonance

#endif  // DISSONANCE_LAB_FINETUNE_OUTPUT_NAMES_H_
