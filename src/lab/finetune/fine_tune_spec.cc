#include "src/lab/finetune/fine_tune_spec.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_prompt.h"

namespace dissonance {
namespace {

constexpr size_t kDataLimitBytes = size_t{16} << 20;
constexpr size_t kDataArtifactLimitBytes = size_t{256} << 20;
constexpr size_t kNameLimitBytes = 255;
constexpr size_t kNamePartLimit = 63;
// Longer than any module's name.
constexpr size_t kPatternLimitBytes = 512;
constexpr int kPatternLimit = 1000;

// No wider than those of the worker, which checks again.
constexpr int32_t kMaxRank = 1024;
constexpr double kMinAlpha = 1e-6;
constexpr double kMaxAlpha = 1e9;
constexpr double kMaxDropout = 0.999;
constexpr int32_t kMaxEpochs = 10000;
constexpr int32_t kMaxBatch = 1024;
constexpr int32_t kMaxKept = 1000;

constexpr int32_t kDefaultRank = 64;
constexpr double kDefaultDropout = 0.05;
constexpr int32_t kDefaultEpochs = 3;
constexpr double kDefaultLearningRate = 2e-4;
constexpr int32_t kDefaultMicroBatch = 4;
constexpr int32_t kDefaultAccumulation = 4;
constexpr double kDefaultBeta1 = 0.9;
constexpr double kDefaultBeta2 = 0.999;
constexpr double kDefaultEpsilon = 1e-8;
constexpr double kDefaultMaxGradNorm = 1.0;
constexpr int64_t kDefaultLengthTokens = 2048;
constexpr uint64_t kDefaultSeed = 42;
constexpr int64_t kDefaultCheckpointSteps = 50;
constexpr int32_t kDefaultKept = 2;

constexpr double kMaxReal = std::numeric_limits<double>::max();

// A number of the spec, and what it has to be. NaN is in no range.
struct Rule {
  std::string field;
  double value = 0;
  double low = 0;
  double high = 0;
  // Whether the bounds themselves are refused.
  bool above = false;
  bool below = false;
};

std::string Expected(const Rule& rule) {
  const std::string low =
      absl::StrCat(rule.above ? "a number above " : "a number from ", rule.low);
  if (rule.high == kMaxReal) {
    return rule.above ? low : absl::StrCat("a number not below ", rule.low);
  }
  return absl::StrCat(low, rule.below ? " and below " : " to ", rule.high);
}

absl::Status CheckRules(absl::Span<const Rule> rules) {
  for (const Rule& rule : rules) {
    const bool holds =
        (rule.above ? rule.value > rule.low : rule.value >= rule.low) &&
        (rule.below ? rule.value < rule.high : rule.value <= rule.high);
    if (holds) continue;
    return BadFineTuneField(
        rule.field,
        absl::StrCat("expected ", Expected(rule), ", found ", rule.value));
  }
  return absl::OkStatus();
}

// As RegisterAdapter and LoadModel take them.
bool IsNamePart(absl::string_view part) {
  return !part.empty() && part.size() <= kNamePartLimit &&
         (absl::ascii_islower(part[0]) || absl::ascii_isdigit(part[0])) &&
         std::all_of(part.begin(), part.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) ||
                  c == '-' || c == '.' || c == '_';
         });
}

absl::Status CheckModelName(absl::string_view name) {
  absl::string_view part = name;
  if (absl::ConsumePrefix(&part, "models/") && IsNamePart(part)) {
    return absl::OkStatus();
  }
  return BadFineTuneField(
      "model",
      absl::StrCat("expected \"models/MODEL\", found \"",
                   absl::CHexEscape(name.substr(0, kNameLimitBytes)), "\""));
}

absl::Status CheckAdapterName(absl::string_view field, absl::string_view model,
                              absl::string_view name) {
  absl::string_view part = name;
  if (absl::ConsumePrefix(&part, absl::StrCat(model, "/adapters/")) &&
      IsNamePart(part)) {
    return absl::OkStatus();
  }
  return BadFineTuneField(
      field,
      absl::StrCat("expected \"", model,
                   "/adapters/ADAPTER\", where ADAPTER is 1-63 of a-z, "
                   "0-9, '-', '.', '_', beginning with a letter or "
                   "digit, found \"",
                   absl::CHexEscape(name.substr(0, kNameLimitBytes)), "\""));
}

