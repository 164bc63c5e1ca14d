#include "src/compute/train/training_checks.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/dtype.h"

namespace dissonance {
namespace {

absl::Status Check(bool ok, absl::string_view option, absl::string_view range,
                   double found) {
  if (ok) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      option, ": expected ", range, ", found ", absl::StrFormat("%g", found)));
}

absl::Status CheckCount(int64_t value, int64_t least,
                        absl::string_view option) {
  return Check(value >= least, option, absl::StrCat("at least ", least),
               static_cast<double>(value));
}

absl::Status CheckBeta(double value, absl::string_view option) {
  return Check(value >= 0 && value < 1, option, "0 to below 1", value);
}

absl::Status CheckAtLeastZero(double value, absl::string_view option) {
  return Check(std::isfinite(value) && value >= 0, option, "at least 0", value);
}

absl::Status CheckDocument(const Model& model,
                           const TrainingDocument& document) {
  const auto error = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("document of line ", document.line, ": ", what));
  };
  const auto count = static_cast<int64_t>(document.tokens.size());
  if (count > model.spec().max_positions) {
    return error(absl::StrCat(count, " tokens; the model's positions end at ",
                              model.spec().max_positions,
                              ", so set max_length_tokens to that"));
  }
  if (!document.is_target.empty() &&
      document.is_target.size() != document.tokens.size()) {
    return error("as many targets as tokens were expected");
  }
  if (document.target_count() == 0) {
    return error("it has no token to predict");
  }
  for (const int32_t token : document.tokens) {
    if (token < 0 || token >= model.spec().vocab_size) {
      return error(absl::StrCat("token id ", token,
                                " is not in the vocabulary of ",
                                model.spec().vocab_size, " tokens"));
    }
  }
  return absl::OkStatus();
}

template <typename T>
absl::string_view BytesOf(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()),
          values.size() * sizeof(T)};
}

void AddDocuments(const std::vector<TrainingDocument>& documents,
                  Sha256& digest) {
  digest.UpdateFramed(absl::StrCat(documents.size()));
  for (const TrainingDocument& document : documents) {
    digest.UpdateFramed(BytesOf(document.tokens));
    std::string targets;
    for (const bool is_target : document.is_target) {
      targets.push_back(is_target ? '1' : '0');
    }
    digest.UpdateFramed(targets);
  }
}

std::string OptionsText(const TrainingOptions& o) {
  std::string text = absl::StrFormat(
      "%d %d %a %d %d %d %d %d %a %a %a %a %a %d %d %d", o.epoch_count,
      o.max_step_count, o.learning_rate, static_cast<int>(o.schedule),
      o.warmup_step_count, o.micro_batch_size, o.accumulation_count,
      static_cast<int>(o.loss_average), o.weight_decay, o.beta1, o.beta2,
      o.epsilon, o.max_grad_norm, o.seed, o.validation_step_count,
      o.early_stop_patience);
  for (const auto& step : o.fixed_batches) {
    for (const auto& micro_batch : step) {
      absl::StrAppend(&text, ";", BytesOf(micro_batch));
    }
    absl::StrAppend(&text, "|");
  }
  return text;
}

}  // namespace

absl::Status CheckTrainingOptions(const TrainingOptions& o) {
  RETURN_IF_ERROR(CheckCount(o.epoch_count, 1, "epoch_count"));
  RETURN_IF_ERROR(CheckCount(o.max_step_count, 0, "max_step_count"));
  RETURN_IF_ERROR(Check(std::isfinite(o.learning_rate) && o.learning_rate > 0,
                        "learning_rate", "a number above 0", o.learning_rate));
  RETURN_IF_ERROR(CheckCount(o.warmup_step_count, 0, "warmup_step_count"));
  RETURN_IF_ERROR(CheckCount(o.micro_batch_size, 1, "micro_batch_size"));
  RETURN_IF_ERROR(CheckCount(o.accumulation_count, 1, "accumulation_count"));
  RETURN_IF_ERROR(CheckAtLeastZero(o.weight_decay, "weight_decay"));
  RETURN_IF_ERROR(CheckBeta(o.beta1, "beta1"));
  RETURN_IF_ERROR(CheckBeta(o.beta2, "beta2"));
  RETURN_IF_ERROR(Check(std::isfinite(o.epsilon) && o.epsilon > 0, "epsilon",
                        "a number above 0", o.epsilon));
  RETURN_IF_ERROR(CheckAtLeastZero(o.max_grad_norm, "max_grad_norm"));
  RETURN_IF_ERROR(
      CheckCount(o.validation_step_count, 0, "validation_step_count"));
  return CheckCount(o.early_stop_patience, 0, "early_stop_patience");
}

absl::Status CheckTrainingDocuments(
    const Model& model, const std::vector<TrainingDocument>& documents) {
  if (documents.empty()) {
    return absl::InvalidArgumentError("there are no documents to train on");
  }
  for (const TrainingDocument& document : documents) {
    RETURN_IF_ERROR(CheckDocument(model, document));
  }
  return absl::OkStatus();
}

std::string TrainingDigest(const Model& model, const LoraParameters& lora,
                           const std::vector<TrainingDocument>& documents,
                           const std::vector<TrainingDocument>& validation,
                           const TrainingOptions& options) {
  Sha256 digest;
  digest.UpdateFramed(model.digest());
  digest.UpdateFramed(c10::toString(model.dtype()));
  digest.UpdateFramed(PeftConfigJson(lora.config(), model.spec(), ""));
  const at::Tensor flat = lora.flat().to(at::kCPU).contiguous();
  digest.UpdateFramed({static_cast<const char*>(flat.const_data_ptr()),
                       static_cast<size_t>(flat.nbytes())});
  AddDocuments(documents, digest);
  AddDocuments(validation, digest);
  digest.UpdateFramed(OptionsText(options));
  return digest.Finish();
}

}  // namespace dissonance
