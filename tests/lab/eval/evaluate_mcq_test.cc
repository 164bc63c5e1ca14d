#include "src/lab/eval/evaluate_mcq.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/json_lines.h"
#include "src/base/sha256.h"
#include "src/lab/eval/mcq_files.h"
#include "tests/lab/eval/fake_compute.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr int kQuestions = 11;

std::string Data(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    nlohmann::json item = {
        {"id", absl::StrCat("q", i)},
        {"category", i % 3 == 0 ? "conflict" : "nonconflict_easy"},
        {"question", absl::StrCat("Question ", i, "?")},
        {"options",
         {{"A", absl::StrCat("α", i)},
          {"B", absl::StrCat("beta ", i)},
          {"C", absl::StrCat("γγ", i)},
          {"D", absl::StrCat("d", i)}}},
        {"correct_answer", "A"}};
    if (i % 3 == 0) {
      item["world_label"] = "true_world";
      item["false_answer"] = "B";
      item["difficulty"] = "hard";
    }
    text += ToJsonLine(item);
  }
  return text;
}

v1::JobSpec Spec(int variants = 2) {
  v1::JobSpec spec;
  v1::EvaluateMcqSpec* mcq = spec.mutable_evaluate_mcq();
  for (int i = 0; i < variants; ++i) {
    v1::Variant* variant = mcq->add_variants();
    variant->set_model("models/m");
    if (i > 0) variant->set_adapter(absl::StrCat("models/m/adapters/a", i));
  }
  mcq->set_data(Data(kQuestions));
  mcq->set_data_name("questions.jsonl");
  return spec;
}

// Outputs of an evaluation that nothing interrupts.
std::map<std::string, std::string> Outputs(const v1::JobSpec& spec,
                                           int batch_size = 8) {
  FakeCompute compute;
  FakeJob job;
  EvaluateMcq kind(compute, {.questions_per_batch = batch_size});
  const absl::Status status = kind.Run(spec, job);
  EXPECT_TRUE(status.ok()) << status;
  return job.outputs;
}

std::vector<nlohmann::json> Lines(const std::string& text) {
  absl::StatusOr<std::vector<JsonLine>> lines = ParseJsonLines(text, "output");
  EXPECT_TRUE(lines.ok()) << lines.status();
  std::vector<nlohmann::json> values;
  for (JsonLine& line : *lines) values.push_back(std::move(line.value));
  return values;
}

TEST(EvaluateMcqTest, AsksInPlainTextWhereThereIsNoChatTemplate) {
  FakeCompute compute;
  compute.has_chat_template = false;
  FakeJob job;
  const absl::Status status = EvaluateMcq(compute, {}).Run(Spec(), job);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(job.log,
              ::testing::Contains(HasSubstr("models/m has no chat template")));
  EXPECT_THAT(compute.requests[0].items(0).prompt().text(),
              ::testing::EndsWith("\nAnswer:"));
  const nlohmann::json prompt = Lines(job.outputs["eval_prompts.jsonl"])[0];
  EXPECT_EQ(prompt["full_prompt_text"],
            compute.requests[0].items(0).prompt().text());
  EXPECT_EQ(prompt["decision_position"], prompt["tokens"].size() - 1);
  EXPECT_THAT(prompt["full_prompt_text"].get<std::string>(),
              HasSubstr(prompt["question"].get<std::string>()));
  EXPECT_EQ(prompt["options"].size(), 4U);
  const auto manifest = nlohmann::json::parse(job.outputs["manifest.json"]);
  EXPECT_EQ(manifest["prompt_format"]["chat"], false);
}

