#include "src/lab/interp/train_probes.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "src/lab/tensors/safetensors_reader.h"
#include "tests/lab/interp/fake_network.h"

namespace dissonance {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;

// `count` questions, every second about the false facts.
std::string Questions(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    const bool conflict = i % 2 == 0;
    absl::StrAppend(
        &text, R"({"id": "q)", i, R"(", "category": ")",
        conflict ? "conflict" : "control", R"(", "difficulty": ")",
        i % 3 == 0 ? "hard" : "easy", R"(", "world_label": "true_world",)",
        R"( "size": )", i, R"(, "question": "Question )", i,
        R"(?", "options": {"A": "a", "B": "b", "C": "c", "D": "d"},)",
        R"( "correct_answer": "A")", conflict ? R"(, "false_answer": "B")" : "",
        "}\n");
  }
  return text;
}

v1::JobSpec Spec(const std::string& data,
                 std::vector<v1::LabelSource> sources) {
  v1::JobSpec spec;
  v1::TrainProbesSpec& probes = *spec.mutable_train_probes();
  *probes.mutable_variants() = BaseAndAdapter();
  probes.set_data(data);
  probes.set_data_name("rows.jsonl");
  probes.mutable_options()->set_fold_count(2);
  for (const v1::LabelSource source : sources) {
    probes.add_targets()->set_source(source);
  }
  return spec;
}

struct Ran {
  FakeNetwork network;
  FakeJob job;
  absl::Status status;
};

Ran RunOnce(const v1::JobSpec& spec) {
  Ran ran;
  FakeFinishedJobs jobs;
  TrainProbes kind(ran.network, jobs);
  ran.status = kind.Run(spec, ran.job);
  return ran;
}

nlohmann::json Json(const FakeJob& job, const std::string& name) {
  return nlohmann::json::parse(job.outputs.at(name));
}

TEST(TrainProbesTest, WritesFiguresByTargetVariantAndPlace) {
  const Ran ran =
      RunOnce(Spec(Questions(12), {v1::LABEL_SOURCE_CATEGORY_CONFLICT}));
  ASSERT_TRUE(ran.status.ok()) << ran.status;
  const nlohmann::json probes = Json(ran.job, "probes.json");
  const nlohmann::json& place =
      probes["category_conflict"]["a"]["blocks.1.resid_post"];
  EXPECT_EQ(place["status"], "SIGNAL");
  EXPECT_EQ(place["n"], 5);
  EXPECT_TRUE(
      probes["category_conflict"]["base"].contains("blocks.0.resid_post"));
  EXPECT_EQ(ran.network.trained.size(), 1u) << "one call";
  EXPECT_EQ(ran.network.trained[0].component_count(), 2);
  EXPECT_EQ(ran.network.trained[0].targets(0).labels(0).classes(0), 1);
  EXPECT_EQ(ran.network.trained[0].targets(0).labels(0).classes(1), 0);
  EXPECT_TRUE(ran.network.trained[0].inputs(0).has_tokens())
      << "asked as an evaluation asks";
  for (const char* name :
       {"probes.jsonl", "folds.json", "decisions.jsonl", "auc.csv",
        "auc.vl.json", "pca.jsonl", "pca.csv", "pca.vl.json", "pca.json",
        "summary.json", "manifest.json"}) {
    EXPECT_THAT(ran.job.outputs, Contains(Key(name)));
  }
  EXPECT_THAT(ran.job.outputs, Not(Contains(Key("transfer.csv"))));
  EXPECT_THAT(ran.job.run_outputs, ElementsAre("manifest.json"));
  const nlohmann::json manifest = Json(ran.job, "manifest.json");
  EXPECT_EQ(manifest["options"]["method"], "logistic");
  EXPECT_EQ(manifest["options"]["permutation_count"], nullptr);
}

TEST(TrainProbesTest, TheGateIsLowerAgainstHardQuestions) {
  const std::string questions =
      absl::StrReplaceAll(Questions(12), {{"control", "nonconflict_hard"}});
  const Ran ran = RunOnce(Spec(questions, {v1::LABEL_SOURCE_CATEGORY_CONFLICT,
                                           v1::LABEL_SOURCE_CONFLICT_VS_HARD}));
  ASSERT_TRUE(ran.status.ok()) << ran.status;
  const nlohmann::json targets = Json(ran.job, "summary.json")["targets"];
  const auto pass_above = [&targets](const char* target) {
    return targets[target]["gates"]["internal_signal"]["pass_above"];
  };
  EXPECT_EQ(pass_above("category_conflict"), 0.7);
  EXPECT_EQ(pass_above("conflict_vs_hard"), 0.65);
}

