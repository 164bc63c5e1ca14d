// Probes trained over a real connection, in an engine that also serves other
// requests.
#include "server/worker/probes_service.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/worker/train_probes_plan.h"
#include "tests/server/worker/probes_fixture.h"

namespace dissonance {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class ProbesServiceTest : public ProbesFixture {
 protected:
  // Two variants, two targets, all blocks of two sites.
  static v1::TrainProbesRequest Usual() {
    v1::TrainProbesRequest request;
    request.add_variants()->set_model(kModel);
    request.add_variants()->set_model(kModel);
    request.mutable_variants(1)->set_adapter(kAdapter);
    for (int i = 0; i < kInputs; ++i) *request.add_inputs() = Prompt(i);
    for (v1::Input& input : *request.mutable_inputs()) input.clear_group();
    request.add_sites(v1::SITE_RESID_POST);
    request.add_sites(v1::SITE_Z);
    for (const int block : {1, 4}) request.add_blocks(block);
    for (const int period : {2, 3}) {
      v1::ProbeTarget& target = *request.add_targets();
      target.set_name(absl::StrCat("period", period));
      v1::ProbeLabels& labels = *target.add_labels();
      for (int i = 0; i < kInputs; ++i) {
        labels.add_classes(i % period == 0 ? 1 : 0);
      }
    }
    request.mutable_options()->set_fold_count(4);
    request.mutable_options()->set_permutation_count(3);
    request.mutable_options()->set_bootstrap_count(20);
    request.set_component_count(2);
    return request;
  }

  struct Answer {
    std::vector<v1::TrainProbesResponse> messages;
    grpc::Status status;

    // All that was computed, as bytes.
    std::string Numbers() const {
      std::string bytes;
      for (const v1::TrainProbesResponse& message : messages) {
        if (!message.has_summary()) bytes += message.SerializeAsString();
      }
      return bytes;
    }
  };
  static Answer Train(const v1::TrainProbesRequest& request) {
    Answer answer;
    const auto stub = v1::Probes::NewStub(parts_->channel);
    grpc::ClientContext context;
    const auto reader = stub->TrainProbes(&context, request);
    for (v1::TrainProbesResponse message; reader->Read(&message);) {
      answer.messages.push_back(message);
    }
    answer.status = reader->Finish();
    return answer;
  }
  static void ExpectRefused(const v1::TrainProbesRequest& request,
                            grpc::StatusCode code, const std::string& text) {
    const Answer answer = Train(request);
    EXPECT_EQ(answer.status.error_code(), code);
    EXPECT_THAT(answer.status.error_message(), HasSubstr(text));
    EXPECT_TRUE(answer.messages.empty());
  }