TEST(EvaluateMcqTest, WritesTheFilesOfBothVariants) {
  const auto outputs = Outputs(Spec());
  std::vector<std::string> names;
  for (const auto& [name, contents] : outputs) names.push_back(name);
  EXPECT_THAT(names,
              UnorderedElementsAre(
                  "predictions_base.jsonl", "predictions_lora.jsonl",
                  "comparison_report.json", "behavioral_shift_analysis.txt",
                  "summary.json", "eval_prompts.jsonl", "manifest.json"));
  const auto base = Lines(outputs.at("predictions_base.jsonl"));
  ASSERT_EQ(base.size(), static_cast<size_t>(kQuestions));
  std::vector<std::string> fields;
  for (const auto& [key, value] : base[0].items()) fields.push_back(key);
  EXPECT_THAT(fields,
              ElementsAre("category", "correct", "difficulty", "entropy",
                          "false_answer", "id", "is_correct", "logprobs",
                          "model", "p_correct", "pred", "probs", "scoring",
                          "scoring_variants", "uncertainty", "world_label"));
  EXPECT_EQ(base[0]["model"], "models/m");
  EXPECT_EQ(base[0]["scoring"], "letter_variants");
  EXPECT_TRUE(base[1]["world_label"].is_null());
  EXPECT_EQ(Lines(outputs.at("predictions_lora.jsonl"))[0]["model"],
            "models/m/adapters/a1");
}

TEST(EvaluateMcqTest, ScoresAreWhatTheWorkerSaid) {
  const auto outputs = Outputs(Spec());
  const auto lora = Lines(outputs.at("predictions_lora.jsonl"));
  const auto prompts = Lines(outputs.at("eval_prompts.jsonl"));
  for (int i = 0; i < kQuestions; ++i) {
    const std::string key =
        absl::StrCat("models/m|models/m/adapters/a1||",
                     prompts[i]["full_prompt_text"].get<std::string>(), "|");
    double sum = 0;
    for (const char* variant : {"C", " C", "\nC", "\n C"}) {
      sum += std::exp(FakeLogProb(key + variant));
    }
    EXPECT_NEAR(lora[i]["logprobs"]["C"].get<double>(), std::log(sum), 1e-12);
  }
}

TEST(EvaluateMcqTest, PerByteScoresDivideByTheBytesOfTheOptionsText) {
  v1::JobSpec spec = Spec(1);
  spec.mutable_evaluate_mcq()->set_scoring(v1::MCQ_SCORING_OPTION_TEXT);
  const auto whole = Lines(Outputs(spec).at("predictions_base.jsonl"));
  spec.mutable_evaluate_mcq()->set_scoring(
      v1::MCQ_SCORING_OPTION_TEXT_PER_BYTE);
  const auto per_byte = Lines(Outputs(spec).at("predictions_base.jsonl"));
  // "γγ0": two letters of two bytes and a digit.
  EXPECT_NEAR(per_byte[0]["logprobs"]["C"].get<double>(),
              whole[0]["logprobs"]["C"].get<double>() / 5, 1e-12);
  EXPECT_NEAR(per_byte[0]["logprobs"]["B"].get<double>(),
              whole[0]["logprobs"]["B"].get<double>() / 6, 1e-12);
}

TEST(EvaluateMcqTest, PromptsEndAtTheDecisionPosition) {
  const auto prompts = Lines(Outputs(Spec()).at("eval_prompts.jsonl"));
  for (const nlohmann::json& prompt : prompts) {
    EXPECT_EQ(prompt["decision_position"].get<size_t>() + 1,
              prompt["tokens"].size());
    EXPECT_THAT(prompt["full_prompt_text"].get<std::string>(),
                ::testing::EndsWith("Answer:<end><assistant>"));
  }
}

TEST(EvaluateMcqTest, BatchSizeChangesNoByte) {
  v1::JobSpec spec = Spec();
  spec.mutable_evaluate_mcq()->set_mc_dropout_sample_count(3);
  const auto whole = Outputs(spec);
  for (int batch_size = 1; batch_size <= kQuestions + 1; ++batch_size) {
    EXPECT_EQ(Outputs(spec, batch_size), whole) << batch_size;
  }
}