absl::Status CheckSize(absl::string_view field, size_t bytes,
                       bool is_artifact) {
  const size_t limit = is_artifact ? kDataArtifactLimitBytes : kDataLimitBytes;
  if (bytes <= limit) return absl::OkStatus();
  return BadFineTuneField(field,
                          absl::StrCat(bytes, " bytes; at most ", limit,
                                       is_artifact ? ", so split the file"
                                                   : "; larger files are "
                                                     "given as artifacts"));
}

absl::Status CheckFileName(absl::string_view field, absl::string_view name) {
  if (name.size() <= kNameLimitBytes) return absl::OkStatus();
  return BadFineTuneField(
      field, absl::StrCat(name.size(), " bytes; at most ", kNameLimitBytes));
}

template <typename Names>
absl::Status CheckModules(absl::string_view field, const Names& names) {
  std::set<std::string> seen;
  for (int i = 0; i < names.size(); ++i) {
    const std::string where = absl::StrCat(field, "[", i, "]");
    if (names.Get(i).empty() || names.Get(i).size() > kPatternLimitBytes) {
      return BadFineTuneField(
          where, absl::StrCat("expected the last part of a module's name, e.g. "
                              "\"q_proj\", found ",
                              names.Get(i).size(), " bytes"));
    }
    if (!seen.insert(names.Get(i)).second) {
      return BadFineTuneField(
          where, absl::StrCat("\"", names.Get(i), "\" is given twice"));
    }
  }
  if (seen.contains("all-linear") && seen.size() > 1) {
    return BadFineTuneField(field, "\"all-linear\" stands alone");
  }
  return absl::OkStatus();
}

template <typename Patterns>
absl::Status CheckPatterns(absl::string_view field, const Patterns& patterns,
                           bool is_rank) {
  if (patterns.size() > kPatternLimit) {
    return BadFineTuneField(
        field, absl::StrCat(patterns.size(), "; at most ", kPatternLimit));
  }
  for (int i = 0; i < patterns.size(); ++i) {
    const v1::ModulePattern& each = patterns.Get(i);
    const std::string where = absl::StrCat(field, "[", i, "]");
    if (each.pattern().empty() || each.pattern().size() > kPatternLimitBytes) {
      return BadFineTuneField(
          absl::StrCat(where, ".pattern"),
          absl::StrCat("expected 1 to ", kPatternLimitBytes, " bytes, found ",
                       each.pattern().size()));
    }
    if (is_rank && std::floor(each.value()) != each.value()) {
      return BadFineTuneField(
          absl::StrCat(where, ".value"),
          absl::StrCat("expected a whole number, found ", each.value()));
    }
    const Rule rule = {.field = absl::StrCat(where, ".value"),
                       .value = each.value(),
                       .low = is_rank ? 1.0 : kMinAlpha,
                       .high = is_rank ? kMaxRank : kMaxAlpha};
    RETURN_IF_ERROR(CheckRules({rule}));
  }
  return absl::OkStatus();
}