TEST(TrainProbesTest, SaysThatRowsHaveNoGroup) {
  const Ran ran =
      RunOnce(Spec(Questions(12), {v1::LABEL_SOURCE_CATEGORY_CONFLICT}));
  ASSERT_TRUE(ran.status.ok()) << ran.status;
  constexpr char kText[] =
      "12 rows, no `group` and no `fact`: paraphrases may straddle folds";
  EXPECT_THAT(ran.job.log, Contains(kText));
  const nlohmann::json rows = Json(ran.job, "summary.json")["rows"];
  EXPECT_EQ(rows["text"], kText);
  EXPECT_EQ(rows["count"], 12);
  EXPECT_EQ(rows["group_count"], 0);
}

TEST(TrainProbesTest, AGateStandsBesideWhatItsPlaceSays) {
  const Ran ran =
      RunOnce(Spec(Questions(12), {v1::LABEL_SOURCE_CATEGORY_CONFLICT}));
  ASSERT_TRUE(ran.status.ok()) << ran.status;
  const nlohmann::json target =
      Json(ran.job, "summary.json")["targets"]["category_conflict"];
  const nlohmann::json& best = target["best"];
  const nlohmann::json place = Json(
      ran.job,
      "probes.json")["category_conflict"][best["variant"].get<std::string>()]
                    [best["place"].get<std::string>()];
  EXPECT_TRUE(place["status"].is_string()) << place;
  EXPECT_EQ(best["status"], place["status"]);
  const nlohmann::json& gate = target["gates"]["internal_signal"];
  EXPECT_EQ(gate["place_status"], place["status"]);
  EXPECT_EQ(gate["place_p_value"], place["p_value"]);
}

TEST(TrainProbesTest, SeveralClassesHaveNoFileOfDecisions) {
  std::string rows;
  for (int i = 0; i < 12; ++i) {
    absl::StrAppend(&rows, R"({"prompt": "p", "rest": )", i % 3, "}\n");
  }
  v1::JobSpec spec = Spec(rows, {v1::LABEL_SOURCE_FIELD});
  spec.mutable_train_probes()->mutable_targets(0)->set_field("rest");
  const Ran ran = RunOnce(spec);
  ASSERT_TRUE(ran.status.ok()) << ran.status;
  EXPECT_THAT(ran.job.outputs, Not(Contains(Key("decisions.jsonl"))));
}

TEST(TrainProbesTest, WeightsAreReadableByTheNameOfTheProbe) {
  const Ran ran =
      RunOnce(Spec(Questions(12), {v1::LABEL_SOURCE_CATEGORY_CONFLICT}));
  ASSERT_TRUE(ran.status.ok()) << ran.status;
  absl::StatusOr<TensorFile> file = TensorFile::Parse(
      ran.job.outputs.at("probes.safetensors"), "probes.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  constexpr char kName[] = "category_conflict.1.blocks.1.resid_post.c0.1";
  EXPECT_TRUE(file->Read(absl::StrCat(kName, ".direction")).ok());
  EXPECT_TRUE(file->Read(absl::StrCat(kName, ".weight")).ok());
  const nlohmann::json probes =
      nlohmann::json::parse(file->metadata().at("probes"));
  EXPECT_EQ(probes[kName]["norm"], 2);
  EXPECT_EQ(probes[kName]["target"], "category_conflict");
  EXPECT_EQ(probes[kName]["c"], 0.1);
}

TEST(TrainProbesTest, StrengthsThatDifferLittleHaveNamesOfTheirOwn) {
  v1::JobSpec spec = Spec(Questions(12), {v1::LABEL_SOURCE_CATEGORY_CONFLICT});
  for (const double c : {0.1, 0.1234567, 0.12345671}) {
    spec.mutable_train_probes()->mutable_options()->add_c_values(c);
  }
  const Ran ran = RunOnce(spec);
  ASSERT_TRUE(ran.status.ok()) << ran.status;
  const nlohmann::json own =
      Json(ran.job, "probes.json")["category_conflict"]["base"];
  EXPECT_EQ(own.size(), 6u) << "two blocks";
  EXPECT_TRUE(own.contains("blocks.0.resid_post.c0.1")) << own;
  EXPECT_TRUE(own.contains("blocks.0.resid_post.c0.12345671")) << own;
  absl::StatusOr<TensorFile> file = TensorFile::Parse(
      ran.job.outputs.at("probes.safetensors"), "probes.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->Read("category_conflict.0.blocks.0.resid_post.c0.1234567"
                         ".direction")
                  .ok());
}

