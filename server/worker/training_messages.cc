#include "server/worker/training_messages.h"

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr int64_t kMaxTokens = 1 << 20;
constexpr double kMaxRank = 65536;

struct Range {
  absl::string_view field;
  double value;
  double low;
  double high;
};

// Not a number is in no range.
absl::Status Check(const Range& range) {
  if (range.value >= range.low && range.value <= range.high) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(range.field, ": ", range.value,
                                                 " is not from ", range.low,
                                                 " to ", range.high));
}

absl::StatusOr<RateSchedule> ScheduleOf(v1::LearningRateSchedule schedule) {
  switch (schedule) {
    case v1::LEARNING_RATE_SCHEDULE_UNSPECIFIED:
    case v1::LEARNING_RATE_SCHEDULE_LINEAR:
      return RateSchedule::kLinear;
    case v1::LEARNING_RATE_SCHEDULE_COSINE:
      return RateSchedule::kCosine;
    case v1::LEARNING_RATE_SCHEDULE_CONSTANT:
      return RateSchedule::kConstant;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("training.schedule: ", static_cast<int>(schedule),
                       " is none of linear, cosine and constant"));
  }
}

double Number(int64_t value) { return static_cast<double>(value); }

// The field's value, or the default where it is 0.
template <typename T, typename D>
void Set(T value, D& option) {
  if (value != 0) option = static_cast<D>(value);
}

}  // namespace

absl::StatusOr<TrainingOptions> TrainingOptionsOf(
    const v1::TrainingOptions& message) {
  TrainingOptions out;
  Set(message.epoch_count(), out.epoch_count);
  Set(message.max_step_count(), out.max_step_count);
  Set(message.learning_rate(), out.learning_rate);
  ASSIGN_OR_RETURN(out.schedule, ScheduleOf(message.schedule()));
  Set(message.warmup_step_count(), out.warmup_step_count);
  Set(message.micro_batch_size(), out.micro_batch_size);
  Set(message.accumulation_count(), out.accumulation_count);
  Set(message.weight_decay(), out.weight_decay);
  if (message.has_beta1()) out.beta1 = message.beta1();
  if (message.has_beta2()) out.beta2 = message.beta2();
  Set(message.epsilon(), out.epsilon);
  if (message.has_max_grad_norm()) out.max_grad_norm = message.max_grad_norm();
  if (message.has_seed()) out.seed = message.seed();
  out.activation_checkpointing = message.activation_checkpointing();
  Set(message.validation_step_count(), out.validation_step_count);
  Set(message.early_stop_patience(), out.early_stop_patience);
  return out;
}

absl::StatusOr<PeftConfig> PeftConfigOf(const v1::LoraOptions& message) {
  PeftConfig out;
  out.rank = message.rank() == 0 ? 64 : message.rank();
  out.alpha = message.alpha() == 0 ? 2 * Number(out.rank) : message.alpha();
  out.dropout = message.has_dropout() ? message.dropout() : 0.05;
  out.rank_stabilized = message.rank_stabilized();
  if (message.target_modules_size() == 1 &&
      message.target_modules(0) == "all-linear") {
    out.all_linear = true;
  } else {
    out.target_modules.assign(message.target_modules().begin(),
                              message.target_modules().end());
  }
  out.excluded_modules.assign(message.excluded_modules().begin(),
                              message.excluded_modules().end());
  out.layers.assign(message.blocks().begin(), message.blocks().end());
  RETURN_IF_ERROR(Check({"lora.rank", Number(out.rank), 1, kMaxRank}));
  RETURN_IF_ERROR(Check({"lora.alpha", out.alpha, 1e-6, 1e9}));
  RETURN_IF_ERROR(Check({"lora.dropout", out.dropout, 0, 0.999}));
  for (const v1::ModulePattern& own : message.rank_pattern()) {
    RETURN_IF_ERROR(Check({"lora.rank_pattern", own.value(), 1, kMaxRank}));
    const auto rank = static_cast<int64_t>(own.value());
    if (Number(rank) != own.value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("lora.rank_pattern: ", own.value(), " for \"",
                       own.pattern(), "\" is not a whole number"));
    }
    out.rank_pattern.emplace_back(own.pattern(), rank);
  }
  for (const v1::ModulePattern& own : message.alpha_pattern()) {
    RETURN_IF_ERROR(Check({"lora.alpha_pattern", own.value(), 1e-6, 1e9}));
    out.alpha_pattern.emplace_back(own.pattern(), own.value());
  }
  return out;
}

absl::StatusOr<int64_t> MaxTokensOf(const v1::TrainingOptions& message) {
  int64_t most = 2048;
  Set(message.max_length_tokens(), most);
  RETURN_IF_ERROR(
      Check({"training.max_length_tokens", Number(most), 2, kMaxTokens}));
  return most;
}

absl::StatusOr<double> HeldOutShareOf(const v1::TrainingOptions& message) {
  RETURN_IF_ERROR(Check(
      {"training.validation_fraction", message.validation_fraction(), 0, 0.5}));
  return message.validation_fraction();
}

absl::Status CheckKeptLora(const v1::LoraOptions& message) {
  v1::LoraOptions rest = message;
  rest.clear_dropout();
  if (rest.ByteSizeLong() == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "lora: only dropout may be set beside an adapter to go on from, whose "
      "modules and ranks stay; leave the others out");
}

internal::v1::TrainingStep StepMessage(const StepReport& report) {
  internal::v1::TrainingStep out;
  out.set_step(report.step);
  out.set_epoch(report.epoch);
  out.set_loss(report.loss);
  out.set_learning_rate(report.learning_rate);
  out.set_grad_norm(report.grad_norm);
  out.set_token_count(report.token_count);
  out.set_target_count(report.target_count);
  return out;
}

internal::v1::TrainingValidation ValidationMessage(
    const ValidationReport& report) {
  internal::v1::TrainingValidation out;
  out.set_step(report.step);
  out.set_loss(report.loss);
  out.set_best(report.best);
  return out;
}

}  // namespace dissonance
