#include "tests/server/interp_fixture.h"

#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "src/base/file.h"

namespace dissonance {

void InterpFixture::SetUpTestSuite() {
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

void InterpFixture::TearDownTestSuite() {
  EXPECT_EQ(server_->Stop(), 0);
  delete server_;
  delete folder_;
}

InterpFixture::json InterpFixture::Parse(const std::string& path) {
  return json::parse(*ReadFile(InTree(path), 1 << 24));
}

InterpFixture::Generated InterpFixture::Generate(
    const v1::GenerateRequest& request) {
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

v1::Input InterpFixture::Tokens(const std::vector<int32_t>& ids) {
  v1::Input input;
  input.mutable_tokens()->mutable_ids()->Assign(ids.begin(), ids.end());
  return input;
}

v1::GenerateRequest InterpFixture::TinyRequest(const std::string& text,
                                               int count) {
  v1::GenerateRequest request;
  request.add_variants()->set_model(kTinyModel);
  request.add_inputs()->set_text(text);
  request.mutable_options()->set_max_new_token_count(count);
  return request;
}

std::vector<float> InterpFixture::Floats(const v1::Tensor& tensor) {
  EXPECT_EQ(tensor.dtype(), v1::DTYPE_FLOAT32);
  std::vector<float> values(tensor.data().size() / sizeof(float));
  std::memcpy(values.data(), tensor.data().data(), tensor.data().size());
  return values;
}

InterpFixture::Activations InterpFixture::Stream(
    const v1::StreamActivationsRequest& request) {
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

void InterpFixture::ForgetKept() {
  for (const auto& file :
       std::filesystem::directory_iterator(folder_->File("activations"))) {
    std::filesystem::remove(file);
  }
}

}  // namespace dissonance
