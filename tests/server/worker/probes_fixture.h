// The worker's services in one process with the tiny world, behind a real
// connection, and what its probes, directions and meters are asked.
#ifndef DISSONANCE_TESTS_SERVER_WORKER_PROBES_FIXTURE_H_
#define DISSONANCE_TESTS_SERVER_WORKER_PROBES_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/interpretability.grpc.pb.h"
#include "dissonance/v1/probes.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/server.h"
#include "server/worker/inference_service.h"
#include "server/worker/interpretability_service.h"
#include "server/worker/probes_service.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {

inline constexpr char kModel[] = "models/m";
inline constexpr char kExactModel[] = "models/exact";  // in float64
inline constexpr char kAdapter[] = "models/m/adapters/a";
inline constexpr int64_t kBudget = int64_t{1} << 30;
inline constexpr int kInputs = 24;
inline constexpr int kWidth = 128;

class ProbesFixture : public testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();
  // Whatever a test did, its memory has come back.
  void TearDown() override;

  static v1::Input Prompt(int i);

  static v1::Tensor Vector(const std::vector<float>& numbers);
  // Of a vector that belongs to `seed`.
  static v1::Meter MeterAt(v1::Site site, int block, int seed);

  struct Sample {
    std::vector<int32_t> tokens;
    std::vector<double> logprobs;
    std::string text;
    std::vector<v1::MeterReading> readings;
    std::vector<int32_t> prompt;
    std::vector<v1::MeterReading> prompt_readings;
    v1::GenerateEnd end;
  };
  // The samples of one input by one variant; the call has to end well.
  static std::vector<Sample> Generate(const v1::GenerateRequest& request);
  static v1::GenerateRequest Continue(int tokens);

  struct Parts {
    TempFolder folder;
    ModelRegistry registry{at::kCPU};
    Engine engine{{}};
    TrainingBudget budget{kBudget, [] { return std::nullopt; }};
    ProbesService probes{registry, engine, {}, budget};
    InferenceService inference{registry, engine, {}};
    InterpretabilityService interpretability{registry, engine, {}, nullptr};
    std::unique_ptr<grpc::Server> server;
    std::shared_ptr<grpc::Channel> channel;
  };
  static inline Parts* parts_ = nullptr;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_WORKER_PROBES_FIXTURE_H_
