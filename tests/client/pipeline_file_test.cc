#include "client/cli/pipeline_file.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/base/file.h"
#include "tests/testing/temp_folder.h"

namespace dissonance::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PipelineFileTest : public ::testing::Test {
 protected:
  absl::StatusOr<v1::PipelineSpec> Read(const std::string& text) {
    const std::string path = folder_.path() + "/p.toml";
    EXPECT_TRUE(WriteFileAtomically(path, text).ok());
    return ReadPipelineFile(
        path, [this](const std::string& sent, const std::string& bytes) {
          sent_.push_back(sent);
          EXPECT_GT(bytes.size(), 16U << 20);
          return std::string("artifacts/sha256:1");
        });
  }
  std::string Refusal(const std::string& text) {
    const absl::Status status = Read(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    return std::string(status.message());
  }
  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(folder_.path() + "/" + name, text).ok());
  }

  TempFolder folder_;
  std::vector<std::string> sent_;
};

TEST_F(PipelineFileTest, ReadsStagesWithNetworksFilesAndOtherStages) {
  Write("mcqs.jsonl", "{}\n");
  const auto spec = Read(R"(
title = "T"
[networks.tuned]
model = "m"
adapter = "a"
[[stages]]
name = "mcq"
gates = ["behaviour"]
[stages.evaluate_mcq]
variants = ["tuned", { model = "models/m" }]
data = "mcqs.jsonl"
scoring = "option_text"
seed = 7
[[stages]]
name = "probes"
[stages.train_probes]
activations_job = { stage = "acts" }
positions = "last_prompt"
options = { c_values = [0.1, 1], test_fraction = 0.0, transfer = true }
[[stages]]
name = "steer"
[stages.steering_sweep]
variant = "tuned"
data = { stage = "docs", file = "rows.jsonl" }
directions = [{ label = "truth", stage = "fit" }, { vector = { direction = "x" } }]
[[stages]]
name = "acts"
[stages.extract_activations]
[[stages]]
name = "docs"
[stages.generate_documents]
[[stages]]
name = "fit"
[stages.fit_directions]
)");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->title(), "T");
  ASSERT_EQ(spec->stages_size(), 6);
  EXPECT_EQ(spec->stages(0).gates(0), v1::GATE_BEHAVIOUR);
  const v1::EvaluateMcqSpec& mcq = spec->stages(0).spec().evaluate_mcq();
  EXPECT_EQ(mcq.variants(0).adapter(), "models/m/adapters/a");
  EXPECT_EQ(mcq.variants(1).model(), "models/m");
  EXPECT_EQ(mcq.data(), "{}\n");
  EXPECT_EQ(mcq.data_name(), "mcqs.jsonl");
  EXPECT_EQ(mcq.scoring(), v1::MCQ_SCORING_OPTION_TEXT);
  EXPECT_EQ(mcq.seed(), 7U);
  const v1::TrainProbesSpec& probes = spec->stages(1).spec().train_probes();
  EXPECT_EQ(probes.positions().set(), v1::POSITION_SET_LAST_PROMPT);
  EXPECT_THAT(probes.options().c_values(), ElementsAre(0.1, 1));
  EXPECT_TRUE(probes.options().has_test_fraction());
  EXPECT_EQ(spec->stages(1).inputs(0).field(), "train_probes.activations_job");
  EXPECT_EQ(spec->stages(1).inputs(0).stage(), "acts");
  const v1::PipelineStage& steer = spec->stages(2);
  ASSERT_EQ(steer.inputs_size(), 2);
  EXPECT_EQ(steer.inputs(0).field(), "steering_sweep.data_artifact");
  EXPECT_EQ(steer.inputs(0).file(), "rows.jsonl");
  EXPECT_EQ(steer.inputs(1).field(), "steering_sweep.directions[0]");
  const v1::SteeringSweepSpec& sweep = steer.spec().steering_sweep();
  EXPECT_EQ(sweep.variant().adapter(), "models/m/adapters/a");
  EXPECT_EQ(sweep.directions(0).label(), "truth");
  EXPECT_EQ(sweep.directions(1).vector().direction(), "directions/x");
}

TEST_F(PipelineFileTest, LargeFilesAreSentApart) {
  Write("large.jsonl", std::string((16 << 20) + 1, ' '));
  const auto spec = Read(
      "[[stages]]\nname = 'm'\n[stages.evaluate_mcq]\ndata = 'large.jsonl'\n");
  ASSERT_TRUE(spec.ok()) << spec.status();
  const v1::EvaluateMcqSpec& mcq = spec->stages(0).spec().evaluate_mcq();
  EXPECT_EQ(mcq.data_artifact(), "artifacts/sha256:1");
  EXPECT_TRUE(mcq.data().empty());
  EXPECT_EQ(sent_.size(), 1U);
}

