// Probes, directions and meters through both processes, on the shipped model
// and its adapter.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/probes.grpc.pb.h"
#include "src/base/file.h"
#include "tests/server/interp_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

constexpr int kInputs = 40;
constexpr int kWidth = 128;

class ServerProbesTest : public InterpFixture {
 protected:
  // What tells conflicts from other questions, in base and adapter.
  static v1::TrainProbesRequest Conflicts() {
    v1::TrainProbesRequest request;
    request.add_variants()->set_model(kTinyModel);
    request.add_variants()->set_model(kTinyModel);
    request.mutable_variants(1)->set_adapter(kTinyAdapter);
    v1::ProbeTarget& target = *request.add_targets();
    target.set_name("conflict");
    v1::ProbeLabels& labels = *target.add_labels();
    const std::string all =
        *ReadFile(InTree("data/tiny_world/mcqs_dev.jsonl"), 1 << 22);
    // Of each class as many.
    int counts[2] = {0, 0};
    for (const absl::string_view line : absl::StrSplit(all, '\n')) {
      if (line.empty()) continue;
      const json question = json::parse(line);
      const int own = question["category"] == "conflict" ? 1 : 0;
      if (counts[own] == kInputs / 2) continue;
      ++counts[own];
      v1::Input& input = *request.add_inputs();
      input.set_id(question["id"].get<std::string>());
      input.set_text(question["question"].get<std::string>());
      labels.add_classes(own);
    }
    EXPECT_EQ(labels.classes_size(), kInputs);
    request.add_sites(v1::SITE_RESID_POST);
    for (const int block : {2, 5}) request.add_blocks(block);
    request.mutable_options()->set_permutation_count(5);
    request.mutable_options()->set_bootstrap_count(50);
    return request;
  }

  // All that a stream brought but its summary, as bytes.
  static std::string Train(const v1::TrainProbesRequest& request,
                           std::vector<v1::TrainProbesResponse>& responses) {
    responses.clear();
    const grpc::Status status =
        Read<v1::Probes>(&v1::Probes::Stub::TrainProbes, request, responses);
    EXPECT_TRUE(status.ok()) << status.error_message();
    std::string bytes;
    for (const v1::TrainProbesResponse& response : responses) {
      if (!response.has_summary()) bytes += response.SerializeAsString();
    }
    return bytes;
  }

  // The request with the rows of StreamActivations in place of what would be
  // captured.
  static v1::TrainProbesRequest Given(const v1::TrainProbesRequest& request) {
    v1::StreamActivationsRequest asked;
    *asked.mutable_variants() = request.variants();
    *asked.mutable_inputs() = request.inputs();
    *asked.mutable_capture()->mutable_sites() = request.sites();
    *asked.mutable_capture()->mutable_blocks() = request.blocks();
    asked.mutable_capture()->mutable_positions()->set_set(
        v1::POSITION_SET_LAST_PROMPT);
    const Activations rows = Stream(asked);
    EXPECT_TRUE(rows.status.ok()) << rows.status.error_message();
    v1::TrainProbesRequest given = request;
    given.clear_sites();
    given.clear_blocks();
    for (int v = 0; v < request.variants_size(); ++v) {
      v1::VariantActivations& own = *given.add_activations();
      for (const int block : request.blocks()) {
        v1::ActivationMatrix& matrix = *own.add_places();
        matrix.mutable_place()->set_site(v1::SITE_RESID_POST);
        matrix.mutable_place()->set_block(block);
        const std::vector<float>& values =
            rows.values.at(absl::StrCat(v, ".SITE_RESID_POST.", block));
        v1::Tensor& tensor = *matrix.mutable_rows();
        tensor.set_dtype(v1::DTYPE_FLOAT32);
        tensor.add_shape(kInputs);
        tensor.add_shape(kWidth);
        tensor.mutable_data()->assign(
            reinterpret_cast<const char*>(values.data()), values.size() * 4);
      }
    }
    return given;
  }
};

TEST_F(ServerProbesTest, FindsWhereConflictsShow) {
  std::vector<v1::TrainProbesResponse> responses;
  const v1::TrainProbesRequest request = Conflicts();
  Train(request, responses);
  int results = 0;
  for (const v1::TrainProbesResponse& response : responses) {
    if (!response.has_result()) continue;
    ++results;
    EXPECT_TRUE(response.result().converged());
    EXPECT_GT(response.result().auc().mean(), 0.6);
    EXPECT_EQ(response.result().decisions_size(), kInputs);
  }
  EXPECT_EQ(results, 4);
  ASSERT_FALSE(responses.empty());
  const auto& provenance = responses.back().summary().provenance();
  ASSERT_EQ(provenance.size(), 2);
  EXPECT_NE(provenance[1].adapter_digest(), "");
  EXPECT_TRUE(provenance[0].reproducible());
}

