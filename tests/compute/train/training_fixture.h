// Models, adapters and documents that tests of training share.
#ifndef DISSONANCE_TESTS_COMPUTE_TRAIN_TRAINING_FIXTURE_H_
#define DISSONANCE_TESTS_COMPUTE_TRAIN_TRAINING_FIXTURE_H_

#include <memory>
#include <string>
#include <vector>

#include "src/compute/lora/lora_parameters.h"
#include "src/compute/model/model.h"
#include "src/compute/train/trainer.h"
#include "src/compute/train/training_network.h"
#include "src/compute/train/training_options.h"

namespace dissonance {

// The base of a golden family.
std::shared_ptr<const Model> GoldenModel(const std::string& family,
                                         at::ScalarType dtype);

// An adapter of every projection, of rank 3, whose B is not 0 either.
LoraParameters RandomLora(const Model& model, double dropout = 0.0);
// As training begins.
LoraParameters FreshLora(const Model& model, double dropout = 0.0);

// Documents of random tokens, of these lengths, on lines 1, 2, ...
std::vector<TrainingDocument> RandomDocuments(
    const Model& model, const std::vector<int64_t>& lengths, uint64_t seed);

TrainingPack PackOf(const std::vector<TrainingDocument>& documents);

// Runs to the end and returns the reports of all steps.
std::vector<StepReport> TrainToEnd(Trainer& trainer);

// Bytes of all trained numbers.
std::string WeightBytes(const Trainer& trainer);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_COMPUTE_TRAIN_TRAINING_FIXTURE_H_
