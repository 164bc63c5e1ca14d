// Steering, ablation, projection, patching and the logit lens against
// transformers with hooks: in float32 within three times its own error, in
// float64 to the precision in which the expectations are stored.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "src/compute/interp/hook_plan.h"
#include "src/compute/lora/batch_delta.h"
#include "tests/testing/compute_goldens.h"

namespace dissonance {
namespace {

using nlohmann::json;

// Keeps one site of every block.
class Recorder final : public SiteVisitor {
 public:
  explicit Recorder(Site site) : site_(site) {}
  bool NeedsAllRows(int64_t) const override { return true; }
  void Visit(Site site, int64_t, at::Tensor& x) override {
    if (site == site_) rows.push_back(x.clone());
  }
  std::vector<at::Tensor> rows;  // of each block

 private:
  const Site site_;
};

// "blocks.3.attn.hook_z" or "blocks.3.hook_resid_post".
Intervention Where(const std::string& stored) {
  Intervention where;
  where.block = std::stoll(stored.substr(stored.find('.') + 1));
  for (const Site site :
       {Site::kZ, Site::kAttnOut, Site::kMlpOut, Site::kResidPost}) {
    if (absl::StrContains(stored, absl::StrCat("hook_", SiteName(site)))) {
      where.site = site;
    }
  }
  return where;
}

Positions::Kind KindOf(const std::string& mode) {
  if (mode == "all") return Positions::Kind::kAll;
  return mode == "generated" ? Positions::Kind::kGenerated
                             : Positions::Kind::kLastPrompt;
}

class SteeringGoldenTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    golden_ = ReadGolden("steering");
    model_ = LoadGoldenModel(ReadGolden("models/llama").directory + "/model",
                             GetParam());
    ASSERT_NE(model_, nullptr);
  }

  double Limit(const char* kind) const {
    return GetParam() == at::kDouble
               ? 2e-6
               : 3 * golden_.config["hf_fp32_max_abs_err"][kind].get<double>();
  }

  std::vector<int32_t> Prompt(int index) const {
    return golden_.config["steering"]["prompts"][static_cast<size_t>(index)];
  }

  std::shared_ptr<const Interventions> Ready(Interventions list) const {
    auto ready = PrepareInterventions(*model_, std::move(list));
    EXPECT_TRUE(ready.ok()) << ready.status();
    return *ready;
  }

  // What a case of the golden's steering does.
  std::shared_ptr<const Interventions> Steering(const json& each) const {
    const int64_t block = each["layer"];
    return Ready({{.site = Site::kResidPost,
                   .block = block,
                   .positions = Positions::Of(KindOf(each["mode"])),
                   .op = Intervention::Op::kAdd,
                   .vector = golden_.Tensor(absl::StrCat("vector.L", block)),
                   .coefficient = each["strength"]}});
  }

  // Logits [tokens, vocab] of one sequence with interventions.
  at::Tensor Logits(const std::vector<int32_t>& tokens, int64_t prompt_count,
                    const Interventions& list,
                    const ProjectionDelta* delta = nullptr) const {
    std::vector<int64_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), 0);
    HookPlan plan({{.row_begin = 0,
                    .positions = positions,
                    .prompt_count = prompt_count,
                    .interventions = &list}},
                  positions);
    return LogitsOf(*model_, tokens, {.delta = delta, .visitor = &plan});
  }

  double Difference(const at::Tensor& own, const std::string& name) const {
    const at::Tensor expected = golden_.Tensor(name);
    return MaxAbsDifference(own.reshape(expected.sizes()), expected);
  }

  GoldenCase golden_;
  std::shared_ptr<const Model> model_;
};