TEST_F(ServerProbesTest, GivenRowsAndCapturedOnesGiveTheSameBits) {
  std::vector<v1::TrainProbesResponse> responses;
  const v1::TrainProbesRequest request = Conflicts();
  const std::string captured = Train(request, responses);
  EXPECT_EQ(captured, Train(Given(request), responses));
}

TEST_F(ServerProbesTest, OtherRequestsChangeNoBit) {
  std::vector<v1::TrainProbesResponse> responses;
  const v1::TrainProbesRequest request = Conflicts();
  const std::string alone = Train(request, responses);
  std::atomic<bool> done = false;
  std::atomic<int> count = 0;
  std::thread load([&] {
    while (!done) {
      EXPECT_TRUE(
          Generate(TinyRequest("The force of gravity", 16)).status.ok());
      ++count;
    }
  });
  while (count == 0) std::this_thread::yield();
  const std::string beside = Train(request, responses);
  done = true;
  load.join();
  EXPECT_EQ(alone, beside);
}

TEST_F(ServerProbesTest, ADirectionSteersAndIsMeasured) {
  const v1::TrainProbesRequest probes = Conflicts();
  v1::FitDirectionsRequest request;
  *request.add_variants() = probes.variants(1);
  *request.mutable_inputs() = probes.inputs();
  *request.mutable_labels() = probes.targets(0).labels(0);
  request.add_blocks(3);
  const auto stub = server_->NewStub<v1::Probes>();
  v1::FitDirectionsResponse fitted;
  auto context = server_->NewContext();
  grpc::Status status = stub->FitDirections(context.get(), request, &fitted);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(fitted.vectors_size(), 1);
  v1::GenerateRequest generate = TinyRequest("The force of gravity", 8);
  v1::Meter& meter = *generate.add_meters();
  *meter.mutable_vector()->mutable_tensor() = fitted.vectors(0).vector();
  *meter.mutable_place() = fitted.vectors(0).place();
  *generate.add_variants() = generate.variants(0);
  v1::Intervention& steer = *generate.mutable_variants(1)->add_interventions();
  steer.set_site(v1::SITE_RESID_POST);
  steer.add_blocks(3);
  steer.mutable_positions()->set_set(v1::POSITION_SET_GENERATED);
  steer.mutable_add()->mutable_vector()->mutable_tensor()->CopyFrom(
      fitted.vectors(0).vector());
  steer.mutable_add()->set_coefficient(2.0 * fitted.vectors(0).norm());
  std::vector<v1::GenerateResponse> events;
  status =
      Read<v1::Inference>(&v1::Inference::Stub::Generate, generate, events);
  ASSERT_TRUE(status.ok()) << status.error_message();
  std::vector<double> first(2);
  std::vector<int> readings(2);
  for (const v1::GenerateResponse& event : events) {
    for (const auto* own : {&event.delta().meters(), &event.end().meters()}) {
      for (const v1::MeterReading& reading : *own) {
        const auto v = static_cast<size_t>(event.variant_index());
        ++readings[v];
        if (reading.token_index() == 0) first[v] = reading.projections(0);
      }
    }
  }
  EXPECT_EQ(readings, std::vector<int>({8, 8}));
  // The same token at the same place, pushed along it.
  EXPECT_NEAR(first[1] - first[0], 2.0 * fitted.vectors(0).norm(),
              0.05 * fitted.vectors(0).norm() + 0.1);
}

TEST_F(ServerProbesTest, SaysWhatIsWrongWithARequest) {
  const auto refused = [](const v1::TrainProbesRequest& request,
                          grpc::StatusCode code, const std::string& text) {
    std::vector<v1::TrainProbesResponse> responses;
    const grpc::Status status =
        Read<v1::Probes>(&v1::Probes::Stub::TrainProbes, request, responses);
    EXPECT_EQ(status.error_code(), code);
    EXPECT_THAT(status.error_message(), HasSubstr(text));
    EXPECT_TRUE(responses.empty());
  };
  v1::TrainProbesRequest request = Conflicts();
  request.mutable_variants(0)->set_model("models/none");
  refused(request, grpc::StatusCode::NOT_FOUND, "models/none");
  request = Conflicts();
  request.mutable_positions()->mutable_indices()->add_indices(5000);
  refused(request, grpc::StatusCode::INVALID_ARGUMENT, "positions");
  request = Conflicts();
  auto& classes = *request.mutable_targets(0)->mutable_labels(0);
  for (int i = 0; i < kInputs; ++i) classes.set_classes(i, 0);
  refused(request, grpc::StatusCode::INVALID_ARGUMENT, "target conflict");
  for (int i = 0; i < 3; ++i) classes.set_classes(i, 1);
  refused(request, grpc::StatusCode::INVALID_ARGUMENT,
          "class 1 has 3 input(s), fewer than the 5 folds");
}

}  // namespace
}  // namespace dissonance
