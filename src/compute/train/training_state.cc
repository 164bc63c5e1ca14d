#include "src/compute/train/training_state.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr char kDigest[] = "training_digest";
constexpr char kStep[] = "step";
constexpr char kValidatedStep[] = "validated_step";
constexpr char kBestLoss[] = "best_loss";
constexpr char kBestStep[] = "best_step";
constexpr char kFruitlessCount[] = "fruitless_count";

absl::Status Damaged(const SafetensorsFile& file, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(file.path(), ": ", what,
                   "; it is not a checkpoint of a training, or damaged"));
}

template <typename T>
absl::Status ReadNumber(const SafetensorsFile& file, const char* key,
                        bool (*parse)(absl::string_view, T*), T& into) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end() || !parse(found->second, &into)) {
    return Damaged(file, absl::StrCat("metadata \"", key, "\" is no number"));
  }
  return absl::OkStatus();
}

}  // namespace

SafetensorsMetadata StateMetadata(const TrainingPosition& position,
                                  absl::string_view digest) {
  return {{kDigest, std::string(digest)},
          {kStep, absl::StrCat(position.step)},
          {kValidatedStep, absl::StrCat(position.validated_step)},
          // Enough digits to be read back as the same number.
          {kBestLoss, absl::StrFormat("%.17g", position.best_loss)},
          {kBestStep, absl::StrCat(position.best_step)},
          {kFruitlessCount, absl::StrCat(position.fruitless_count)}};
}

absl::StatusOr<TrainingPosition> ReadStatePosition(const SafetensorsFile& file,
                                                   absl::string_view digest,
                                                   int64_t step_count) {
  const auto found = file.metadata().find(kDigest);
  if (found == file.metadata().end()) {
    return Damaged(file, "it has no training_digest");
  }
  if (found->second != digest) {
    return absl::FailedPreconditionError(absl::StrCat(
        file.path(), ": the checkpoint is of another training (", found->second,
        "); documents, options, base and first weights of this one are ",
        digest));
  }
  const auto integer = &absl::SimpleAtoi<int64_t>;
  TrainingPosition position;
  RETURN_IF_ERROR(ReadNumber<int64_t>(file, kStep, integer, position.step));
  RETURN_IF_ERROR(ReadNumber<int64_t>(file, kValidatedStep, integer,
                                      position.validated_step));
  RETURN_IF_ERROR(ReadNumber<double>(file, kBestLoss, &absl::SimpleAtod,
                                     position.best_loss));
  RETURN_IF_ERROR(
      ReadNumber<int64_t>(file, kBestStep, integer, position.best_step));
  RETURN_IF_ERROR(ReadNumber<int64_t>(file, kFruitlessCount, integer,
                                      position.fruitless_count));
  if (position.step < 0 || position.step > step_count) {
    return Damaged(file,
                   absl::StrCat("step ", position.step, " of ", step_count));
  }
  return position;
}

absl::Status ReadStateTensors(
    const SafetensorsFile& file,
    const std::vector<std::pair<absl::string_view, at::Tensor>>& into) {
  std::vector<at::Tensor> read;
  for (const auto& [name, like] : into) {
    ASSIGN_OR_RETURN(const at::Tensor& tensor, file.Load(name));
    if (tensor.sizes() != like.sizes() ||
        tensor.scalar_type() != like.scalar_type()) {
      return Damaged(file, absl::StrCat("tensor \"", name,
                                        "\" has another shape or type"));
    }
    if (!tensor.isfinite().all().item<bool>()) {
      return Damaged(file,
                     absl::StrCat("tensor \"", name, "\" holds NaN or Inf"));
    }
    read.push_back(tensor);
  }
  for (size_t i = 0; i < into.size(); ++i) {
    at::Tensor to = into[i].second;
    to.copy_(read[i]);
  }
  return absl::OkStatus();
}

}  // namespace dissonance