TEST_P(SteeringGoldenTest, SteersAtAllPromptAndGeneratedPositions) {
  for (const json& each : golden_.config["steering"]["cases"]) {
    const std::string name = each["name"];
    const auto steer = Steering(each);
    std::vector<int32_t> tokens = Prompt(each["prompt"]);
    const auto prompt_count = static_cast<int64_t>(tokens.size());
    const auto generated = each["gen_ids"].get<std::vector<int32_t>>();
    const at::Tensor prompt_logits = Logits(tokens, prompt_count, *steer);
    EXPECT_LE(Difference(prompt_logits[-1], name + ".prompt_logits_last"),
              Limit("steer_logits"))
        << name;
    // A generated token's own hook sees it when it is fed back.
    tokens.insert(tokens.end(), generated.begin(), generated.end() - 1);
    const at::Tensor logits = Logits(tokens, prompt_count, *steer);
    for (const int64_t step : {1, 23}) {
      if (step >= each["gen_valid_steps"]) continue;
      EXPECT_LE(Difference(logits[prompt_count - 1 + step],
                           absl::StrCat(name, ".gen_logits_step", step)),
                Limit("steer_gen_logits"))
          << name << " step " << step;
    }
  }
}

TEST_P(SteeringGoldenTest, GeneratesTheSameTokensInOneBatch) {
  Engine engine({});
  std::vector<std::pair<std::vector<int32_t>, GenerateResult>> results;
  const json& cases = golden_.config["steering"]["cases"];
  results.resize(cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    const json& each = cases[i];
    const auto steer = Steering(each);
    std::vector<int32_t> expected = each["gen_ids"];
    expected.resize(each["gen_valid_steps"].get<size_t>());
    results[i].first = expected;
    const auto submitted = engine.SubmitGenerate(
        {.model = model_, .interventions = steer},
        {.prompt = Prompt(each["prompt"]),
         .max_new_tokens = static_cast<int64_t>(expected.size()),
         .stop_tokens = {}},
        CollectInto(results[i].second));
    ASSERT_TRUE(submitted.ok()) << submitted.status();
  }
  while (engine.Step()) {
  }
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].second.tokens, results[i].first) << cases[i]["name"];
  }
}

TEST_P(SteeringGoldenTest, AblatesAndProjects) {
  int compared = 0;
  for (const json& each : golden_.config["ablation_and_projection"]["cases"]) {
    const std::string name = each["name"];
    const std::string op = each["op"];
    Interventions list;
    if (op == "project_out") {
      const at::Tensor direction = golden_.Tensor("proj.unit_vector");
      for (int64_t block = 0; block < model_->spec().block_count(); ++block) {
        const bool is_listed =
            absl::StrContains(name, "all_layers") ||
            absl::StrContains(name, absl::StrCat(".L", block, "."));
        if (!is_listed) continue;
        list.push_back({.site = Site::kResidPost,
                        .block = block,
                        .op = Intervention::Op::kProjectOut,
                        .vector = direction});
      }
    } else {
      Intervention& ablation = list.emplace_back(Where(each["site"]));
      ablation.op = Intervention::Op::kSet;
      if (each.contains("head") && !each["head"].is_null()) {
        ablation.head = each["head"].get<int64_t>();
      }
      // "mean.blocks.0.attn.hook_z[head]" says that the head's row is meant.
      const std::string mean =
          absl::StrCat("mean.", each["site"].get<std::string>());
      ablation.vector = golden_.Tensor(mean);
      if (ablation.vector.dim() == 2) {
        ablation.vector = ablation.vector[*ablation.head];
      }
      if (op == "zero") ablation.vector = ablation.vector * 0;
    }
    const std::vector<int32_t> tokens = Prompt(each["prompt"]);
    const at::Tensor logits = Logits(
        tokens, static_cast<int64_t>(tokens.size()), *Ready(std::move(list)));
    const double limit = Limit(op == "project_out" ? "projection" : "ablation");
    EXPECT_LE(Difference(logits[-1], name + ".logits_last"), limit) << name;
    if (golden_.expected->tensors().contains(name + ".logits")) {
      EXPECT_LE(Difference(logits, name + ".logits"), limit) << name;
    }
    ++compared;
  }
  EXPECT_GT(compared, 50);
}

