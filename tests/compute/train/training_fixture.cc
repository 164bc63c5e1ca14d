#include "tests/compute/train/training_fixture.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <utility>

#include "src/base/mix.h"
#include "tests/testing/compute_goldens.h"
#include "tests/testing/random_tensor.h"

namespace dissonance {

std::shared_ptr<const Model> GoldenModel(const std::string& family,
                                         at::ScalarType dtype) {
  return LoadGoldenModel(ReadGolden("models/" + family).directory + "/model",
                         dtype);
}

LoraParameters FreshLora(const Model& model, double dropout) {
  PeftConfig config;
  config.all_linear = true;
  config.rank = 3;
  config.alpha = 6.0;
  config.dropout = dropout;
  absl::StatusOr<LoraParameters> lora =
      LoraParameters::Init(config, model, /*seed=*/7);
  EXPECT_TRUE(lora.ok()) << lora.status();
  return *std::move(lora);
}

LoraParameters RandomLora(const Model& model, double dropout) {
  LoraParameters lora = FreshLora(model, dropout);
  at::Tensor flat = lora.flat();
  flat.add_(RandomTensor({flat.size(0)}, at::kDouble, 11)
                .mul_(0.05)
                .to(flat.options()));
  return lora;
}

std::vector<TrainingDocument> RandomDocuments(
    const Model& model, const std::vector<int64_t>& lengths, uint64_t seed) {
  std::vector<TrainingDocument> documents;
  for (const int64_t length : lengths) {
    TrainingDocument& document = documents.emplace_back();
    document.line = static_cast<int64_t>(documents.size());
    for (int64_t i = 0; i < length; ++i) {
      seed = Mix(seed);
      document.tokens.push_back(static_cast<int32_t>(
          seed % static_cast<uint64_t>(model.spec().vocab_size)));
    }
  }
  return documents;
}

TrainingPack PackOf(const std::vector<TrainingDocument>& documents) {
  TrainingPack pack;
  for (const TrainingDocument& document : documents) {
    pack.documents.push_back(&document);
    pack.dropout_keys.push_back(Mix(static_cast<uint64_t>(document.line)));
  }
  return pack;
}

std::vector<StepReport> TrainToEnd(Trainer& trainer) {
  std::vector<StepReport> reports;
  while (true) {
    const absl::StatusOr<TrainingPiece> piece = trainer.RunPiece();
    EXPECT_TRUE(piece.ok()) << piece.status();
    if (!piece.ok()) return reports;
    if (piece->step.has_value()) reports.push_back(*piece->step);
    if (piece->finished) return reports;
  }
}

std::string WeightBytes(const Trainer& trainer) {
  const at::Tensor flat = trainer.lora().flat().cpu().contiguous();
  return {static_cast<const char*>(flat.const_data_ptr()),
          static_cast<size_t>(flat.nbytes())};
}

}  // namespace dissonance
