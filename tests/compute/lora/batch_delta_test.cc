// The last block computes only the rows that are asked for. That must change
// no bit of them, whatever adapters and kinds of rows share the batch.
#include "src/compute/lora/batch_delta.h"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

class Watcher : public SiteVisitor {
 public:
  bool NeedsAllRows(int64_t) const override { return true; }
  void Visit(Site site, int64_t /*block*/, at::Tensor& x) override {
    if (site == Site::kMlpOut) mlp_rows = x.size(0);
  }
  int64_t mlp_rows = 0;  // of the last block
};

class NarrowingTest : public testing::Test {
 protected:
  static constexpr int64_t kRows = 60;

  NarrowingTest() {
    const GoldenCase golden = ReadGolden("lora/llama_all_linear_r4");
    model_ = LoadGoldenModel(
        ReadGolden("models/" + golden.config["base_model"].get<std::string>())
                .directory +
            "/model",
        at::kFloat);
    auto adapter = LoraAdapter::Load(golden.directory + "/adapter", *model_);
    EXPECT_TRUE(adapter.ok()) << adapter.status();
    adapter_ = *adapter;
    // Prompts of 30 and 20 rows, and 10 rows of the decode kind.
    for (const int64_t count : {30, 20, 10}) {
      Segment& segment = batch_.segments.emplace_back();
      segment.row_begin = batch_.row_count();
      segment.linear_count = count;
      for (int64_t i = 0; i < count; ++i) {
        batch_.token_ids.push_back(7 + i);
        batch_.positions.push_back(i);
      }
    }
    batch_.prefill_rows = 50;
  }

  AdapterRun Run(int64_t begin, int64_t count, bool is_prefill) const {
    AdapterRun run;
    run.row_begin = begin;
    run.row_count = count;
    run.is_prefill = is_prefill;
    run.adapter = adapter_;
    return run;
  }

  at::Tensor Forward(const std::vector<int64_t>& wanted,
                     const ForwardHooks& hooks) const {
    return model_->decoder().Forward(batch_, wanted, hooks);
  }

  std::shared_ptr<const Model> model_;
  std::shared_ptr<const LoraAdapter> adapter_;
  TokenBatch batch_;
};

TEST_F(NarrowingTest, WantedRowsAreTheSameBitsAsAmongAllRows) {
  // The first prompt is the base model's.
  const BatchDelta delta({Run(30, 20, true), Run(50, 10, false)},
                         /*reproducible=*/true);
  std::vector<int64_t> all(kRows);
  std::iota(all.begin(), all.end(), 0);
  const at::Tensor whole = Forward(all, {.delta = &delta});
  for (const std::vector<int64_t>& wanted :
       {std::vector<int64_t>{29}, {0, 29, 49, 59}, {30, 31}, {55}, {}}) {
    EXPECT_TRUE(Forward(wanted, {.delta = &delta})
                    .equal(whole.index_select(
                        0, at::tensor(wanted, at::kLong).to(whole.device()))))
        << wanted.size() << " rows";
  }
}

TEST_F(NarrowingTest, AWatchedPassComputesAllRowsWithTheSameResult) {
  const BatchDelta delta({Run(30, 20, true)}, /*reproducible=*/true);
  Watcher watcher;
  const at::Tensor watched =
      Forward({29, 49}, {.delta = &delta, .visitor = &watcher});
  EXPECT_EQ(watcher.mlp_rows, kRows);
  EXPECT_TRUE(watched.equal(Forward({29, 49}, {.delta = &delta})));
}

TEST_F(NarrowingTest, ActiveDropoutKeepsItsSegmentWhole) {
  const DropoutKey key{.value = 5};
  AdapterRun run = Run(30, 20, true);
  run.dropout = &key;
  const BatchDelta delta({run}, /*reproducible=*/true);
  ASSERT_GT(adapter_->dropout(), 0);
  EXPECT_EQ(delta.OnlyRows({49}), nullptr);
}

}  // namespace
}  // namespace dissonance