TEST(EvaluateMcqTest, ResumedAtAnyRequestGivesTheSameBytes) {
  v1::JobSpec spec = Spec();
  spec.mutable_evaluate_mcq()->set_mc_dropout_sample_count(2);
  const auto whole = Outputs(spec);
  for (const int batch_size : {1, 2, 4}) {
    for (size_t fail_at = 0;; ++fail_at) {
      FakeCompute compute;
      compute.fail_at = fail_at;
      FakeJob job;
      EvaluateMcq kind(compute, {.questions_per_batch = batch_size});
      const absl::Status first = kind.Run(spec, job);
      if (first.ok()) break;  // more failures than requests
      EXPECT_EQ(first.code(), absl::StatusCode::kUnavailable);
      EXPECT_TRUE(job.outputs.empty());
      const size_t recorded = job.items.size();

      FakeCompute restarted;
      EvaluateMcq again(restarted);
      ASSERT_TRUE(again.Run(spec, job).ok());
      EXPECT_EQ(job.outputs, whole) << batch_size << " " << fail_at;
      ASSERT_FALSE(restarted.requests.empty());
      EXPECT_EQ(restarted.requests[0].items(0).prompt().id(),
                absl::StrCat("q", recorded));
    }
  }
}

TEST(EvaluateMcqTest, ResumedAfterAnyWriteGivesTheSameBytes) {
  const v1::JobSpec spec = Spec();
  const auto whole = Outputs(spec);
  for (int writes = 0;; ++writes) {
    FakeCompute compute;
    EvaluateMcq kind(compute, {.questions_per_batch = 1});
    FakeJob job;
    job.writes_left = writes;
    const absl::Status first = kind.Run(spec, job);
    if (first.ok()) {
      EXPECT_EQ(writes, kQuestions + 7);
      break;
    }
    EXPECT_EQ(first.code(), absl::StatusCode::kResourceExhausted);
    job.writes_left.reset();
    ASSERT_TRUE(kind.Run(spec, job).ok());
    EXPECT_EQ(job.outputs, whole) << writes;
  }
}

TEST(EvaluateMcqTest, AllQuestionsRecordedNeedsNoCompute) {
  FakeCompute compute;
  EvaluateMcq kind(compute);
  FakeJob job;
  ASSERT_TRUE(kind.Run(Spec(), job).ok());
  const auto whole = job.outputs;
  job.outputs.clear();
  FakeCompute gone;
  gone.fail_at = 0;
  ASSERT_TRUE(EvaluateMcq(gone).Run(Spec(), job).ok());
  EXPECT_EQ(job.outputs, whole);
}

TEST(EvaluateMcqTest, ProgressIsBatchByBatchWithAllVariantsInOneRequest) {
  FakeCompute compute;
  FakeJob job;
  ASSERT_TRUE(EvaluateMcq(compute).Run(Spec(3), job).ok());
  EXPECT_THAT(job.done_counts, ElementsAre(8, kQuestions));
  ASSERT_EQ(compute.requests.size(), 2u);
  EXPECT_EQ(compute.requests[0].variants_size(), 3);
  EXPECT_EQ(compute.requests[0].items_size(), 8);
  EXPECT_EQ(compute.requests[0].items(0).continuations_size(), 16);
  EXPECT_FALSE(compute.requests[0].has_dropout());
}

