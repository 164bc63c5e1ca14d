#include "src/lab/interp/extract_activations.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "src/base/sha256.h"
#include "src/lab/interp/probes_plan.h"
#include "src/lab/interp/train_probes.h"
#include "src/lab/tensors/safetensors_reader.h"
#include "tests/lab/interp/fake_network.h"

namespace dissonance {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;

std::string Rows(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    absl::StrAppend(&text, R"({"id": "p)", i, R"(", "tokens": [1, )", i,
                    R"(], "labels": {"side": ")", i % 2 == 0 ? "left" : "right",
                    "\"}}\n");
  }
  return text;
}

v1::JobSpec Spec(int rows) {
  v1::JobSpec spec;
  v1::ExtractActivationsSpec& extract = *spec.mutable_extract_activations();
  *extract.mutable_variants() = BaseAndAdapter();
  extract.set_data(Rows(rows));
  extract.set_data_name("rows.jsonl");
  extract.mutable_capture()->add_sites(v1::SITE_RESID_POST);
  return spec;
}

// Two places of three doubles: 48 bytes a prompt.
constexpr ExtractActivations::Options kFourPromptsAShard = {.shard_bytes = 192};

nlohmann::json Json(const FakeJob& job, const std::string& name) {
  return nlohmann::json::parse(job.outputs.at(name));
}

TEST(ExtractActivationsTest, EachVariantHasAFolderOfShards) {
  FakeNetwork network;
  FakeJob job;
  ASSERT_TRUE(
      ExtractActivations(network, kFourPromptsAShard).Run(Spec(6), job).ok());
  for (const char* name :
       {"base/activations-00000.safetensors",
        "base/activations-00001.safetensors", "base/metadata.jsonl",
        "a/activations-00001.safetensors", "a/manifest.json",
        "manifest.json"}) {
    EXPECT_THAT(job.outputs, Contains(Key(name)));
  }
  const nlohmann::json manifest = Json(job, "a/manifest.json");
  EXPECT_EQ(manifest["row_count"], 6);
  EXPECT_EQ(manifest["shards"][1]["first_row"], 4);
  EXPECT_EQ(manifest["shards"][1]["sha256"],
            Sha256Of(job.outputs.at("a/activations-00001.safetensors")));
  EXPECT_EQ(manifest["places"][0]["hf_hidden_states_index"], 1);
  EXPECT_EQ(manifest["provenance"]["adapter_digest"], "sha256:adapter");
  absl::StatusOr<TensorFile> file = TensorFile::Parse(
      job.outputs.at("a/activations-00000.safetensors"), "shard");
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::StatusOr<v1::Tensor> rows = file->Read("blocks.1.resid_post");
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_THAT(rows->shape(), ElementsAre(4, 3));
  const std::string& metadata = job.outputs.at("base/metadata.jsonl");
  const auto line =
      nlohmann::json::parse(metadata.substr(0, metadata.find('\n')));
  EXPECT_EQ(line["id"], "p0");
  EXPECT_EQ(line["labels"]["side"], "left");
  EXPECT_EQ(line["row"], 0);
}

TEST(ExtractActivationsTest, WithoutPositionsTheDecisionTokenIsCaptured) {
  FakeNetwork network;
  FakeJob job;
  ASSERT_TRUE(ExtractActivations(network).Run(Spec(2), job).ok());
  EXPECT_EQ(network.captured.back().capture().positions().set(),
            v1::POSITION_SET_LAST_PROMPT);
}

TEST(ExtractActivationsTest, ALostWorkerChangesNoByte) {
  FakeNetwork network;
  FakeJob whole;
  ExtractActivations kind(network, kFourPromptsAShard);
  ASSERT_TRUE(kind.Run(Spec(10), whole).ok());
  FakeJob job;
  EXPECT_GE(RunThroughLosses(kind, Spec(10), network, job), 3);
  EXPECT_EQ(job.outputs, whole.outputs);
  EXPECT_EQ(job.items, whole.items);
}