  // The request with the rows that StreamActivations gives in place of what is
  // captured.
  static v1::TrainProbesRequest Given(const v1::TrainProbesRequest& request) {
    v1::StreamActivationsRequest asked;
    *asked.mutable_variants() = request.variants();
    *asked.mutable_inputs() = request.inputs();
    *asked.mutable_capture()->mutable_sites() = request.sites();
    *asked.mutable_capture()->mutable_blocks() = request.blocks();
    asked.mutable_capture()->mutable_positions()->set_set(
        v1::POSITION_SET_LAST_PROMPT);
    v1::TrainProbesRequest given = request;
    given.clear_sites();
    given.clear_blocks();
    const auto stub = v1::Interpretability::NewStub(parts_->channel);
    grpc::ClientContext context;
    const auto reader = stub->StreamActivations(&context, asked);
    int variant = 0;
    int place = 0;
    for (v1::StreamActivationsResponse message; reader->Read(&message);) {
      if (message.has_rows()) {
        variant = message.rows().variant_index();
        place = 0;
        if (given.activations_size() <= variant) given.add_activations();
      }
      if (!message.has_chunk()) continue;
      auto& places = *given.mutable_activations(variant)->mutable_places();
      if (places.size() <= place)
        *places.Add()->mutable_place() = message.chunk().place();
      v1::Tensor& rows = *places[place++].mutable_rows();
      const v1::Tensor& tensor = message.chunk().tensor();
      rows.set_dtype(tensor.dtype());
      rows.mutable_data()->append(tensor.data());
      rows.clear_shape();
      rows.add_shape(static_cast<int64_t>(rows.data().size()) / 4 / kWidth);
      rows.add_shape(kWidth);
    }
    EXPECT_TRUE(reader->Finish().ok());
    return given;
  }
};

TEST_F(ProbesServiceTest, SendsFoldsFirstThenPlaceByPlace) {
  const Answer answer = Train(Usual());
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  std::vector<std::string> order;
  for (const v1::TrainProbesResponse& message : answer.messages) {
    if (message.has_folds()) order.push_back("folds");
    if (message.has_result()) {
      const v1::ProbeResult& own = message.result();
      order.push_back(absl::StrCat(own.place().site(), ".", own.place().block(),
                                   " ", own.target_index(),
                                   own.variant_index()));
      EXPECT_EQ(own.decisions_size(), kInputs);
      EXPECT_EQ(own.weights().weight().dtype(), v1::DTYPE_FLOAT32);
      EXPECT_THAT(own.direction().shape(), ElementsAre(kWidth));
    }
    if (message.has_components()) {
      order.push_back("components");
      EXPECT_THAT(message.components().projections().shape(),
                  ElementsAre(2 * kInputs, 2));
    }
    if (message.has_progress()) {
      order.push_back(absl::StrCat(message.progress().done_count(), " of ",
                                   message.progress().total_count()));
    }
    if (message.has_summary()) {
      order.push_back("summary");
      ASSERT_EQ(message.summary().provenance_size(), 2);
      EXPECT_FALSE(message.summary().provenance(1).adapter_digest().empty());
    }
  }
  EXPECT_THAT(order, ElementsAre("folds", "folds", "folds", "folds", "11.1 00",
                                 "11.1 01", "11.1 10", "11.1 11", "components",
                                 "1 of 4", "11.4 00", "11.4 01", "11.4 10",
                                 "11.4 11", "components", "2 of 4", "6.1 00",
                                 "6.1 01", "6.1 10", "6.1 11", "components",
                                 "3 of 4", "6.4 00", "6.4 01", "6.4 10",
                                 "6.4 11", "components", "4 of 4", "summary"));
}

TEST_F(ProbesServiceTest, CapturedRowsAreThoseOfStreamActivations) {
  const v1::TrainProbesRequest request = Usual();
  const Answer captured = Train(request);
  ASSERT_TRUE(captured.status.ok()) << captured.status.error_message();
  const Answer given = Train(Given(request));
  ASSERT_TRUE(given.status.ok()) << given.status.error_message();
  EXPECT_EQ(captured.Numbers(), given.Numbers());
  EXPECT_TRUE(given.messages.back().has_summary());
  EXPECT_EQ(given.messages.back().summary().provenance_size(), 0);
}

TEST_F(ProbesServiceTest, NumbersAreTheSameBesideOtherRequests) {
  // Means over prompts of several tiles, which others' tokens cut to pieces.
  v1::TrainProbesRequest request = Usual();
  request.mutable_variants()->RemoveLast();
  request.mutable_variants(0)->set_model(kExactModel);
  for (v1::Input& input : *request.mutable_inputs()) {
    for (int i = 0; i < 4; ++i) *input.mutable_text() += " " + input.text();
  }
  request.mutable_positions()->set_set(v1::POSITION_SET_ALL);
  const Answer alone = Train(request);
  ASSERT_TRUE(alone.status.ok()) << alone.status.error_message();
  std::atomic<bool> done = false;
  std::atomic<int> load_count = 0;
  std::thread load([&] {
    v1::GenerateRequest other = Continue(20);
    other.mutable_variants(0)->set_model(kExactModel);
    while (!done) {
      Generate(other);
      ++load_count;
    }
  });
  while (load_count == 0) std::this_thread::yield();
  const Answer beside = Train(request);
  done = true;
  load.join();
  ASSERT_TRUE(beside.status.ok()) << beside.status.error_message();
  EXPECT_EQ(alone.Numbers(), beside.Numbers());
}

TEST_F(ProbesServiceTest, ACancelledCallGivesItsMemoryBack) {
  v1::TrainProbesRequest request = Usual();
  request.clear_blocks();
  // Minutes of work.
  request.mutable_options()->set_permutation_count(10'000);
  for (const double c : {0.01, 0.03, 0.1, 0.3, 1.0, 3.0}) {
    request.mutable_options()->add_c_values(c);
  }
  const auto pieces = [] {
    return parts_->engine.stats().background_piece_count;
  };
  const int64_t before = pieces();
  grpc::ClientContext context;
  const auto stub = v1::Probes::NewStub(parts_->channel);
  const auto reader = stub->TrainProbes(&context, request);
  v1::TrainProbesResponse first;
  ASSERT_TRUE(reader->Read(&first));
  // Until a place is being fitted.
  while (pieces() < before + 3) std::this_thread::yield();
  EXPECT_LT(parts_->budget.free_bytes(), kBudget);
  context.TryCancel();
  while (reader->Read(&first)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  // The client may know before the worker.
  while (parts_->budget.free_bytes() < kBudget) std::this_thread::yield();
}

TEST_F(ProbesServiceTest, RefusesWhatDoesNotFitBeforeItComputes) {
  const int64_t before = parts_->engine.stats().prefill_token_count;
  TrainingBudget small(100'000, [] { return std::nullopt; });
  const auto plan = MakeTrainProbesPlan(Usual(), parts_->registry, {}, small,
                                        [] { return false; });
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(plan.status().message()),
              AllOf(HasSubstr("98304 of 24 rows at 4 places of 2 "
                              "variants"),
                    HasSubstr("100000 are free of the 100000"),
                    HasSubstr("ask for fewer blocks")));
  EXPECT_EQ(small.free_bytes(), 100'000);
  EXPECT_EQ(parts_->engine.stats().prefill_token_count, before);
}

TEST_F(ProbesServiceTest, ReservesMemoryForAllPlacesUnderWay) {
  v1::TrainProbesRequest request = Usual();
  request.clear_component_count();
  const auto reserved = [&request](int threads) {
    const int before = at::get_num_threads();
    at::set_num_threads(threads);
    TrainingBudget budget(kBudget, [] { return std::nullopt; });
    const auto plan = MakeTrainProbesPlan(request, parts_->registry, {}, budget,
                                          [] { return false; });
    at::set_num_threads(before);
    EXPECT_TRUE(plan.ok()) << plan.status();
    return kBudget - budget.free_bytes();
  };
  const int64_t a_place = reserved(2) - reserved(1);
  EXPECT_GT(a_place, 0);
  EXPECT_EQ(reserved(64) - reserved(1), 3 * a_place);  // there are four
}

TEST_F(ProbesServiceTest, RefusesLabelsThatNothingCanBeFittedTo) {
  v1::TrainProbesRequest request = Usual();
  auto& classes = *request.mutable_targets(1)->mutable_labels(0);
  for (int i = 0; i < kInputs; ++i) classes.set_classes(i, 1);
  ExpectRefused(request, grpc::StatusCode::INVALID_ARGUMENT, "target period3");
  for (int i = 0; i < 2; ++i) classes.set_classes(i, 0);
  ExpectRefused(request, grpc::StatusCode::INVALID_ARGUMENT,
                "fewer than the 4 folds");
  request.clear_targets();
  ExpectRefused(request, grpc::StatusCode::INVALID_ARGUMENT,
                "targets: expected 1 to 100, found 0");
}

TEST_F(ProbesServiceTest, NamesTheFieldOfABadRequest) {
  const auto refused =
      [](const std::string& text,
         const std::function<void(v1::TrainProbesRequest&)>& spoil,
         grpc::StatusCode code = grpc::StatusCode::INVALID_ARGUMENT) {
        v1::TrainProbesRequest request = Usual();
        spoil(request);
        ExpectRefused(request, code, text);
      };
  refused(
      "models/none",
      [](auto& r) {
        for (auto& variant : *r.mutable_variants()) {
          variant.clear_adapter();
          variant.set_model("models/none");
        }
      },
      grpc::StatusCode::NOT_FOUND);
  refused("inputs[0] (q0)", [](auto& r) {
    r.mutable_positions()->mutable_indices()->add_indices(500);
  });
  refused("component_count", [](auto& r) { r.set_component_count(1); });
  refused("block", [](auto& r) { r.add_blocks(6); });
  refused("nothing is fitted to logits",
          [](auto& r) { r.add_sites(v1::SITE_LOGITS); });
  refused("fold_count",
          [](auto& r) { r.mutable_options()->set_fold_count(1); });
  refused(
      "permutation_count",
      [](auto& r) {
        r.mutable_options()->set_permutation_count(2'000'000'000);
      },
      grpc::StatusCode::RESOURCE_EXHAUSTED);
  refused("method", [](auto& r) {
    r.mutable_options()->set_method(static_cast<v1::ProbeMethod>(77));
  });
  refused("directions/truth is a name", [](auto& r) {
    v1::Intervention& steer = *r.mutable_variants(0)->add_interventions();
    steer.set_site(v1::SITE_RESID_POST);
    steer.add_blocks(1);
    steer.mutable_add()->mutable_vector()->set_direction("directions/truth");
  });
}

TEST_F(ProbesServiceTest, NamesTheRowOfActivationsThatIsWrong) {
  const v1::TrainProbesRequest given = Given(Usual());
  const auto refused =
      [&](const std::string& text,
          const std::function<void(v1::TrainProbesRequest&)>& spoil) {
        v1::TrainProbesRequest request = given;
        spoil(request);
        ExpectRefused(request, grpc::StatusCode::INVALID_ARGUMENT, text);
      };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  refused(
      "activations[1].places[2]: rows: inputs[5] (q5) holds NaN or "
      "infinity at z of block 1",
      [&](auto& r) {
        std::string& data = *r.mutable_activations(1)
                                 ->mutable_places(2)
                                 ->mutable_rows()
                                 ->mutable_data();
        std::memcpy(data.data() + 4 * (5 * kWidth + 7), &nan, 4);
      });
  refused(
      "activations[1].places[0]: place: expected resid_post of block 1",
      [](auto& r) {
        r.mutable_activations(1)->mutable_places(0)->mutable_place()->set_block(
            2);
      });
  refused("resid_post of block 1 is given twice", [](auto& r) {
    for (auto& own : *r.mutable_activations()) {
      own.mutable_places(1)->mutable_place()->set_block(1);
    }
  });
  refused("activations: expected one per variant",
          [](auto& r) { r.mutable_activations()->RemoveLast(); });
  refused("inputs: expected none or one per row",
          [](auto& r) { r.mutable_inputs()->RemoveLast(); });
  refused("rows: expected shape [24, 128], found [1, 3072]", [](auto& r) {
    auto& rows = *r.mutable_activations(1)->mutable_places(1)->mutable_rows();
    rows.set_shape(0, 1);
    rows.set_shape(1, 3072);
  });
}

TEST_F(ProbesServiceTest, APlaceWhereAllRowsAreEqualIsAResultWithANote) {
  v1::TrainProbesRequest request = Given(Usual());
  for (auto& own : *request.mutable_activations()) {
    own.mutable_places(0)->mutable_rows()->mutable_data()->assign(
        4 * kInputs * kWidth, '\0');
  }
  const Answer answer = Train(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  int noted = 0;
  for (const v1::TrainProbesResponse& message : answer.messages) {
    if (!message.has_result()) continue;
    const bool is_flat =
        message.result().place().site() == v1::SITE_RESID_POST &&
        message.result().place().block() == 1;
    EXPECT_EQ(!message.result().note().empty(), is_flat);
    noted += is_flat ? 1 : 0;
  }
  EXPECT_EQ(noted, 4);
}

}  // namespace
}  // namespace dissonance
