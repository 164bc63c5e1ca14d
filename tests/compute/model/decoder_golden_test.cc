// The decoder against HF transformers: logits and every site of every golden
// model, in float32 within three times HF's own float32 error, and in float64
// to the precision in which the expectations are stored.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

using nlohmann::json;

// Compares the sites that the golden stores with those of our pass.
class SiteComparer : public SiteVisitor {
 public:
  SiteComparer(const GoldenCase& golden, int prompt, bool full)
      : golden_(golden), prompt_(prompt), full_(full) {}

  bool NeedsAllRows(int64_t) const override { return true; }
  void Visit(Site site, int64_t block, at::Tensor& x) override {
    const std::string name = StoredName(site, block);
    if (!golden_.expected->tensors().contains(name)) return;
    const at::Tensor expected = golden_.Tensor(name);
    const at::Tensor own = full_ ? x : x[-1].view_as(expected);
    worst_ = std::max(worst_, MaxAbsDifference(own, expected));
    ++compared_;
  }

  double worst() const { return worst_; }
  int compared() const { return compared_; }

 private:
  std::string StoredName(Site site, int64_t block) const {
    const std::string tail = full_ ? "" : ".last";
    if (site == Site::kFinalNorm) {
      return absl::StrCat("prompt", prompt_, ".final_norm", tail);
    }
    const char* hook = site == Site::kZ ? "attn.hook_z" : nullptr;
    return absl::StrCat(
        "prompt", prompt_, ".blocks.", block, ".",
        hook != nullptr ? hook
                        : absl::StrCat("hook_", std::string(SiteName(site))),
        tail);
  }

  const GoldenCase& golden_;
  const int prompt_;
  const bool full_;
  double worst_ = 0.0;
  int compared_ = 0;
};

struct Worst {
  double logits = 0.0;
  double sites = 0.0;
  int compared_sites = 0;
};

Worst Compare(const GoldenCase& golden, const Model& model) {
  Worst worst;
  for (const json& prompt : golden.config["prompts"]) {
    const int index = prompt["index"];
    const bool full = prompt["full_sites"];
    SiteComparer comparer(golden, index, full);
    const at::Tensor logits =
        LogitsOf(model, prompt["ids"].get<std::vector<int32_t>>(),
                 {.visitor = &comparer});
    const std::string name = absl::StrCat("prompt", index, ".logits");
    const bool stored_whole = golden.expected->tensors().contains(name);
    const at::Tensor expected =
        golden.Tensor(stored_whole ? name : name + "_last4");
    const at::Tensor own =
        logits.narrow(0, logits.size(0) - expected.size(0), expected.size(0));
    worst.logits = std::max(worst.logits, MaxAbsDifference(own, expected));
    worst.sites = std::max(worst.sites, comparer.worst());
    worst.compared_sites += comparer.compared();
  }
  return worst;
}

class DecoderGoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(DecoderGoldenTest, MatchesTransformersInFloat32) {
  const GoldenCase golden = ReadGolden("models/" + GetParam());
  const auto model = LoadGoldenModel(golden.directory + "/model", at::kFloat);
  ASSERT_NE(model, nullptr);
  const Worst worst = Compare(golden, *model);
  const json& hf = golden.config["hf_fp32_max_abs_err"];
  EXPECT_LE(worst.logits, 3 * hf["logits"].get<double>());
  EXPECT_LE(worst.sites, 3 * hf["sites"].get<double>());
  EXPECT_GT(worst.compared_sites, 10);
  RecordProperty("logits_over_hf",
                 absl::StrCat(worst.logits / hf["logits"].get<double>()));
}

TEST_P(DecoderGoldenTest, MatchesTransformersInFloat64) {
  const GoldenCase golden = ReadGolden("models/" + GetParam());
  const auto model = LoadGoldenModel(golden.directory + "/model", at::kDouble);
  ASSERT_NE(model, nullptr);
  const Worst worst = Compare(golden, *model);
  // Half a unit in the last place of a float32 below 32.
  EXPECT_LE(worst.logits, 1e-6);
  EXPECT_LE(worst.sites, 2e-6);
}