TEST(ExtractActivationsTest, AResumedAttemptCapturesOnlyWhatIsMissing) {
  FakeNetwork network;
  FakeJob job;
  ExtractActivations kind(network, kFourPromptsAShard);
  network.messages_left = 8;  // two to ask the networks, then 6 of 10 prompts
  EXPECT_TRUE(absl::IsUnavailable(kind.Run(Spec(10), job)));
  ASSERT_EQ(job.items.size(), 1u);
  network.messages_left = -1;
  network.captured.clear();
  ASSERT_TRUE(kind.Run(Spec(10), job).ok());
  ASSERT_GE(network.captured.size(), 2u);
  EXPECT_EQ(network.captured[1].inputs(0).id(), "p4");
}

TEST(ExtractActivationsTest, ANetworkThatChangedIsRefused) {
  FakeNetwork network;
  FakeJob job;
  ExtractActivations kind(network, kFourPromptsAShard);
  network.messages_left = 8;
  EXPECT_TRUE(absl::IsUnavailable(kind.Run(Spec(10), job)));
  network.messages_left = -1;
  network.answers.libtorch = "9";
  EXPECT_TRUE(absl::IsFailedPrecondition(kind.Run(Spec(10), job)));
}

TEST(ExtractActivationsTest, BadSpecsAreRefusedBeforeAnythingIsComputed) {
  std::vector<std::pair<std::string, v1::JobSpec>> cases;
  const auto add = [&](const char* message) {
    cases.emplace_back(message, Spec(3));
    return cases.back().second.mutable_extract_activations();
  };
  add("capture.sites: none")->clear_capture();
  add("pattern is not possible here")
      ->mutable_capture()
      ->add_sites(v1::SITE_PATTERN);
  add("blocks[0]: the model has blocks 0 to 1, not 7")
      ->mutable_capture()
      ->add_blocks(7);
  v1::CaptureSpec* mean =
      add("capture.positions: say which positions are averaged")
          ->mutable_capture();
  mean->clear_positions();
  mean->set_reduction(v1::REDUCTION_MEAN);
  add("rows.jsonl:1: not JSON")->set_data("{");
  add("variants: expected 1 to 16, found 0")->clear_variants();
  FakeNetwork network;
  ExtractActivations kind(network);
  for (const auto& [message, bad] : cases) {
    const absl::Status status = kind.Validate(bad);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << message << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  EXPECT_TRUE(network.captured.empty());
}

// The files of an extraction as another job finds them.
struct Extracted {
  FakeFinishedJobs jobs;
  v1::JobSpec probes;
};

Extracted Extract(FakeNetwork& network, int rows) {
  FakeJob job;
  const v1::JobSpec spec = Spec(rows);
  EXPECT_TRUE(
      ExtractActivations(network, kFourPromptsAShard).Run(spec, job).ok());
  Extracted extracted;
  v1::Job& stored = extracted.jobs.jobs["jobs/e"];
  stored = job.job();
  stored.set_name("jobs/e");
  stored.set_state(v1::JOB_STATE_SUCCEEDED);
  *stored.mutable_spec() = spec;
  for (const auto& [name, contents] : job.outputs) {
    stored.add_outputs()->set_file_name(name);
    extracted.jobs.files[name] = contents;
  }
  v1::TrainProbesSpec& probes = *extracted.probes.mutable_train_probes();
  probes.set_activations_job("jobs/e");
  probes.mutable_options()->set_fold_count(2);
  v1::LabelRule& rule = *probes.add_targets();
  rule.set_source(v1::LABEL_SOURCE_FIELD);
  rule.set_field("side");
  return extracted;
}

TEST(ExtractActivationsTest, ProbesAreTrainedOnItsFilesPlaceByPlace) {
  FakeNetwork network;
  Extracted extracted = Extract(network, 10);
  TrainProbes kind(network, extracted.jobs);
  ASSERT_TRUE(kind.Validate(extracted.probes).ok());
  FakeJob job;
  network.captured.clear();
  ASSERT_TRUE(kind.Run(extracted.probes, job).ok());
  EXPECT_TRUE(network.captured.empty()) << "nothing is captured again";
  ASSERT_EQ(network.trained.size(), 2u) << "a call for each block";
  const v1::TrainProbesRequest& request = network.trained[1];
  ASSERT_EQ(request.activations_size(), 2);
  EXPECT_THAT(request.activations(1).places(0).rows().shape(),
              ElementsAre(10, 3));
  EXPECT_EQ(request.targets(0).labels(0).classes(0), 0) << "left";
  const nlohmann::json probes = Json(job, "probes.json");
  EXPECT_TRUE(probes["side"]["a"].contains("blocks.1.resid_post"));
  EXPECT_EQ(job.job().provenance(1).adapter_digest(), "sha256:adapter");
}

TEST(ExtractActivationsTest, ProbesAskQuestionsAsTheExtractionDid) {
  FakeNetwork network;
  Extracted extracted = Extract(network, 10);
  v1::ExtractActivationsSpec& source = *extracted.jobs.jobs["jobs/e"]
                                            .mutable_spec()
                                            ->mutable_extract_activations();
  source.set_scoring(v1::MCQ_SCORING_OPTION_TEXT);
  v1::TrainProbesSpec& probes = *extracted.probes.mutable_train_probes();
  // Prompts are not asked in any way.
  probes.set_scoring(v1::MCQ_SCORING_CLOZE);
  EXPECT_TRUE(MakeProbesPlan(extracted.probes, extracted.jobs).ok());
  std::string questions;
  for (int i = 0; i < 10; ++i) {
    absl::StrAppend(&questions, R"({"id": "q)", i, R"(", "category": "c",)",
                    R"( "side": ")", i % 2 == 0 ? "left" : "right", R"(",)",
                    R"( "question": "?", "correct_answer": "A", "options":)",
                    R"( {"A": "a", "B": "b", "C": "c", "D": "d"}})", "\n");
  }
  source.set_data(questions);
  probes.clear_scoring();
  const auto plan = MakeProbesPlan(extracted.probes, extracted.jobs);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->scoring, v1::MCQ_SCORING_OPTION_TEXT);
  probes.set_scoring(v1::MCQ_SCORING_CLOZE);
  const absl::Status other =
      MakeProbesPlan(extracted.probes, extracted.jobs).status();
  EXPECT_TRUE(absl::IsInvalidArgument(other)) << other;
  EXPECT_THAT(std::string(other.message()),
              HasSubstr("train_probes.scoring: the questions of jobs/e were "
                        "asked as option_text, not as cloze"));
}

