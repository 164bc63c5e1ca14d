// The file that a training goes on from. Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_TRAIN_TRAINING_STATE_H_
#define DISSONANCE_COMPUTE_TRAIN_TRAINING_STATE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "src/compute/tensor/safetensors.h"

namespace dissonance {

// Tensors of the file, all laid out like LoraParameters::flat().
inline constexpr absl::string_view kParametersName = "parameters";
inline constexpr absl::string_view kFirstMomentsName = "first_moments";
inline constexpr absl::string_view kSecondMomentsName = "second_moments";
inline constexpr absl::string_view kBestName = "best_parameters";

// Where a training is. Order, dropout and learning rate follow from the step.
struct TrainingPosition {
  int64_t step = 0;            // whole steps done
  int64_t validated_step = 0;  // after which the last validation took place
  double best_loss = std::numeric_limits<double>::infinity();
  int64_t best_step = 0;
  int64_t fruitless_count = 0;  // validations since then
};

// `digest` says what training it is of.
SafetensorsMetadata StateMetadata(const TrainingPosition& position,
                                  absl::string_view digest);

// FAILED_PRECONDITION if the file is of another training; INVALID_ARGUMENT if
// its metadata is not what StateMetadata writes, or a step is beyond
// `step_count`.
absl::StatusOr<TrainingPosition> ReadStatePosition(const SafetensorsFile& file,
                                                   absl::string_view digest,
                                                   int64_t step_count);

// Copies tensors of the file into those given. INVALID_ARGUMENT, and nothing
// is copied, if one is missing, has another shape or type, or is not finite.
absl::Status ReadStateTensors(
    const SafetensorsFile& file,
    const std::vector<std::pair<absl::string_view, at::Tensor>>& into);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_TRAINING_STATE_H_