void ExpectSameRope(const RopeSpec& a, const RopeSpec& b) {
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.theta, b.theta);
  EXPECT_EQ(a.scaling, b.scaling);
  EXPECT_EQ(a.factor, b.factor);
}

TEST_P(DecoderGoldenTest, ReadsBothStylesOfConfigAlike) {
  const GoldenCase golden = ReadGolden("models/" + GetParam());
  const std::string dir = golden.directory + "/model";
  const auto read = [&dir](const std::string& file) {
    const auto text = ReadFile(dir + "/" + file, 1 << 20);
    EXPECT_TRUE(text.ok()) << text.status();
    return ParseDecoderSpec(json::parse(*text), file);
  };
  const auto old_style = read("config.json");
  const auto new_style = read("config_v5.json");
  ASSERT_TRUE(old_style.ok()) << old_style.status();
  ASSERT_TRUE(new_style.ok()) << new_style.status();
  ExpectSameRope(old_style->rope, new_style->rope);
  ASSERT_EQ(old_style->window_rope.has_value(),
            new_style->window_rope.has_value());
  if (old_style->window_rope.has_value()) {
    ExpectSameRope(*old_style->window_rope, *new_style->window_rope);
  }
  EXPECT_EQ(old_style->head_dim, new_style->head_dim);
  EXPECT_EQ(old_style->kv_head_count, new_style->kv_head_count);
  EXPECT_EQ(old_style->norm_eps, new_style->norm_eps);
  EXPECT_EQ(old_style->attn_scale, new_style->attn_scale);
  EXPECT_EQ(old_style->attn_softcap, new_style->attn_softcap);
  EXPECT_EQ(old_style->final_softcap, new_style->final_softcap);
  EXPECT_EQ(old_style->activation, new_style->activation);
  EXPECT_EQ(old_style->tied_unembed, new_style->tied_unembed);
  EXPECT_EQ(old_style->experts.count, new_style->experts.count);
  EXPECT_EQ(old_style->experts.chosen, new_style->experts.chosen);
  // Published GPT-2 does not say.
  if (!old_style->stored_dtype.empty()) {
    EXPECT_EQ(old_style->stored_dtype, new_style->stored_dtype);
  }
  ASSERT_EQ(old_style->blocks.size(), new_style->blocks.size());
  for (size_t b = 0; b < old_style->blocks.size(); ++b) {
    EXPECT_EQ(old_style->blocks[b].window, new_style->blocks[b].window);
  }
}

TEST_P(DecoderGoldenTest, GivesTheSameInChunksWithACacheAsInOnePass) {
  const GoldenCase golden = ReadGolden("models/" + GetParam());
  const auto model = LoadGoldenModel(golden.directory + "/model", at::kDouble);
  ASSERT_NE(model, nullptr);
  for (const json& prompt : golden.config["prompts"]) {
    const auto ids = prompt["ids"].get<std::vector<int32_t>>();
    const at::Tensor whole = LogitsOf(*model, ids);
    KvCache cache(model->spec(), static_cast<int64_t>(ids.size()),
                  model->weights().embed.options());
    for (size_t begin = 0; begin < ids.size(); begin += 5) {
      const size_t end = std::min(begin + 5, ids.size());
      TokenBatch batch;
      for (size_t i = begin; i < end; ++i) {
        batch.token_ids.push_back(ids[i]);
        batch.positions.push_back(static_cast<int64_t>(i));
      }
      batch.prefill_rows = batch.row_count();
      Segment& segment = batch.segments.emplace_back();
      segment.linear_count = batch.row_count();
      segment.cache = &cache;
      const at::Tensor hidden =
          model->decoder().Forward(batch, {batch.row_count() - 1});
      cache.Advance(batch.row_count());
      const at::Tensor logits = model->decoder().Unembed(hidden, {});
      EXPECT_LE(MaxAbsDifference(
                    logits, whole.narrow(0, static_cast<int64_t>(end) - 1, 1)),
                1e-11);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, DecoderGoldenTest,
                         testing::ValuesIn(GoldenNames("models")),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace dissonance