absl::Status CheckBlocks(const v1::LoraOptions& lora) {
  std::set<int32_t> seen;
  for (int i = 0; i < lora.blocks_size(); ++i) {
    const std::string where = absl::StrCat("lora.blocks[", i, "]");
    RETURN_IF_ERROR(CheckRules({{.field = where,
                                 .value = static_cast<double>(lora.blocks(i)),
                                 .high = kMaxReal}}));
    if (!seen.insert(lora.blocks(i)).second) {
      return BadFineTuneField(where,
                              absl::StrCat(lora.blocks(i), " is given twice"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLora(const v1::FineTuneSpec& spec, FineTunePlan& plan) {
  v1::LoraOptions& lora = plan.lora;
  lora = spec.lora();
  if (!lora.has_dropout()) lora.set_dropout(kDefaultDropout);
  const Rule dropout = {
      .field = "lora.dropout", .value = lora.dropout(), .high = kMaxDropout};
  RETURN_IF_ERROR(CheckRules({dropout}));
  if (!spec.adapter().empty()) {
    v1::LoraOptions rest = spec.lora();
    rest.clear_dropout();
    if (rest.ByteSizeLong() == 0) return absl::OkStatus();
    return BadFineTuneField("lora",
                            "has more than a dropout, and training begins with "
                            "an adapter, whose shape it keeps: leave the rest "
                            "out, or leave out `adapter`");
  }
  if (lora.rank() == 0) lora.set_rank(kDefaultRank);
  if (lora.alpha() == 0) lora.set_alpha(2.0 * lora.rank());
  RETURN_IF_ERROR(CheckRules({{.field = "lora.rank",
                               .value = static_cast<double>(lora.rank()),
                               .low = 1,
                               .high = kMaxRank},
                              {.field = "lora.alpha",
                               .value = lora.alpha(),
                               .low = kMinAlpha,
                               .high = kMaxAlpha}}));
  RETURN_IF_ERROR(CheckModules("lora.target_modules", lora.target_modules()));
  RETURN_IF_ERROR(
      CheckModules("lora.excluded_modules", lora.excluded_modules()));
  RETURN_IF_ERROR(CheckBlocks(lora));
  RETURN_IF_ERROR(
      CheckPatterns("lora.rank_pattern", lora.rank_pattern(), true));
  return CheckPatterns("lora.alpha_pattern", lora.alpha_pattern(), false);
}

void FillTraining(int64_t max_position_count, v1::TrainingOptions& training) {
  v1::TrainingOptions& t = training;
  if (t.epoch_count() == 0) t.set_epoch_count(kDefaultEpochs);
  if (t.learning_rate() == 0) t.set_learning_rate(kDefaultLearningRate);
  if (t.schedule() == v1::LEARNING_RATE_SCHEDULE_UNSPECIFIED) {
    t.set_schedule(v1::LEARNING_RATE_SCHEDULE_LINEAR);
  }
  if (t.micro_batch_size() == 0) t.set_micro_batch_size(kDefaultMicroBatch);
  if (t.accumulation_count() == 0) {
    t.set_accumulation_count(kDefaultAccumulation);
  }
  if (!t.has_beta1()) t.set_beta1(kDefaultBeta1);
  if (!t.has_beta2()) t.set_beta2(kDefaultBeta2);
  if (t.epsilon() == 0) t.set_epsilon(kDefaultEpsilon);
  if (!t.has_max_grad_norm()) t.set_max_grad_norm(kDefaultMaxGradNorm);
  if (t.max_length_tokens() == 0) {
    t.set_max_length_tokens(static_cast<int32_t>(
        std::min(kDefaultLengthTokens, max_position_count)));
  }
  if (!t.has_seed()) t.set_seed(kDefaultSeed);
}

absl::Status CheckNumbers(const v1::TrainingOptions& t,
                          int64_t max_position_count) {
  const auto real = [](auto value) { return static_cast<double>(value); };
  return CheckRules(
      {{"training.epoch_count", real(t.epoch_count()), 1, kMaxEpochs},
       {"training.max_step_count", real(t.max_step_count()), 0,
        kMaxTrainingSteps},
       {"training.learning_rate", t.learning_rate(), 0, kMaxReal, true},
       {"training.warmup_step_count", real(t.warmup_step_count()), 0,
        kMaxTrainingSteps},
       {"training.micro_batch_size", real(t.micro_batch_size()), 1, kMaxBatch},
       {"training.accumulation_count", real(t.accumulation_count()), 1,
        kMaxBatch},
       {"training.weight_decay", t.weight_decay(), 0, kMaxReal},
       {"training.beta1", t.beta1(), 0, 1, false, true},
       {"training.beta2", t.beta2(), 0, 1, false, true},
       {"training.epsilon", t.epsilon(), 0, kMaxReal, true},
       {"training.max_grad_norm", t.max_grad_norm(), 0, kMaxReal},
       {"training.max_length_tokens", real(t.max_length_tokens()), 2,
        real(max_position_count)},
       {"training.validation_fraction", t.validation_fraction(), 0, 0.5},
       {"training.validation_step_count", real(t.validation_step_count()), 0,
        kMaxTrainingSteps},
       {"training.early_stop_patience", real(t.early_stop_patience()), 0,
        kMaxEpochs}});
}

absl::Status CheckTraining(const v1::FineTuneSpec& spec,
                           int64_t max_position_count, FineTunePlan& plan) {
  v1::TrainingOptions& training = plan.training;
  training = spec.training();
  if (!v1::LearningRateSchedule_IsValid(training.schedule())) {
    return BadFineTuneField(
        "training.schedule",
        absl::StrCat(static_cast<int>(training.schedule()),
                     " names none: give linear, cosine or constant"));
  }
  FillTraining(max_position_count, training);
  RETURN_IF_ERROR(CheckNumbers(training, max_position_count));
  if (training.validation_fraction() > 0) return absl::OkStatus();
  constexpr absl::string_view kNoValidation =
      "needs documents that are not trained on: give a validation_fraction "
      "above 0";
  if (training.validation_step_count() > 0) {
    return BadFineTuneField("training.validation_step_count", kNoValidation);
  }
  if (training.early_stop_patience() > 0) {
    return BadFineTuneField("training.early_stop_patience", kNoValidation);
  }
  return absl::OkStatus();
}

absl::Status CheckCheckpoints(const v1::FineTuneSpec& spec,
                              FineTunePlan& plan) {
  v1::CheckpointOptions& options = plan.checkpoints;
  options = spec.checkpoints();
  if (options.step_count() == 0)
    options.set_step_count(kDefaultCheckpointSteps);
  if (options.keep_count() == 0) options.set_keep_count(kDefaultKept);
  return CheckRules(
      {{"checkpoints.step_count", static_cast<double>(options.step_count()), 1,
        kMaxTrainingSteps},
       {"checkpoints.keep_count", static_cast<double>(options.keep_count()), 1,
        kMaxKept}});
}

absl::Status CheckEvaluation(const v1::FineTuneSpec& spec, FineTunePlan& plan) {
  RETURN_IF_ERROR(CheckSize("evaluation_data", spec.evaluation_data().size(),
                            !spec.evaluation_data_artifact().empty()));
  RETURN_IF_ERROR(
      CheckFileName("evaluation_data_name", spec.evaluation_data_name()));
  plan.evaluation_step_count = spec.evaluation().step_count();
  RETURN_IF_ERROR(CheckRules({{"evaluation.step_count",
                               static_cast<double>(plan.evaluation_step_count),
                               0, kMaxTrainingSteps}}));
  const absl::StatusOr<v1::McqScoring> scoring =
      ResolveMcqScoring(spec.evaluation().scoring());
  RETURN_IF_ERROR(Annotate(scoring.status(), "fine_tune.evaluation"));
  plan.scoring = *scoring;
  if (!spec.evaluation_data().empty()) {
    ASSIGN_OR_RETURN(plan.questions,
                     ParseMcqData(spec.evaluation_data(),
                                  spec.evaluation_data_name().empty()
                                      ? "evaluation_data"
                                      : spec.evaluation_data_name()));
    return absl::OkStatus();
  }
  if (spec.evaluation().ByteSizeLong() == 0) return absl::OkStatus();
  return BadFineTuneField("evaluation",
                          "given without questions to ask: give "
                          "evaluation_data, or leave it out");
}

}  // namespace

absl::Status BadFineTuneField(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("fine_tune.", field, ": ", what));
}

std::string DataFileOf(const v1::FineTuneSpec& spec) {
  return spec.data_name().empty() ? "data" : spec.data_name();
}

std::string AdapterPartOf(absl::string_view adapter) {
  return std::string(adapter.substr(adapter.rfind('/') + 1));
}

absl::Status CheckFineTuneNames(const v1::FineTuneSpec& spec) {
  RETURN_IF_ERROR(CheckModelName(spec.model()));
  if (!spec.adapter().empty()) {
    RETURN_IF_ERROR(CheckAdapterName("adapter", spec.model(), spec.adapter()));
  }
  RETURN_IF_ERROR(
      CheckAdapterName("output_adapter", spec.model(), spec.output_adapter()));
  if (spec.output_adapter() == spec.adapter()) {
    return BadFineTuneField("output_adapter",
                            "is the adapter that training begins with, which "
                            "a resumed job needs unchanged: give another name");
  }
  if (!v1::Visibility_IsValid(spec.visibility())) {
    return BadFineTuneField("visibility",
                            absl::StrCat(static_cast<int>(spec.visibility()),
                                         " names none: give private or lab"));
  }
  return absl::OkStatus();
}

absl::StatusOr<FineTunePlan> CheckFineTune(const v1::FineTuneSpec& spec,
                                           int64_t max_position_count) {
  RETURN_IF_ERROR(CheckFineTuneNames(spec));
  RETURN_IF_ERROR(
      CheckSize("data", spec.data().size(), !spec.data_artifact().empty()));
  RETURN_IF_ERROR(CheckFileName("data_name", spec.data_name()));
  FineTunePlan plan;
  RETURN_IF_ERROR(CheckLora(spec, plan));
  RETURN_IF_ERROR(CheckTraining(spec, max_position_count, plan));
  RETURN_IF_ERROR(CheckCheckpoints(spec, plan));
  RETURN_IF_ERROR(CheckEvaluation(spec, plan));
  ASSIGN_OR_RETURN(
      plan.documents,
      ParseFineTuneDocuments(
          spec.data(),
          {.file = DataFileOf(spec),
           .assistant_only_loss = spec.training().assistant_only_loss()}));
  return plan;
}

}  // namespace dissonance
