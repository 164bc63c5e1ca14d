// In reproducible mode a request's numbers are the same bits whatever else
// runs: random mixes of families, adapters, interventions, lengths, dropout,
// kinds of work and arrival orders against each request alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "tests/testing/compute_goldens.h"
#include "tests/testing/random_tensor.h"

namespace dissonance {
namespace {

struct MixedRequest {
  EngineVariant variant;
  bool generates = false;
  ScoreTask score;
  GenerateTask generate;
};

// Every number of a result, for comparison bit by bit.
using Numbers = std::vector<double>;

class IsolationTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    for (const std::string& base : GoldenNames("models")) {
      // The same family as llama, stored in another way.
      if (base == "llama_sharded" || base == "llama_tied") continue;
      auto model = LoadGoldenModel(
          ReadGolden("models/" + base).directory + "/model", GetParam());
      ASSERT_NE(model, nullptr);
      variants_.push_back({.model = model, .adapter = nullptr, .dropout = {}});
      for (const std::string& name : GoldenNames("lora", base + "_")) {
        const GoldenCase golden = ReadGolden("lora/" + name);
        if (golden.config["verdict"] != "accept") continue;
        auto adapter = LoraAdapter::Load(golden.directory + "/adapter", *model);
        ASSERT_TRUE(adapter.ok()) << adapter.status();
        variants_.push_back(
            {.model = model, .adapter = *adapter, .dropout = {}});
      }
    }
  }

  size_t Below(size_t limit) { return random_() % limit; }

  std::vector<int32_t> Tokens(size_t count) {
    std::vector<int32_t> tokens(count);
    for (int32_t& token : tokens) token = static_cast<int32_t>(Below(256));
    return tokens;
  }

  // One to three changes at places that the model has.
  std::shared_ptr<const Interventions> RandomInterventions(const Model& model) {
    const DecoderSpec& spec = model.spec();
    Interventions list;
    const size_t wanted = 1 + Below(3);
    while (list.size() < wanted) {
      Intervention own;
      own.site =
          static_cast<Site>(Below(static_cast<size_t>(Site::kFinalNorm)));
      own.block =
          static_cast<int64_t>(Below(static_cast<size_t>(spec.block_count())));
      if (!CheckSite(spec, own.site, own.block).ok()) continue;
      const int64_t heads = SiteHeads(spec, own.site);
      if (heads > 0 && Below(2) == 0) {
        own.head = static_cast<int64_t>(Below(static_cast<size_t>(heads)));
      }
      own.op = static_cast<Intervention::Op>(Below(4));
      own.positions = Positions::Of(static_cast<Positions::Kind>(Below(4)));
      if (Below(4) == 0) own.positions = Positions::Indices({0, 3, 17});
      own.coefficient = 0.5 + static_cast<double>(Below(3));
      own.vector =
          RandomTensor({SiteWidth(spec, own.site)}, at::kFloat, random_());
      list.push_back(own);
    }
    auto ready = PrepareInterventions(model, std::move(list));
    EXPECT_TRUE(ready.ok()) << ready.status();
    return *ready;
  }

  MixedRequest RandomRequest() {
    MixedRequest request;
    request.variant = variants_[Below(variants_.size())];
    if (request.variant.adapter != nullptr && Below(4) == 0) {
      request.variant.dropout = DropoutKey{.value = random_()};
    }
    if (Below(3) == 0) {
      request.variant.interventions =
          RandomInterventions(*request.variant.model);
    }
    const std::vector<int32_t> prompt = Tokens(1 + Below(90));
    request.generates = Below(3) == 0;
    if (request.generates) {
      request.generate = {.prompt = prompt,
                          .max_new_tokens = static_cast<int64_t>(1 + Below(6)),
                          .stop_tokens = {}};
    } else {
      request.score.prompt = prompt;
      for (size_t i = 0; i <= Below(6); ++i) {
        request.score.continuations.push_back(Tokens(1 + Below(4)));
      }
    }
    return request;
  }

  // Submits the requests in the given order, with steps in between, and
  // returns each one's numbers by its index.
  std::vector<Numbers> Run(const std::vector<MixedRequest>& requests,
                           const std::vector<size_t>& order) {
    Engine engine({.step_tokens = 128, .prefill_chunk = 32});
    std::vector<Numbers> numbers(requests.size());
    for (const size_t i : order) {
      Submit(engine, requests[i], numbers[i]);
      if (Below(3) == 0) engine.Step();
    }
    while (engine.Step()) {
    }
    return numbers;
  }

  static void Submit(Engine& engine, const MixedRequest& request,
                     Numbers& numbers) {
    if (request.generates) {
      const auto submitted = engine.SubmitGenerate(
          request.variant, request.generate,
          [&numbers](absl::StatusOr<GenerateResult> result) {
            ASSERT_TRUE(result.ok()) << result.status();
            numbers = result->logprobs;
            numbers.insert(numbers.end(), result->tokens.begin(),
                           result->tokens.end());
          });
      ASSERT_TRUE(submitted.ok()) << submitted.status();
      return;
    }
    const auto submitted = engine.SubmitScore(
        request.variant, request.score,
        [&numbers](absl::StatusOr<ScoreResult> result) {
          ASSERT_TRUE(result.ok()) << result.status();
          for (const ContinuationResult& c : result->continuations) {
            numbers.insert(numbers.end(), c.token_logprobs.begin(),
                           c.token_logprobs.end());
          }
        });
    ASSERT_TRUE(submitted.ok()) << submitted.status();
  }

  std::mt19937_64 random_{20240607};
  std::vector<EngineVariant> variants_;
};

TEST_P(IsolationTest, EveryMixGivesTheBitsOfEachRequestAlone) {
  // 200 mixes over the two types.
  for (int mix = 0; mix < 100; ++mix) {
    std::vector<MixedRequest> requests;
    for (size_t i = 0; i < 2 + Below(10); ++i) {
      requests.push_back(RandomRequest());
    }
    std::vector<size_t> order(requests.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random_);
    const std::vector<Numbers> mixed = Run(requests, order);
    for (size_t i = 0; i < requests.size(); ++i) {
      const std::vector<Numbers> alone = Run({requests[i]}, {0});
      ASSERT_FALSE(alone[0].empty());
      ASSERT_EQ(mixed[i], alone[0]) << "mix " << mix << ", request " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, IsolationTest,
                         testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) {
                           return std::string(c10::toString(info.param));
                         });

}  // namespace
}  // namespace dissonance
