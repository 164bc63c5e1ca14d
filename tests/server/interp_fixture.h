// A server with the golden Llama and the tiny world, and what its streams
// answered, collected.
#ifndef DISSONANCE_TESTS_SERVER_INTERP_FIXTURE_H_
#define DISSONANCE_TESTS_SERVER_INTERP_FIXTURE_H_

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/interpretability.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "tests/server/server_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {

inline constexpr char kLlama[] = "models/llama";

class InterpFixture : public ::testing::Test {
 protected:
  using json = nlohmann::json;

  static void SetUpTestSuite();
  static void TearDownTestSuite();

  static json Parse(const std::string& path);

  // All messages of a stream, which must end as `status` says.
  template <typename Service, typename Request, typename Response>
  static grpc::Status Read(std::unique_ptr<grpc::ClientReader<Response>> (
                               Service::Stub::*method)(grpc::ClientContext*,
                                                       const Request&),
                           const Request& request,
                           std::vector<Response>& responses) {
    const auto stub = server_->NewStub<Service>();
    auto context = server_->NewContext();
    const auto reader = ((*stub).*method)(context.get(), request);
    for (Response response; reader->Read(&response);) {
      responses.push_back(response);
    }
    return reader->Finish();
  }

  struct Sample {
    std::vector<int32_t> tokens;
    std::vector<double> logprobs;
    std::string text;
    v1::GenerateEnd end;
  };
  struct Generated {
    // By variant, input, sample.
    std::map<std::tuple<int, int, int>, Sample> samples;
    std::map<std::pair<int, int>, v1::GeneratePrompt> prompts;
    v1::GenerateSummary summary;
    grpc::Status status;
  };

  static Generated Generate(const v1::GenerateRequest& request);

  static v1::Input Tokens(const std::vector<int32_t>& ids);
  static v1::GenerateRequest TinyRequest(const std::string& text, int count);

  static std::vector<float> Floats(const v1::Tensor& tensor);

  struct Activations {
    std::vector<std::string> cursors;
    std::vector<v1::RowLabel> labels;
    std::map<std::string, std::vector<float>> values;  // by "variant.place"
    v1::ActivationSummary summary;
    grpc::Status status;
  };
  static Activations Stream(const v1::StreamActivationsRequest& request);

  // Removes the answers that the server has kept.
  static void ForgetKept();

  static inline TempFolder* folder_ = nullptr;
  static inline ServerProcess* server_ = nullptr;
  static inline json golden_;
  static inline json steering_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_INTERP_FIXTURE_H_
