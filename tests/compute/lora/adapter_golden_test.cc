// Adapters against PEFT: what must load gives PEFT's numbers, what must be
// refused is refused with its reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/compute/lora/batch_delta.h"
#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

using nlohmann::json;

std::shared_ptr<const Model> BaseOf(const GoldenCase& golden,
                                    at::ScalarType dtype) {
  const std::string base = golden.config["base_model"];
  return LoadGoldenModel(ReadGolden("models/" + base).directory + "/model",
                         dtype);
}

std::vector<std::string> NamesWithVerdict(bool reject) {
  std::vector<std::string> names;
  for (const std::string& name : GoldenNames("lora")) {
    const bool rejects =
        ReadGolden("lora/" + name).config["verdict"] != "accept";
    if (rejects == reject) names.push_back(name);
  }
  return names;
}

class AcceptedAdapterTest : public testing::TestWithParam<std::string> {
 protected:
  // Largest difference to PEFT's logits over the golden's prompts.
  double WorstLogits(at::ScalarType dtype) {
    const GoldenCase golden = ReadGolden("lora/" + GetParam());
    const auto model = BaseOf(golden, dtype);
    auto adapter = LoraAdapter::Load(golden.directory + "/adapter", *model);
    EXPECT_TRUE(adapter.ok()) << adapter.status();
    if (!adapter.ok()) return 1e9;
    double worst = 0.0;
    for (const json& prompt : golden.config["prompts"]) {
      const auto ids = prompt["ids"].get<std::vector<int32_t>>();
      AdapterRun run;
      run.row_count = static_cast<int64_t>(ids.size());
      run.adapter = *adapter;
      const BatchDelta delta({run}, /*reproducible=*/true);
      const at::Tensor logits = LogitsOf(*model, ids, {.delta = &delta});
      const std::string name =
          absl::StrCat("prompt", prompt["index"].get<int>(), ".logits");
      const bool whole = golden.expected->tensors().contains(name);
      const at::Tensor expected = golden.Tensor(whole ? name : name + "_last4");
      const int64_t rows = expected.size(0);
      worst = std::max(
          worst, MaxAbsDifference(logits.narrow(0, logits.size(0) - rows, rows),
                                  expected));
    }
    return worst;
  }
};

TEST_P(AcceptedAdapterTest, GivesPeftsLogitsInFloat32) {
  const GoldenCase golden = ReadGolden("lora/" + GetParam());
  EXPECT_LE(WorstLogits(at::kFloat),
            3 * golden.config["hf_peft_fp32_max_abs_err"].get<double>());
}

TEST_P(AcceptedAdapterTest, GivesPeftsLogitsInFloat64) {
  EXPECT_LE(WorstLogits(at::kDouble), 2e-6);
}

TEST_P(AcceptedAdapterTest, GeneratesPeftsGreedyTokens) {
  const GoldenCase golden = ReadGolden("lora/" + GetParam());
  const auto model = BaseOf(golden, at::kFloat);
  auto adapter = LoraAdapter::Load(golden.directory + "/adapter", *model);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  Engine engine({});
  for (const json& prompt : golden.config["prompts"]) {
    const auto expected = prompt["gen_ids"].get<std::vector<int32_t>>();
    const GenerateResult result = GenerateNow(
        engine, {.model = model, .adapter = *adapter, .dropout = {}},
        {.prompt = prompt["ids"].get<std::vector<int32_t>>(),
         .max_new_tokens = static_cast<int64_t>(expected.size()),
         .stop_tokens = {}});
    EXPECT_EQ(result.tokens, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, AcceptedAdapterTest,
                         testing::ValuesIn(NamesWithVerdict(false)),
                         [](const auto& info) { return info.param; });

class RejectedAdapterTest : public testing::TestWithParam<std::string> {};

TEST_P(RejectedAdapterTest, IsRefusedWithItsReason) {
  const GoldenCase golden = ReadGolden("lora/" + GetParam());
  const auto model = BaseOf(golden, at::kFloat);
  const auto adapter = LoraAdapter::Load(golden.directory + "/adapter", *model);
  ASSERT_FALSE(adapter.ok());
  std::vector<testing::Matcher<std::string>> reasons;
  const json mentions =
      golden.config.value("error_should_mention_one_of", json::array({"bias"}));
  for (const json& word : mentions) {
    reasons.push_back(testing::HasSubstr(word.get<std::string>()));
  }
  EXPECT_THAT(std::string(adapter.status().message()),
              testing::AnyOfArray(reasons));
  EXPECT_THAT(std::string(adapter.status().message()),
              testing::HasSubstr(golden.directory));
}

INSTANTIATE_TEST_SUITE_P(Goldens, RejectedAdapterTest,
                         testing::ValuesIn(NamesWithVerdict(true)),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace dissonance
