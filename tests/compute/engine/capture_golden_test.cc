// What the engine keeps of a pass, in whole prompts and in pieces, against
// transformers with hooks; and what follows from the definitions of q, k and
// v, which the goldens do not store.
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

using nlohmann::json;

std::string StoredName(int prompt, const SitePlace& place) {
  if (place.site == Site::kFinalNorm) {
    return absl::StrCat("prompt", prompt, ".final_norm");
  }
  if (place.site == Site::kLogits) {
    return absl::StrCat("prompt", prompt, ".logits");
  }
  const bool is_attention =
      place.site == Site::kZ || place.site == Site::kPattern;
  return absl::StrCat("prompt", prompt, ".blocks.", place.block, ".",
                      is_attention ? "attn." : "", "hook_",
                      std::string(SiteName(place.site)));
}

class CaptureGoldenTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = ReadGolden("models/" + GetParam());
    model_ = LoadGoldenModel(golden_.directory + "/model", at::kFloat);
    ASSERT_NE(model_, nullptr);
  }

  std::vector<SitePlace> Everywhere() const {
    std::vector<SitePlace> places = {{Site::kFinalNorm, -1},
                                     {Site::kLogits, -1}};
    for (int64_t b = 0; b < model_->spec().block_count(); ++b) {
      for (int s = 0; s < static_cast<int>(Site::kFinalNorm); ++s) {
        const auto site = static_cast<Site>(s);
        if (CheckSite(model_->spec(), site, b).ok())
          places.push_back({site, b});
      }
    }
    return places;
  }

  GenerateResult Capture(Engine& engine, const std::vector<int32_t>& prompt,
                         std::vector<SitePlace> places,
                         Interventions changes = {}) const {
    auto capture = PrepareCapture(*model_, {.places = std::move(places)});
    EXPECT_TRUE(capture.ok()) << capture.status();
    auto ready = PrepareInterventions(*model_, std::move(changes));
    EXPECT_TRUE(ready.ok()) << ready.status();
    GenerateTask task;
    task.prompt = prompt;
    task.max_new_tokens = 0;
    task.capture = *capture;
    return GenerateNow(engine, {.model = model_, .interventions = *ready},
                       task);
  }

  // Worst difference of all that is stored; counts the comparisons.
  double Worst(Engine& engine, int* compared) const {
    double worst = 0.0;
    for (const json& prompt : golden_.config["prompts"]) {
      if (!prompt["full_sites"].get<bool>()) continue;
      const std::vector<SitePlace> places = Everywhere();
      const GenerateResult result =
          Capture(engine, prompt["ids"].get<std::vector<int32_t>>(), places);
      for (size_t p = 0; p < places.size(); ++p) {
        const std::string name = StoredName(prompt["index"], places[p]);
        if (!golden_.expected->tensors().contains(name)) continue;
        at::Tensor expected = golden_.Tensor(name);
        // Ours has rows first: a row is what is captured.
        if (places[p].site == Site::kPattern) {
          expected = expected.transpose(0, 1);
        }
        worst = std::max(worst, Difference(result, p, expected));
        ++*compared;
      }
    }
    return worst;
  }

  // A pattern's pieces end with the last key that their rows may see.
  static double Difference(const GenerateResult& result, size_t place,
                           const at::Tensor& expected) {
    double worst = 0.0;
    int64_t row = 0;
    for (const std::vector<at::Tensor>& step : result.captured) {
      const at::Tensor& own = step[place];
      const at::Tensor part = expected.narrow(0, row, own.size(0))
                                  .narrow(-1, 0, own.size(own.dim() - 1));
      worst = std::max(worst, MaxAbsDifference(own, part));
      row += own.size(0);
    }
    EXPECT_EQ(row, expected.size(0));
    return worst;
  }

  GoldenCase golden_;
  std::shared_ptr<const Model> model_;
};

TEST_P(CaptureGoldenTest, KeepsWhatTransformersComputes) {
  const json& hf = golden_.config["hf_fp32_max_abs_err"];
  const double limit =
      3 * std::max(hf["sites"].get<double>(), hf["logits"].get<double>());
  for (const int64_t tile : {64, 4}) {
    Engine engine(
        {.step_tokens = tile == 4 ? 8 : 1024, .attention_tile = tile});
    int compared = 0;
    EXPECT_LE(Worst(engine, &compared), limit) << "tile " << tile;
    EXPECT_GT(compared, 2 * 4 * model_->spec().block_count());
  }
}

// z is the pattern times v; without differences in q or in k every position
// sees all before it alike.
TEST_P(CaptureGoldenTest, QueriesKeysAndValuesAreWhatAttentionUses) {
  Engine engine({});
  const auto prompt =
      golden_.config["prompts"][1]["ids"].get<std::vector<int32_t>>();
  const int64_t block = model_->spec().block_count() - 1;
  const GenerateResult plain =
      Capture(engine, prompt,
              {{Site::kPattern, block}, {Site::kV, block}, {Site::kZ, block}});
  const at::Tensor pattern = plain.Captured(0);  // [rows, heads, keys]
  const at::Tensor v = plain.Captured(1);        // [rows, kv_heads, d]
  const at::Tensor z = plain.Captured(2);
  const int64_t group = pattern.size(1) / v.size(1);
  for (int64_t head = 0; head < pattern.size(1); ++head) {
    const at::Tensor expected =
        pattern.select(1, head).mm(v.select(1, head / group));
    EXPECT_LE(MaxAbsDifference(z.select(1, head), expected), 1e-5) << head;
  }
  const int64_t window =
      model_->spec().blocks[static_cast<size_t>(block)].window;
  for (const Site site : {Site::kQ, Site::kK}) {
    const GenerateResult flat =
        Capture(engine, prompt, {{Site::kPattern, block}},
                {{.site = site,
                  .block = block,
                  .op = Intervention::Op::kScale,
                  .coefficient = 0.0}});
    for (int64_t row = 0; row < flat.Captured(0).size(0); ++row) {
      const int64_t seen = window > 0 ? std::min(window, row + 1) : row + 1;
      const at::Tensor own =
          flat.Captured(0)[row].narrow(1, row + 1 - seen, seen);
      EXPECT_LE(
          (own - 1.0 / static_cast<double>(seen)).abs().max().item<float>(),
          1e-6)
          << SiteName(site) << " row " << row;
    }
  }
  const GenerateResult silent = Capture(engine, prompt, {{Site::kZ, block}},
                                        {{.site = Site::kV,
                                          .block = block,
                                          .op = Intervention::Op::kScale,
                                          .coefficient = 0.0}});
  EXPECT_EQ(silent.Captured(0).abs().max().item<float>(), 0.0F);
}

INSTANTIATE_TEST_SUITE_P(Families, CaptureGoldenTest,
                         testing::ValuesIn(GoldenNames("models")),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace dissonance
