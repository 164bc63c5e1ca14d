// Expected values computed with other libraries, as tests/goldens keeps them.
#ifndef DISSONANCE_TESTS_TESTING_COMPUTE_GOLDENS_H_
#define DISSONANCE_TESTS_TESTING_COMPUTE_GOLDENS_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "src/compute/engine/engine.h"
#include "src/compute/lora/adapter.h"
#include "src/compute/model/model.h"
#include "src/compute/tensor/safetensors.h"

namespace dissonance {

// One folder of tests/goldens with case.json and expected.safetensors.
struct GoldenCase {
  std::string directory;
  nlohmann::json config;
  std::shared_ptr<SafetensorsFile> expected;

  // An expected tensor in float64; fails the test if there is none.
  at::Tensor Tensor(const std::string& name) const;
};

// "models/llama" and so on. Fails the test if it can't be read.
GoldenCase ReadGolden(const std::string& name);

// The model of a golden folder, or a failed test. On the device that the
// environment's DISSONANCE_TEST_DEVICE names, else on the CPU; what the helpers
// below return is on the CPU.
std::shared_ptr<const Model> LoadGoldenModel(const std::string& directory,
                                             at::ScalarType dtype);

// Names under tests/goldens/DIRECTORY that begin with `prefix`, sorted.
std::vector<std::string> GoldenNames(const std::string& directory,
                                     const std::string& prefix = "");

// Largest absolute difference, in float64. Infinite for other shapes.
double MaxAbsDifference(const at::Tensor& a, const at::Tensor& b);

// What a whole-sequence pass gives for one sequence alone: logits [tokens,
// vocab].
at::Tensor LogitsOf(const Model& model, const std::vector<int32_t>& tokens,
                    const ForwardHooks& hooks = {});

// All that a generation gave.
struct GenerateResult {
  std::vector<int32_t> tokens;
  std::vector<double> logprobs;        // of the tokens
  std::vector<GeneratedToken> prompt;  // from the second on, if asked for
  std::vector<std::vector<std::pair<int32_t, double>>> top;  // of the tokens
  std::vector<int64_t> captured_positions;
  std::vector<std::vector<at::Tensor>> captured;  // by step, then place
  absl::StatusOr<FinishReason> end = absl::UnknownError("it has not ended");

  // What was captured at a place, [positions, ...].
  at::Tensor Captured(size_t place) const;
};

// A listener that collects into a result, which must live on.
std::shared_ptr<GenerateListener> CollectInto(GenerateResult& result);

// Runs an engine by hand until nothing is left, and returns the result.
ScoreResult ScoreNow(Engine& engine, const EngineVariant& variant,
                     const ScoreTask& task);
GenerateResult GenerateNow(Engine& engine, const EngineVariant& variant,
                           const GenerateTask& task);
// Runs an engine by hand until it has nothing to do.
void RunAll(Engine& engine);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_TESTING_COMPUTE_GOLDENS_H_
