#include "tests/server/worker/probes_fixture.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/server_builder.h"

namespace dissonance {

void ProbesFixture::SetUpTestSuite() {
  parts_ = new Parts;
  const std::string world = DISSONANCE_SOURCE_DIR "/data/tiny_world";
  ASSERT_TRUE(
      parts_->registry.LoadModel(kModel, world + "/base", at::kFloat).ok());
  ASSERT_TRUE(
      parts_->registry.LoadModel(kExactModel, world + "/base", at::kDouble)
          .ok());
  ASSERT_TRUE(
      parts_->registry.RegisterAdapter(kAdapter, world + "/lora_cubic").ok());
  parts_->engine.Start();
  const std::string address = absl::StrCat("unix:", parts_->folder.File("s"));
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&parts_->probes);
  builder.RegisterService(&parts_->inference);
  builder.RegisterService(&parts_->interpretability);
  parts_->server = builder.BuildAndStart();
  ASSERT_NE(parts_->server, nullptr);
  parts_->channel =
      grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
}

void ProbesFixture::TearDownTestSuite() {
  parts_->server->Shutdown();
  delete parts_;
}

void ProbesFixture::TearDown() {
  EXPECT_EQ(parts_->budget.free_bytes(), kBudget);
}

v1::Input ProbesFixture::Prompt(int i) {
  v1::Input input;
  input.set_id(absl::StrCat("q", i));
  input.set_text(i % 2 == 0 ? absl::StrCat("The force of gravity number ", i)
                            : absl::StrCat("Water boils at ", i, " degrees"));
  input.set_group(absl::StrCat("g", i / 2));
  return input;
}

v1::Tensor ProbesFixture::Vector(const std::vector<float>& numbers) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DTYPE_FLOAT32);
  tensor.add_shape(static_cast<int64_t>(numbers.size()));
  tensor.mutable_data()->assign(reinterpret_cast<const char*>(numbers.data()),
                                numbers.size() * 4);
  return tensor;
}

v1::Meter ProbesFixture::MeterAt(v1::Site site, int block, int seed) {
  std::vector<float> numbers;
  for (int i = 0; i < kWidth; ++i) {
    numbers.push_back(std::sin(static_cast<float>(seed + i * i)));
  }
  v1::Meter meter;
  meter.set_name(absl::StrCat("meter", seed));
  *meter.mutable_vector()->mutable_tensor() = Vector(numbers);
  meter.mutable_place()->set_site(site);
  meter.mutable_place()->set_block(block);
  return meter;
}

std::vector<ProbesFixture::Sample> ProbesFixture::Generate(
    const v1::GenerateRequest& request) {
  std::vector<Sample> samples(
      static_cast<size_t>(std::max(request.sample_count(), 1)));
  const auto stub = v1::Inference::NewStub(parts_->channel);
  grpc::ClientContext context;
  const auto reader = stub->Generate(&context, request);
  for (v1::GenerateResponse event; reader->Read(&event);) {
    Sample& own = samples[static_cast<size_t>(event.sample_index())];
    for (const v1::GeneratedToken& token : event.delta().tokens()) {
      own.tokens.push_back(token.token_id());
      own.logprobs.push_back(token.logprob());
    }
    own.text += event.delta().text() + event.end().text();
    for (const v1::GeneratedToken& token : event.prompt().tokens()) {
      own.prompt.push_back(token.token_id());
    }
    own.prompt_readings.insert(own.prompt_readings.end(),
                               event.prompt().meters().begin(),
                               event.prompt().meters().end());
    for (const auto* meters :
         {&event.delta().meters(), &event.end().meters()}) {
      own.readings.insert(own.readings.end(), meters->begin(), meters->end());
    }
    if (event.has_end()) own.end = event.end();
  }
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  return samples;
}

v1::GenerateRequest ProbesFixture::Continue(int tokens) {
  v1::GenerateRequest request;
  request.add_variants()->set_model(kModel);
  request.add_inputs()->set_text("The force of gravity");
  request.mutable_options()->set_max_new_token_count(tokens);
  return request;
}

}  // namespace dissonance