TEST(EvaluateMcqTest, DropoutIsSampledForAdaptersOnly) {
  v1::JobSpec spec = Spec();
  spec.mutable_evaluate_mcq()->set_mc_dropout_sample_count(5);
  spec.mutable_evaluate_mcq()->set_seed(7);
  FakeCompute compute;
  FakeJob job;
  ASSERT_TRUE(EvaluateMcq(compute).Run(spec, job).ok());
  ASSERT_EQ(compute.requests.size(), 4u);
  const v1::ScoreRequest& dropout = compute.requests[1];
  EXPECT_EQ(dropout.dropout().sample_count(), 5);
  EXPECT_EQ(dropout.dropout().seed(), 7u);
  ASSERT_EQ(dropout.variants_size(), 1);
  EXPECT_EQ(dropout.variants(0).adapter(), "models/m/adapters/a1");
  EXPECT_EQ(dropout.items(0).prompt().id(), "q0");
  for (const auto& line : Lines(job.outputs.at("predictions_base.jsonl"))) {
    EXPECT_EQ(line["uncertainty"]["MI"], 0.0);
    EXPECT_EQ(line["uncertainty"]["H_mean"], line["entropy"]);
    EXPECT_EQ(line["uncertainty"]["E_H"], line["entropy"]);
  }
  for (const auto& line : Lines(job.outputs.at("predictions_lora.jsonl"))) {
    const auto& u = line["uncertainty"];
    EXPECT_GT(u["MI"].get<double>(), 0.0);
    EXPECT_NEAR(u["MI"].get<double>(),
                u["H_mean"].get<double>() - u["E_H"].get<double>(), 1e-15);
  }
  // The answer itself is the network's without dropout.
  const auto plain = Lines(Outputs(Spec()).at("predictions_lora.jsonl"));
  EXPECT_EQ(Lines(job.outputs.at("predictions_lora.jsonl"))[3]["probs"],
            plain[3]["probs"]);
}

TEST(EvaluateMcqTest, ManySamplesMakeSmallBatches) {
  v1::JobSpec spec = Spec();
  spec.mutable_evaluate_mcq()->set_mc_dropout_sample_count(1000);
  FakeCompute compute;
  FakeJob job;
  ASSERT_TRUE(EvaluateMcq(compute).Run(spec, job).ok());
  EXPECT_EQ(compute.requests[1].items_size(), 1);
}

TEST(EvaluateMcqTest, OneVariantHasNoComparison) {
  const auto outputs = Outputs(Spec(1));
  EXPECT_EQ(outputs.count("predictions_base.jsonl"), 1u);
  EXPECT_EQ(outputs.count("summary.json"), 1u);
  EXPECT_EQ(outputs.count("comparison_report.json"), 0u);
  EXPECT_EQ(outputs.count("behavioral_shift_analysis.txt"), 0u);
}

TEST(EvaluateMcqTest, FurtherVariantsAreComparedWithTheFirst) {
  const auto outputs = Outputs(Spec(3));
  const auto offline =
      ComparePredictionFiles({outputs.at("predictions_base.jsonl"), "a"},
                             {outputs.at("predictions_2.jsonl"), "b"});
  ASSERT_TRUE(offline.ok()) << offline.status();
  EXPECT_EQ(outputs.at("comparison_report_2.json"), ComparisonReport(*offline));
  EXPECT_EQ(outputs.count("behavioral_shift_analysis_2.txt"), 1u);
}

TEST(EvaluateMcqTest, OfflineComparisonEqualsTheJobs) {
  const auto outputs = Outputs(Spec());
  const auto offline =
      ComparePredictionFiles({outputs.at("predictions_base.jsonl"), "a"},
                             {outputs.at("predictions_lora.jsonl"), "b"});
  ASSERT_TRUE(offline.ok()) << offline.status();
  EXPECT_EQ(outputs.at("comparison_report.json"), ComparisonReport(*offline));
  const auto items = ParseMcqData(Data(kQuestions), "data");
  EXPECT_EQ(outputs.at("behavioral_shift_analysis.txt"),
            ShiftAnalysis(*offline, *items));
}

TEST(EvaluateMcqTest, ManifestHasTheDigestsAndProvenance) {
  const auto outputs = Outputs(Spec());
  const auto manifest = ParseJson(outputs.at("manifest.json"), "manifest");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  for (const auto& [name, contents] : outputs) {
    if (name == "manifest.json") continue;
    EXPECT_EQ((*manifest)["files"][name]["sha256"], Sha256Of(contents));
  }
  EXPECT_EQ((*manifest)["data"]["sha256"], Sha256Of(Data(kQuestions)));
  const auto& adapter = (*manifest)["variants"][1];
  EXPECT_EQ(adapter["adapter"], "models/m/adapters/a1");
  EXPECT_EQ(adapter["provenance"]["adapter_digest"], "sha256:adapter");
  EXPECT_EQ(adapter["provenance"]["dtype"], "DTYPE_FLOAT32");
}

