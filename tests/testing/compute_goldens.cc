#include "tests/testing/compute_goldens.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "src/compute/tensor/dtype.h"

namespace dissonance {
namespace {

const std::string& GoldenRoot() {
  static const auto* root =
      new std::string(std::string(DISSONANCE_SOURCE_DIR) + "/tests/goldens");
  return *root;
}

// DISSONANCE_TEST_DEVICE, e.g. cuda:0; the CPU without it.
at::Device TestDevice() {
  static const at::Device device = [] {
    const char* name = std::getenv("DISSONANCE_TEST_DEVICE");
    if (name == nullptr) return at::Device(at::kCPU);
    const absl::StatusOr<at::Device> parsed = ParseDevice(name);
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    if (!parsed.ok() || !parsed->is_cuda()) return at::Device(at::kCPU);
    const absl::Status opened = OpenCudaLibraries();
    EXPECT_TRUE(opened.ok()) << opened;
    return *parsed;
  }();
  return device;
}

class Collector final : public GenerateListener {
 public:
  explicit Collector(GenerateResult& result) : result_(result) {}
  void OnPromptToken(GeneratedToken token) override {
    result_.prompt.push_back(std::move(token));
  }
  bool OnToken(GeneratedToken token) override {
    result_.tokens.push_back(token.token);
    result_.logprobs.push_back(token.logprob);
    result_.top.push_back(std::move(token.top));
    return true;
  }
  void OnCaptured(CapturedRows rows) override {
    absl::c_move(rows.positions,
                 std::back_inserter(result_.captured_positions));
    for (at::Tensor& rows_of_place : rows.values) {
      rows_of_place = rows_of_place.to(at::kCPU);
    }
    result_.captured.push_back(std::move(rows.values));
  }
  void OnEnd(absl::StatusOr<FinishReason> reason) override {
    EXPECT_TRUE(absl::IsUnknown(result_.end.status())) << "ended twice";
    result_.end = std::move(reason);
  }

 private:
  GenerateResult& result_;
};

}  // namespace

at::Tensor GoldenCase::Tensor(const std::string& name) const {
  absl::StatusOr<at::Tensor> tensor = expected->Load(name);
  EXPECT_TRUE(tensor.ok()) << directory << ": " << tensor.status();
  return tensor.ok() ? tensor->to(at::kDouble) : at::Tensor();
}

GoldenCase ReadGolden(const std::string& name) {
  GoldenCase golden;
  golden.directory = absl::StrCat(GoldenRoot(), "/", name);
  std::ifstream file(golden.directory + "/case.json");
  EXPECT_TRUE(file.good()) << golden.directory;
  golden.config = nlohmann::json::parse(file);
  const std::string expected = golden.directory + "/expected.safetensors";
  if (std::filesystem::exists(expected)) {
    auto opened = SafetensorsFile::Open(expected);
    EXPECT_TRUE(opened.ok()) << opened.status();
    golden.expected = *opened;
  }
  return golden;
}

std::shared_ptr<const Model> LoadGoldenModel(const std::string& directory,
                                             at::ScalarType dtype) {
  auto model = Model::Load(directory, {.dtype = dtype, .device = TestDevice()});
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : nullptr;
}

std::vector<std::string> GoldenNames(const std::string& directory,
                                     const std::string& prefix) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(
           absl::StrCat(GoldenRoot(), "/", directory))) {
    const std::string name = entry.path().filename();
    if (absl::StartsWith(name, prefix)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

double MaxAbsDifference(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
  if (a.numel() == 0) return 0.0;
  return (a.to(at::kCPU, at::kDouble) - b.to(at::kCPU, at::kDouble))
      .abs()
      .max()
      .item<double>();
}

at::Tensor LogitsOf(const Model& model, const std::vector<int32_t>& tokens,
                    const ForwardHooks& hooks) {
  TokenBatch batch;
  batch.token_ids.assign(tokens.begin(), tokens.end());
  batch.positions.resize(tokens.size());
  std::iota(batch.positions.begin(), batch.positions.end(), 0);
  batch.prefill_rows = batch.row_count();
  batch.segments.emplace_back().linear_count = batch.row_count();
  const at::Tensor hidden =
      model.decoder().Forward(batch, batch.positions, hooks);
  return model.decoder()
      .Unembed(hidden, {.prefill = hidden.size(0)})
      .to(at::kCPU);
}

ScoreResult ScoreNow(Engine& engine, const EngineVariant& variant,
                     const ScoreTask& task) {
  ScoreResult out;
  const auto submitted = engine.SubmitScore(
      variant, task, [&out](absl::StatusOr<ScoreResult> result) {
        EXPECT_TRUE(result.ok()) << result.status();
        if (result.ok()) out = *std::move(result);
      });
  EXPECT_TRUE(submitted.ok()) << submitted.status();
  RunAll(engine);
  return out;
}

at::Tensor GenerateResult::Captured(size_t place) const {
  std::vector<at::Tensor> rows;
  for (const std::vector<at::Tensor>& step : captured) {
    rows.push_back(step[place]);
  }
  return at::cat(rows);
}

std::shared_ptr<GenerateListener> CollectInto(GenerateResult& result) {
  return std::make_shared<Collector>(result);
}

GenerateResult GenerateNow(Engine& engine, const EngineVariant& variant,
                           const GenerateTask& task) {
  GenerateResult out;
  const auto submitted = engine.SubmitGenerate(variant, task, CollectInto(out));
  EXPECT_TRUE(submitted.ok()) << submitted.status();
  RunAll(engine);
  EXPECT_TRUE(out.end.ok()) << out.end.status();
  return out;
}

void RunAll(Engine& engine) {
  while (engine.Step()) {
  }
}

}  // namespace dissonance