TEST(TrainProbesTest, TheMapHasTheColumnsOfThePlaceThatHasMost) {
  v1::JobSpec spec = Spec(Questions(12), {v1::LABEL_SOURCE_CATEGORY_CONFLICT});
  spec.mutable_train_probes()->add_sites(v1::SITE_RESID_POST);
  spec.mutable_train_probes()->add_sites(v1::SITE_FINAL_NORM);
  spec.mutable_train_probes()->set_component_count(3);
  const Ran ran = RunOnce(spec);
  ASSERT_TRUE(ran.status.ok()) << ran.status;
  EXPECT_THAT(ran.job.outputs.at("pca.csv"),
              HasSubstr("class_category_conflict,pc1,pc2,pc3\n"));
}

TEST(TrainProbesTest, ALostWorkerChangesNoByte) {
  v1::JobSpec spec = Spec(Questions(24), {v1::LABEL_SOURCE_CATEGORY_CONFLICT,
                                          v1::LABEL_SOURCE_ANSWERED_FALSE});
  spec.mutable_train_probes()->add_sites(v1::SITE_RESID_POST);
  spec.mutable_train_probes()->add_sites(v1::SITE_FINAL_NORM);
  const Ran whole = RunOnce(spec);
  ASSERT_TRUE(whole.status.ok()) << whole.status;

  FakeNetwork network;
  FakeFinishedJobs jobs;
  FakeJob job;
  TrainProbes kind(network, jobs);
  EXPECT_GE(RunThroughLosses(kind, spec, network, job), 3);
  EXPECT_EQ(job.outputs, whole.job.outputs);
  EXPECT_EQ(job.items, whole.job.items);
}

TEST(TrainProbesTest, AWorkerWithLittleMemoryIsAskedForFewerPlacesAtATime) {
  v1::JobSpec spec = Spec(Questions(24), {v1::LABEL_SOURCE_CATEGORY_CONFLICT,
                                          v1::LABEL_SOURCE_ANSWERED_FALSE});
  spec.mutable_train_probes()->add_sites(v1::SITE_RESID_PRE);
  spec.mutable_train_probes()->add_sites(v1::SITE_RESID_POST);
  const Ran whole = RunOnce(spec);
  ASSERT_TRUE(whole.status.ok()) << whole.status;

  FakeNetwork network;
  network.most_places = 1;
  FakeFinishedJobs jobs;
  FakeJob job;
  const absl::Status status = TrainProbes(network, jobs).Run(spec, job);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(network.trained.size(), 6u) << "of 4, 2, and each alone";
  EXPECT_EQ(job.outputs, whole.job.outputs);

  network.most_places = 0;
  FakeJob none;
  EXPECT_TRUE(
      absl::IsResourceExhausted(TrainProbes(network, jobs).Run(spec, none)));
}

TEST(TrainProbesTest, AResumedAttemptAsksOnlyForThePlacesThatAreMissing) {
  const v1::JobSpec spec =
      Spec(Questions(12), {v1::LABEL_SOURCE_CATEGORY_CONFLICT});
  FakeNetwork network;
  FakeFinishedJobs jobs;
  FakeJob job;
  TrainProbes kind(network, jobs);
  network.messages_left = 3;  // both networks are asked, one place is trained
  EXPECT_TRUE(absl::IsUnavailable(kind.Run(spec, job)));
  ASSERT_EQ(job.items.size(), 1u);
  network.messages_left = -1;
  ASSERT_TRUE(kind.Run(spec, job).ok());
  EXPECT_THAT(network.trained.back().blocks(), ElementsAre(1));
}

TEST(TrainProbesTest, WhatTheVariantsAnswerIsAskedOnceAndFittedForEach) {
  const Ran ran =
      RunOnce(Spec(Questions(40), {v1::LABEL_SOURCE_ANSWERED_FALSE}));
  ASSERT_TRUE(ran.status.ok()) << ran.status;
  EXPECT_EQ(ran.network.answers.requests.size(), 5u) << "8 questions each";
  const v1::ProbeTarget& target = ran.network.trained[0].targets(0);
  ASSERT_EQ(target.labels_size(), ran.network.trained[0].variants_size());
  EXPECT_EQ(target.labels(0).classes(1), -1) << "a control is left out";
}