TEST(EvaluateMcqTest, CancelledBetweenBatchesKeepsTheRecords) {
  FakeCompute compute;
  FakeJob job;
  job.is_cancelled = true;
  EXPECT_EQ(EvaluateMcq(compute).Run(Spec(), job).code(),
            absl::StatusCode::kCancelled);
  EXPECT_TRUE(compute.requests.empty());
}

TEST(EvaluateMcqTest, AReplacedAdapterIsNotMixedIn) {
  FakeCompute compute;
  compute.fail_at = 1;
  FakeJob job;
  ASSERT_FALSE(EvaluateMcq(compute).Run(Spec(), job).ok());
  ASSERT_EQ(job.items.size(), 8u);
  FakeCompute replaced;
  replaced.adapter_digest = "sha256:other";
  const absl::Status status = EvaluateMcq(replaced).Run(Spec(), job);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("models/m/adapters/a1 changed after 8 questions"));
  EXPECT_EQ(job.items.size(), 8u);
}

TEST(EvaluateMcqTest, WhatAnotherLibraryVersionComputesIsNotMixedIn) {
  FakeCompute compute;
  compute.fail_at = 1;
  FakeJob job;
  ASSERT_FALSE(EvaluateMcq(compute).Run(Spec(), job).ok());
  FakeCompute upgraded;
  upgraded.libtorch = "9.9";
  const absl::Status status = EvaluateMcq(upgraded).Run(Spec(), job);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("libtorch 2.11.0 became 9.9"));
}

TEST(EvaluateMcqTest, ANetworkThatAnsweredNothingBlocksNoRetry) {
  FakeCompute compute;
  FakeJob job;
  job.writes_left = 0;
  ASSERT_FALSE(EvaluateMcq(compute).Run(Spec(), job).ok());
  ASSERT_FALSE(job.job().provenance().empty());
  job.writes_left = std::nullopt;
  FakeCompute replaced;
  replaced.adapter_digest = "sha256:other";
  const absl::Status status = EvaluateMcq(replaced).Run(Spec(), job);
  EXPECT_TRUE(status.ok()) << status;
}

TEST(EvaluateMcqTest, AQuestionTooLongForTheModelEndsTheJobBeforeTheOthersRun) {
  FakeCompute compute;
  compute.max_positions = 1500;
  v1::JobSpec spec = Spec();
  const std::string last = "\"id\":\"long\"";
  spec.mutable_evaluate_mcq()->mutable_data()->append(absl::StrCat(
      "{", last, R"(,"category":"conflict","world_label":"true_world",)",
      R"("difficulty":"hard","question":")", std::string(2000, 'x'),
      R"(","options":{"A":"1","B":"2","C":"3","D":"4"},)",
      R"("correct_answer":"A"})", "\n"));
  FakeJob job;
  const absl::Status status = EvaluateMcq(compute).Run(spec, job);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("question long"));
  EXPECT_TRUE(job.items.empty());
}

TEST(EvaluateMcqTest, ScoresThatAreNotFiniteFailTheJob) {
  FakeCompute compute;
  compute.logprob = std::numeric_limits<double>::quiet_NaN();
  FakeJob job;
  const absl::Status status = EvaluateMcq(compute).Run(Spec(), job);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("question q0, option A: log-probability is nan"));
  EXPECT_TRUE(job.items.empty());
}