TEST_P(SteeringGoldenTest, PatchesBaseActivationsIntoTheAdapter) {
  for (const json& each : golden_.config["patch_lora"]) {
    const std::vector<int32_t> tokens = Prompt(each["prompt"]);
    const auto count = static_cast<int64_t>(tokens.size());
    auto adapter = LoraAdapter::Load(
        ReadGolden("lora/llama_qkvo_r8").directory + "/adapter", *model_);
    ASSERT_TRUE(adapter.ok()) << adapter.status();
    AdapterRun run;
    run.row_count = count;
    run.adapter = *adapter;
    const BatchDelta delta({run}, /*reproducible=*/true);
    Recorder base(Site::kResidPost);
    LogitsOf(*model_, tokens, {.visitor = &base});
    std::vector<at::Tensor> patched;
    for (size_t block = 0; block < base.rows.size(); ++block) {
      const auto patch =
          Ready({{.site = Site::kResidPost,
                  .block = static_cast<int64_t>(block),
                  .positions = Positions::Of(Positions::Kind::kLastPrompt),
                  .op = Intervention::Op::kSet,
                  .vector = base.rows[block][-1]}});
      patched.push_back(
          Logits(tokens, count, *patch, &delta).narrow(0, count - 1, 1));
    }
    EXPECT_LE(Difference(at::cat(patched), each["name"]),
              Limit("patch_lora_last"));
  }
}

TEST_P(SteeringGoldenTest, PatchesEveryBlockAndPosition) {
  const json& grid = golden_.config["patch_grid"];
  const auto clean = grid["clean"].get<std::vector<int32_t>>();
  const auto corrupt = grid["corrupt"].get<std::vector<int32_t>>();
  const auto count = static_cast<int64_t>(corrupt.size());
  Recorder recorder(Site::kResidPost);
  LogitsOf(*model_, clean, {.visitor = &recorder});
  const at::Tensor expected = golden_.Tensor("patch_grid.logit_diff");
  for (int64_t block = 0; block < model_->spec().block_count(); ++block) {
    for (int64_t position = 0; position < count; ++position) {
      const auto patch = Ready(
          {{.site = Site::kResidPost,
            .block = block,
            .positions = Positions::Indices({position}),
            .op = Intervention::Op::kSet,
            .vector = recorder.rows[static_cast<size_t>(block)][position]}});
      const at::Tensor last = Logits(corrupt, count, *patch)[-1];
      const double difference =
          last[grid["token_a"].get<int64_t>()].item<double>() -
          last[grid["token_b"].get<int64_t>()].item<double>();
      EXPECT_NEAR(difference, expected[block][position].item<double>(),
                  Limit("patch_grid"))
          << block << " " << position;
    }
  }
}

TEST_P(SteeringGoldenTest, ReadsEveryBlockThroughTheLens) {
  for (int prompt = 0; prompt < 3; ++prompt) {
    Recorder before(Site::kResidPre);
    Recorder after(Site::kResidPost);
    LogitsOf(*model_, Prompt(prompt), {.visitor = &before});
    LogitsOf(*model_, Prompt(prompt), {.visitor = &after});
    std::vector<at::Tensor> last = {before.rows.front()[-1].unsqueeze(0)};
    for (const at::Tensor& rows : after.rows) {
      last.push_back(rows[-1].unsqueeze(0));
    }
    const at::Tensor logits = model_->decoder().Unembed(
        model_->decoder().FinalNorm(at::cat(last)), {});
    EXPECT_LE(Difference(logits, absl::StrCat("lens.prompt", prompt, ".last")),
              Limit("logit_lens"));
  }
}

INSTANTIATE_TEST_SUITE_P(Types, SteeringGoldenTest,
                         testing::Values(at::kFloat, at::kDouble),
                         [](const auto& info) {
                           return std::string(c10::toString(info.param));
                         });

}  // namespace
}  // namespace dissonance