TEST(TrainProbesTest, AVariantThatAnswersOneWayIsLeftOutAndSaidSo) {
  v1::JobSpec spec = Spec(Questions(12), {v1::LABEL_SOURCE_CATEGORY_CONFLICT,
                                          v1::LABEL_SOURCE_ANSWERED_FALSE});
  FakeNetwork network;
  network.answers.logprob = -1;  // ties: always A, the true answer
  FakeFinishedJobs jobs;
  FakeJob job;
  ASSERT_TRUE(TrainProbes(network, jobs).Run(spec, job).ok());
  EXPECT_EQ(network.trained[0].targets_size(), 1);
  const nlohmann::json summary = Json(job, "summary.json");
  EXPECT_EQ(summary["skipped"].size(), 2u);
  EXPECT_EQ(summary["skipped"][0]["target"], "answered_false");

  spec = Spec(Questions(12), {v1::LABEL_SOURCE_ANSWERED_FALSE});
  FakeJob alone;
  const absl::Status status = TrainProbes(network, jobs).Run(spec, alone);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
}

TEST(TrainProbesTest, AnswersThatAFoldLacksAreLeftOutAndSaidSo) {
  v1::JobSpec spec = Spec(Questions(40), {v1::LABEL_SOURCE_ANSWERED_FALSE});
  const Ran first = RunOnce(spec);
  ASSERT_TRUE(first.status.ok()) << first.status;
  const v1::ProbeLabels answered =
      first.network.trained[0].targets(0).labels(0);

  // What was answered falsely is in one fold, all else in both.
  spec = Spec(Questions(40), {v1::LABEL_SOURCE_CATEGORY_CONFLICT,
                              v1::LABEL_SOURCE_ANSWERED_FALSE});
  for (int i = 0; i < answered.classes_size(); ++i) {
    spec.mutable_train_probes()->mutable_options()->add_fold_of_input(
        answered.classes(i) == 1 ? 0 : i / 2 % 2);
  }
  const Ran ran = RunOnce(spec);
  ASSERT_TRUE(ran.status.ok()) << ran.status;
  EXPECT_EQ(ran.network.trained[0].targets(0).name(), "category_conflict");
  const nlohmann::json skipped = Json(ran.job, "summary.json")["skipped"][0];
  EXPECT_EQ(skipped["target"], "answered_false");
  EXPECT_THAT(skipped["reason"], HasSubstr("every fold needs some"));
}

TEST(TrainProbesTest, GroupsThatLeaveAFoldWithoutAClassAreRefusedAtOnce) {
  std::string rows;
  const auto add = [&rows](int count, int group, const char* label) {
    for (int i = 0; i < count; ++i) {
      absl::StrAppend(&rows, R"({"prompt": "p", "group": "g)", group,
                      R"(", "side": ")", label, "\"}\n");
    }
  };
  add(20, 1, "b");
  for (const int group : {2, 3}) {
    add(1, group, "a");
    add(1, group, "b");
  }
  add(18, 4, "a");
  v1::JobSpec spec = Spec(rows, {v1::LABEL_SOURCE_FIELD});
  spec.mutable_train_probes()->mutable_targets(0)->set_field("side");
  spec.mutable_train_probes()->mutable_options()->set_fold_count(3);
  FakeNetwork network;
  FakeFinishedJobs jobs;
  const absl::Status status = TrainProbes(network, jobs).Validate(spec);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(status.message(),
              HasSubstr("targets[0] (side): fold 0 has 0 of 20 inputs"));
}

TEST(TrainProbesTest, ANetworkThatChangedIsRefused) {
  const v1::JobSpec spec =
      Spec(Questions(12), {v1::LABEL_SOURCE_CATEGORY_CONFLICT});
  FakeNetwork network;
  FakeFinishedJobs jobs;
  FakeJob job;
  TrainProbes kind(network, jobs);
  network.messages_left = 3;
  EXPECT_TRUE(absl::IsUnavailable(kind.Run(spec, job)));
  network.messages_left = -1;
  network.answers.adapter_digest = "sha256:other";
  EXPECT_TRUE(absl::IsFailedPrecondition(kind.Run(spec, job)));
}

struct BadSpec {
  std::string message;
  v1::JobSpec spec;
};