TEST(EvaluateMcqTest, LettersThatShareTheirFirstTokenAreRefused) {
  v1::JobSpec spec = Spec();
  spec.mutable_evaluate_mcq()->set_scoring(v1::MCQ_SCORING_LETTER_FIRST_TOKEN);
  FakeCompute compute;
  FakeJob job;
  EXPECT_TRUE(EvaluateMcq(compute).Run(spec, job).ok());
  compute.token_id = 3;
  FakeJob other;
  EXPECT_EQ(EvaluateMcq(compute).Run(spec, other).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(EvaluateMcqTest, DamagedRecordsAreDataLoss) {
  FakeCompute compute;
  FakeJob whole;
  ASSERT_TRUE(EvaluateMcq(compute).Run(Spec(), whole).ok());
  for (const std::string& damaged :
       std::vector<std::string>{"{", "{\"id\":\"q1\"}", whole.items[2]}) {
    FakeJob job = whole;
    job.items[1] = damaged;
    EXPECT_EQ(EvaluateMcq(compute).Run(Spec(), job).code(),
              absl::StatusCode::kDataLoss);
  }
}

struct BadSpec {
  std::string name;
  void (*change)(v1::EvaluateMcqSpec&);
  absl::StatusCode code;
  std::string message;
};

class EvaluateMcqBadSpecTest : public ::testing::TestWithParam<BadSpec> {};

TEST_P(EvaluateMcqBadSpecTest, IsRefusedBeforeAnyCompute) {
  v1::JobSpec spec = Spec();
  GetParam().change(*spec.mutable_evaluate_mcq());
  FakeCompute compute;
  const absl::Status status = EvaluateMcq(compute).Validate(spec);
  EXPECT_EQ(status.code(), GetParam().code);
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().message));
  EXPECT_TRUE(compute.requests.empty());
}

INSTANTIATE_TEST_SUITE_P(
    Fields, EvaluateMcqBadSpecTest,
    ::testing::Values(
        BadSpec{"NoVariants", [](auto& s) { s.clear_variants(); },
                absl::StatusCode::kInvalidArgument,
                "evaluate_mcq.variants: expected 1 to 16, found 0"},
        BadSpec{"BadData", [](auto& s) { s.set_data("\n{}\n"); },
                absl::StatusCode::kInvalidArgument,
                "questions.jsonl:2: id: missing"},
        BadSpec{"NoData", [](auto& s) { s.clear_data(); },
                absl::StatusCode::kInvalidArgument, "holds no questions"},
        BadSpec{"TooMuchData",
                [](auto& s) { s.set_data(std::string((16 << 20) + 1, ' ')); },
                absl::StatusCode::kInvalidArgument, "at most 16777216"},
        BadSpec{"LongDataName",
                [](auto& s) { s.set_data_name(std::string(256, 'n')); },
                absl::StatusCode::kInvalidArgument, "256 bytes; at most 255"},
        BadSpec{"TooManySamples",
                [](auto& s) { s.set_mc_dropout_sample_count(1001); },
                absl::StatusCode::kInvalidArgument,
                "mc_dropout_sample_count: expected 0 to 1000, found 1001"},
        BadSpec{"NegativeSamples",
                [](auto& s) { s.set_mc_dropout_sample_count(-1); },
                absl::StatusCode::kInvalidArgument, "found -1"},
        BadSpec{"UnknownScoring",
                [](auto& s) { s.set_scoring(static_cast<v1::McqScoring>(9)); },
                absl::StatusCode::kInvalidArgument,
                "evaluate_mcq.scoring: this server knows no scoring 9"},
        BadSpec{"UnknownModel",
                [](auto& s) { s.mutable_variants(1)->set_model("models/x"); },
                absl::StatusCode::kNotFound,
                "evaluate_mcq.variants[1]: models/x: no such model"}),
    [](const auto& info) { return info.param.name; });

TEST(EvaluateMcqTest, AGoodSpecIsValidAndOtherKindsAreNot) {
  FakeCompute compute;
  EvaluateMcq kind(compute);
  EXPECT_TRUE(kind.Validate(Spec()).ok());
  EXPECT_EQ(kind.Validate(v1::JobSpec()).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dissonance