TEST_F(PipelineFileTest, SaysWhatIsWrongAndInWhichLine) {
  const std::string stage = "[[stages]]\nname = 'm'\n[stages.evaluate_mcq]\n";
  EXPECT_THAT(Refusal("x"), HasSubstr("p.toml:1: "));
  EXPECT_THAT(Refusal("title = 'x'"), HasSubstr("no [[stages]]"));
  EXPECT_THAT(Refusal("stage = 1"), HasSubstr("p.toml:1: there is no stage"));
  EXPECT_THAT(Refusal("title = 5"), HasSubstr("title is a text"));
  EXPECT_THAT(Refusal("force = 'yes'"), HasSubstr("force is true or false"));
  EXPECT_THAT(Refusal("networks = 3"), HasSubstr("networks are tables"));
  EXPECT_THAT(Refusal(stage + "data = { stage = 1 }\n"),
              HasSubstr("evaluate_mcq.data.stage is the name of a stage"));
  EXPECT_THAT(Refusal("[[stages]]\nname = 'm'\n"),
              HasSubstr("needs the table of its kind"));
  EXPECT_THAT(Refusal(stage + "[stages.judge]\n"), HasSubstr("of one kind"));
  EXPECT_THAT(Refusal(stage + "sed = 1\n"),
              HasSubstr("p.toml:4: evaluate_mcq: there is no sed; there are "
                        "variants, data"));
  EXPECT_THAT(Refusal(stage + "seed = 'a'\n"),
              HasSubstr("p.toml:4: evaluate_mcq.seed is a whole number"));
  EXPECT_THAT(Refusal(stage + "seed = -1\n"), HasSubstr("from 0"));
  EXPECT_THAT(Refusal(stage + "retries = 3000000000\n"),
              HasSubstr("evaluate_mcq.retries is a whole number"));
  EXPECT_THAT(Refusal(stage + "scoring = 'letter'\n"),
              HasSubstr("is one of letter_variants, "));
  EXPECT_THAT(Refusal(stage + "variants = 'base'\n"), HasSubstr("is a list"));
  EXPECT_THAT(Refusal(stage + "variants = ['base']\n"),
              HasSubstr("there is no [networks.base]"));
  EXPECT_THAT(Refusal(stage + "variants = [1]\n"),
              HasSubstr("evaluate_mcq.variants[0] is a table of model"));
  EXPECT_THAT(Refusal(stage + "data = 'none.jsonl'\n"),
              HasSubstr("none.jsonl"));
  EXPECT_THAT(Refusal(stage + "data = { stage = 'x' }\n"),
              HasSubstr("say which file of x"));
  EXPECT_THAT(Refusal(stage + "data = { stage = 'x', file = 'y' }\n"),
              HasSubstr("p.toml:4: there is no stage \"x\"; there are m"));
  EXPECT_THAT(Refusal("[[stages]]\nname = 'm'\n[stages.evalute_open]\n"),
              HasSubstr("p.toml:3: stage: there is no evalute_open; there are "
                        "name, gates and one of the kinds of jobs: "
                        "evaluate_mcq, "));
  EXPECT_THAT(Refusal("title = \"x\n"), HasSubstr("is a quote missing?"));
}

TEST_F(PipelineFileTest, WhatTheServerSaysOfAStageGetsItsLine) {
  const std::string path = folder_.path() + "/p.toml";
  Write("p.toml",
        "[[stages]]\nname = 'a'\n[[stages]]\nname = 'b'\n"
        "gates = ['causal']\n[stages.evaluate_mcq]\nseed = 1\n");
  const auto line = [&path](const std::string& what) {
    return std::string(
        AtItsLine(absl::InvalidArgumentError(what), path).message());
  };
  const std::string stage = "pipeline.stages[1] (b)";
  EXPECT_EQ(line(stage + ": waits"), path + ":3: " + stage + ": waits");
  EXPECT_THAT(line(stage + ".gates[0]: x"), HasSubstr("p.toml:5: pipeline."));
  EXPECT_THAT(line(stage + ": evaluate_mcq.seed: x"), HasSubstr("p.toml:7: "));
  EXPECT_THAT(line(stage + ": evaluate_mcq.data: x"), HasSubstr("p.toml:6: "));
  EXPECT_THAT(line("pipeline.stages[1].name: x"), HasSubstr("p.toml:4: "));
  EXPECT_EQ(line("pipeline.stages[7] (b): x"), "pipeline.stages[7] (b): x");
  EXPECT_EQ(line("the disk is full"), "the disk is full");
}

TEST_F(PipelineFileTest, TheShippedPipelinesCanBeRead) {
  for (const char* name : {"tiny_world.toml", "cubic_gravity.toml"}) {
    const auto spec = ReadPipelineFile(
        std::string(DISSONANCE_SOURCE_DIR) + "/data/pipelines/" + name,
        [](const std::string&, const std::string&) {
          return absl::InternalError("nothing is that large");
        });
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_GT(spec->stages_size(), 5);
  }
}

}  // namespace
}  // namespace dissonance::cli
