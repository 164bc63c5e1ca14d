// Kept prefixes: the bits of a prompt that was computed, for the same network
// and the same tokens only.
#include "src/compute/engine/prefix_store.h"

#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

class PrefixStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadGoldenModel(ReadGolden("models/llama").directory + "/model",
                             at::kFloat);
    ASSERT_NE(model_, nullptr);
  }

  static std::vector<int32_t> Tokens(int64_t count, int32_t first) {
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    std::iota(tokens.begin(), tokens.end(), first);
    return tokens;
  }

  KvCache NewCache() const {
    return {model_->spec(), 64, model_->weights().embed.options()};
  }

  // A cache whose keys and values count from `value`.
  KvCache Filled(int64_t tokens, float value) const {
    KvCache cache = NewCache();
    const DecoderSpec& spec = model_->spec();
    for (int64_t block = 0; block < spec.block_count(); ++block) {
      const at::Tensor rows =
          at::full({tokens, spec.kv_head_count, spec.head_dim},
                   value + static_cast<float>(block));
      cache.Append(block, rows, rows);
    }
    cache.Advance(tokens);
    return cache;
  }

  int64_t TileBytes() const { return KvCache::BytesFor(model_->spec(), 8, 4); }

  std::shared_ptr<const Model> model_;
};

TEST_F(PrefixStoreTest, GivesWholeTilesOfTheSameBeginning) {
  PrefixStore store(1 << 30, 8);
  const std::vector<int32_t> tokens = Tokens(20, 0);
  store.Keep("a", tokens, Filled(20, 1.0F));
  EXPECT_EQ(store.bytes(), 2 * TileBytes());
  EXPECT_EQ(store.Held("a", tokens), 16);
  EXPECT_EQ(store.Held("a", Tokens(7, 0)), 0);
  EXPECT_EQ(store.Held("b", tokens), 0);
  std::vector<int32_t> other = tokens;
  other[9] = 99;
  EXPECT_EQ(store.Held("a", other), 8);
  other = tokens;
  other[0] = 99;
  EXPECT_EQ(store.Held("a", other), 0);

  KvCache cache = NewCache();
  EXPECT_EQ(store.Restore("a", tokens, cache), 16);
  EXPECT_EQ(cache.length(), 16);
  EXPECT_TRUE(cache.Keys(1, 16).equal(Filled(20, 1.0F).Keys(1, 16)));
}

// The same tokens behind another beginning are another tile.
TEST_F(PrefixStoreTest, ATileBelongsToWhatIsBeforeIt) {
  PrefixStore store(1 << 30, 8);
  std::vector<int32_t> first = Tokens(16, 0);
  std::vector<int32_t> second = Tokens(16, 0);
  second[0] = 77;
  store.Keep("a", first, Filled(16, 1.0F));
  store.Keep("a", second, Filled(16, 5.0F));
  KvCache cache = NewCache();
  EXPECT_EQ(store.Restore("a", second, cache), 16);
  EXPECT_TRUE(cache.Values(0, 16).equal(Filled(16, 5.0F).Values(0, 16)));
}

TEST_F(PrefixStoreTest, TheLeastRecentlyUsedGoesFirstAndEndsBeforeBeginnings) {
  PrefixStore store(3 * TileBytes(), 8);
  const std::vector<int32_t> old = Tokens(16, 0);
  const std::vector<int32_t> recent = Tokens(8, 100);
  store.Keep("a", old, Filled(16, 1.0F));
  store.Keep("a", recent, Filled(8, 2.0F));
  KvCache cache = NewCache();
  store.Restore("a", recent, cache);
  store.Keep("a", Tokens(8, 200), Filled(8, 3.0F));
  EXPECT_EQ(store.Held("a", old), 8);
  EXPECT_EQ(store.Held("a", recent), 8);
  EXPECT_EQ(store.bytes(), 3 * TileBytes());
  store.Clear();
  EXPECT_EQ(store.bytes(), 0);
  EXPECT_EQ(store.Held("a", recent), 0);
}

// Through the engine: what an adapter computed never serves another one.
TEST_F(PrefixStoreTest, APromptIsSharedByTheSameNetworkOnly) {
  const GoldenCase golden = ReadGolden("lora/llama_all_linear_r4");
  const auto adapter =
      LoraAdapter::Load(golden.directory + "/adapter", *model_);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  const EngineVariant base = {.model = model_};
  const EngineVariant adapted = {.model = model_, .adapter = *adapter};
  const GenerateTask task = {.prompt = Tokens(40, 3), .max_new_tokens = 4};
  Engine fresh({.attention_tile = 8});
  const GenerateResult expected = GenerateNow(fresh, adapted, task);

  Engine engine({.attention_tile = 8});
  const GenerateResult first = GenerateNow(engine, base, task);
  EXPECT_EQ(engine.stats().prefix_hit_token_count, 0);
  EXPECT_GT(engine.stats().prefix_bytes, 0);
  const GenerateResult again = GenerateNow(engine, base, task);
  EXPECT_EQ(engine.stats().prefix_hit_token_count, 32);
  EXPECT_EQ(again.logprobs, first.logprobs);
  const GenerateResult other = GenerateNow(engine, adapted, task);
  EXPECT_EQ(engine.stats().prefix_hit_token_count, 32);
  EXPECT_EQ(other.logprobs, expected.logprobs);
  EXPECT_NE(other.logprobs, first.logprobs);
  engine.ForgetPrefixes();
  engine.Step();
  EXPECT_EQ(engine.stats().prefix_bytes, 0);
}

}  // namespace
}  // namespace dissonance