std::vector<BadSpec> BadSpecs() {
  const std::vector<v1::LabelSource> conflict = {
      v1::LABEL_SOURCE_CATEGORY_CONFLICT};
  std::vector<BadSpec> bad;
  const auto add = [&bad](const char* message, v1::JobSpec spec) {
    bad.push_back({message, std::move(spec)});
    return bad.back().spec.mutable_train_probes();
  };
  add("targets: expected 1 to 16", Spec(Questions(12), {}));
  add("rows.jsonl:1: not JSON", Spec("{", conflict));
  add("targets[0] (category_conflict): class 0 has 2 rows, fewer than the 3",
      Spec(Questions(5), conflict))
      ->mutable_options()
      ->set_fold_count(3);
  add("all 6 labelled rows are of class 1",
      Spec(Questions(6), {v1::LABEL_SOURCE_WORLD_LABEL_TRUE}));
  v1::TrainProbesSpec* alone =
      add("options.transfer: tests the probes of one network on another's rows",
          Spec(Questions(12), conflict));
  alone->mutable_variants()->RemoveLast();
  alone->mutable_options()->set_transfer(true);
  add("answered_false needs multiple-choice questions",
      Spec(R"({"prompt": "x"})", {v1::LABEL_SOURCE_ANSWERED_FALSE}));
  add("no row has a label \"colour\"; there are category, correct_answer",
      Spec(Questions(12), {v1::LABEL_SOURCE_FIELD}))
      ->mutable_targets(0)
      ->set_field("colour");
  add("targets[0].source: no row has a label \"category\"; there are none",
      Spec(R"({"prompt": "x"})", conflict));
  v1::LabelRule* rule = add("values[1]: \"late\" is the label of no row",
                            Spec(Questions(12), {v1::LABEL_SOURCE_FIELD}))
                            ->mutable_targets(0);
  rule->set_field("difficulty");
  rule->add_values("hard");
  rule->add_values("late");
  v1::TrainProbesSpec* ridge =
      add("rows.jsonl:1: difficulty: \"hard\" is not a number",
          Spec(Questions(12), {v1::LABEL_SOURCE_FIELD}));
  ridge->mutable_targets(0)->set_field("difficulty");
  ridge->mutable_options()->set_method(v1::PROBE_METHOD_RIDGE);
  add("targets[1]: has the name \"category_conflict\"",
      Spec(Questions(12), {conflict[0], conflict[0]}));
  add("blocks[0]: the model has blocks 0 to 1, not 2",
      Spec(Questions(12), conflict))
      ->add_blocks(2);
  add("sites[0]: logits is not possible", Spec(Questions(12), conflict))
      ->add_sites(v1::SITE_LOGITS);
  add("component_count: expected 2 to 5", Spec(Questions(12), conflict))
      ->set_component_count(9);
  add("variants: expected 1 to 16, found 0", Spec(Questions(12), conflict))
      ->clear_variants();
  const auto options = [&](const char* message) {
    return add(message, Spec(Questions(12), conflict))->mutable_options();
  };
  options("options.c_values[0]: expected more than 0")->add_c_values(0);
  options("options.c_values[0]: expected")->add_c_values(1e7);
  options("options.c_values[0]: expected more than 0, at most 1e6, found nan")
      ->add_c_values(std::nan(""));
  v1::ProbeOptions* twice = options("options.c_values[0]: 0.5 is given twice");
  twice->add_c_values(0.5);
  twice->add_c_values(0.5);
  options("options.permutation_count: expected 0 to 10000, found -1")
      ->set_permutation_count(-1);
  options("options.bootstrap_count: expected 0 to 10000, found 10001")
      ->set_bootstrap_count(10001);
  options("options.test_fraction: expected 0 to 0.5, found 0.6")
      ->set_test_fraction(0.6);
  v1::ProbeOptions* lda = options("options.shrinkage: expected more than 0");
  lda->set_method(v1::PROBE_METHOD_LDA);
  lda->set_shrinkage(0);
  v1::TrainProbesSpec* three =
      add("there are 12 classes, and mass_mean and",
          Spec(Questions(12), {v1::LABEL_SOURCE_FIELD}));
  three->mutable_targets(0)->set_field("size");
  three->mutable_options()->set_method(v1::PROBE_METHOD_MASS_MEAN);
  add("options.fold_of_input: expected one for each of 12",
      Spec(Questions(12), conflict))
      ->mutable_options()
      ->add_fold_of_input(1);
  return bad;
}

TEST(TrainProbesTest, BadSpecsAreRefusedBeforeAnythingIsComputed) {
  FakeNetwork network;
  FakeFinishedJobs jobs;
  TrainProbes kind(network, jobs);
  for (const BadSpec& bad : BadSpecs()) {
    const absl::Status status = kind.Validate(bad.spec);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bad.message << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.message));
  }
  EXPECT_TRUE(network.captured.empty());
}

}  // namespace
}  // namespace dissonance