TEST(ExtractActivationsTest, RowsThatFillMoreThanAMessageAreRefused) {
  FakeNetwork network;
  Extracted extracted = Extract(network, 10);
  // 10 rows of 3 numbers of 8 bytes, of two variants.
  TrainProbes fits(network, extracted.jobs, {.rows_bytes = 480});
  EXPECT_TRUE(fits.Validate(extracted.probes).ok());
  TrainProbes kind(network, extracted.jobs, {.rows_bytes = 479});
  const absl::Status status = kind.Validate(extracted.probes);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("of jobs/e take 480 bytes, at most 479 can be sent"));
}

TEST(ExtractActivationsTest, ProbesOfAJobThatDoesNotFitAreRefused) {
  FakeNetwork network;
  Extracted extracted = Extract(network, 10);
  TrainProbes kind(network, extracted.jobs);
  v1::Job& job = extracted.jobs.jobs["jobs/e"];
  const auto message = [&] {
    return std::string(kind.Validate(extracted.probes).message());
  };
  job.set_state(v1::JOB_STATE_RUNNING);
  EXPECT_THAT(message(),
              HasSubstr("activations_job: jobs/e has not succeeded"));
  job.set_state(v1::JOB_STATE_SUCCEEDED);
  job.mutable_spec()
      ->mutable_extract_activations()
      ->mutable_capture()
      ->mutable_positions()
      ->set_set(v1::POSITION_SET_ALL);
  EXPECT_THAT(message(), HasSubstr("has several rows of an input"));
  extracted.probes.mutable_train_probes()->add_blocks(0);
  EXPECT_THAT(message(), HasSubstr("are that job's; leave them out"));
  extracted.probes.mutable_train_probes()->clear_blocks();
  extracted.probes.mutable_train_probes()->set_activations_job("jobs/none");
  EXPECT_TRUE(absl::IsNotFound(kind.Validate(extracted.probes)));
}

}  // namespace
}  // namespace dissonance
