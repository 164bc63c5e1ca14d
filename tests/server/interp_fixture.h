// A server with the golden Llama and the tiny world, and what its streams
// answered, collected.
#ifndef DISSONANCE_TESTS_SERVER_INTERP_FIXTURE_H_
#define DISSONANCE_TESTS_SERVER_INTERP_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/interpretability.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {

inline constexpr char kLlama[] = "models/llama";

class InterpFixture : public ::testing::Test {
 protected:
  using json = nlohmann::json;

  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    server_ = new ServerProcess({.data_dir = folder_->path()});
    ASSERT_TRUE(server_->AwaitServing());
    ASSERT_TRUE(
        LoadModel(*server_, kLlama, InTree("tests/goldens/models/llama/model"))
            .ok());
    ASSERT_TRUE(LoadTinyWorld(*server_).ok());
    golden_ = Parse("tests/goldens/models/llama/case.json");
    steering_ = Parse("tests/goldens/steering/case.json");
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(server_->Stop(), 0);
    delete server_;
    delete folder_;
  }

  static json Parse(const std::string& path) {
    return json::parse(*ReadFile(InTree(path), 1 << 24));
  }

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

  static Generated Generate(const v1::GenerateRequest& request) {
    Generated out;
    std::vector<v1::GenerateResponse> events;
    out.status =
        Read<v1::Inference>(&v1::Inference::Stub::Generate, request, events);
    for (const v1::GenerateResponse& event : events) {
      Sample& sample = out.samples[{event.variant_index(), event.input_index(),
                                    event.sample_index()}];
      if (event.has_prompt()) {
        out.prompts[{event.variant_index(), event.input_index()}] =
            event.prompt();
      }
      for (const v1::GeneratedToken& token : event.delta().tokens()) {
        sample.tokens.push_back(token.token_id());
        sample.logprobs.push_back(token.logprob());
      }
      sample.text += event.delta().text();
      if (event.has_end()) {
        sample.end = event.end();
        sample.text += event.end().text();
      }
      if (event.has_summary()) out.summary = event.summary();
    }
    return out;
  }

  static v1::Input Tokens(const std::vector<int32_t>& ids) {
    v1::Input input;
    input.mutable_tokens()->mutable_ids()->Assign(ids.begin(), ids.end());
    return input;
  }
  static v1::GenerateRequest TinyRequest(const std::string& text, int count) {
    v1::GenerateRequest request;
    request.add_variants()->set_model(kTinyModel);
    request.add_inputs()->set_text(text);
    request.mutable_options()->set_max_new_token_count(count);
    return request;
  }

  static std::vector<float> Floats(const v1::Tensor& tensor) {
    EXPECT_EQ(tensor.dtype(), v1::DTYPE_FLOAT32);
    std::vector<float> values(tensor.data().size() / sizeof(float));
    std::memcpy(values.data(), tensor.data().data(), tensor.data().size());
    return values;
  }

  struct Activations {
    std::vector<std::string> cursors;
    std::vector<v1::RowLabel> labels;
    std::map<std::string, std::vector<float>> values;  // by "variant.place"
    v1::ActivationSummary summary;
    grpc::Status status;
  };
  static Activations Stream(const v1::StreamActivationsRequest& request) {
    Activations out;
    std::vector<v1::StreamActivationsResponse> responses;
    out.status = Read<v1::Interpretability>(
        &v1::Interpretability::Stub::StreamActivations, request, responses);
    int variant = 0;
    for (const v1::StreamActivationsResponse& response : responses) {
      if (!response.cursor().empty()) out.cursors.push_back(response.cursor());
      if (response.has_rows()) {
        variant = response.rows().variant_index();
        out.labels.insert(out.labels.end(), response.rows().rows().begin(),
                          response.rows().rows().end());
      }
      if (response.has_chunk()) {
        const v1::ActivationChunk& chunk = response.chunk();
        std::vector<float>& values = out.values[absl::StrCat(
            variant, ".", v1::Site_Name(chunk.place().site()), ".",
            chunk.place().block())];
        const std::vector<float> own = Floats(chunk.tensor());
        values.insert(values.end(), own.begin(), own.end());
      }
      if (response.has_summary()) out.summary = response.summary();
    }
    return out;
  }

  // Removes the answers that the server has kept.
  static void ForgetKept() {
    for (const auto& file :
         std::filesystem::directory_iterator(folder_->File("activations"))) {
      std::filesystem::remove(file);
    }
  }

  static inline TempFolder* folder_ = nullptr;
  static inline ServerProcess* server_ = nullptr;
  static inline json golden_;
  static inline json steering_;
};
}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_INTERP_FIXTURE_H_
