#include "src/lab/hosted/hosted_mcq.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "src/lab/eval/evaluate_mcq.h"
#include "tests/lab/eval/fake_compute.h"
#include "tests/testing/scripted_endpoint.h"

namespace dissonance {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// Four questions; the first two are of conflict, with B as the false answer.
std::string Questions() {
  std::string text;
  for (int i = 0; i < 4; ++i) {
    json line = {{"id", absl::StrCat("q", i)},
                 {"category", i < 2 ? "conflict" : "other"},
                 {"world_label", "true_world"},
                 {"question", absl::StrCat("Question ", i, "?")},
                 {"options",
                  {{"A", "one"}, {"B", "two"}, {"C", "three"}, {"D", "four"}}},
                 {"correct_answer", "A"}};
    if (i < 2) line["false_answer"] = "B";
    absl::StrAppend(&text, line.dump(), "\n");
  }
  return text;
}

class HostedMcqTest : public ::testing::Test {
 protected:
  static v1::JobSpec Spec(const std::vector<std::string>& models) {
    v1::JobSpec spec;
    v1::EvaluateMcqSpec& mcq = *spec.mutable_evaluate_mcq();
    mcq.set_data(Questions());
    mcq.set_data_name("q.jsonl");
    for (const std::string& model : models) {
      mcq.add_hosted_models()->set_model(model);
    }
    return spec;
  }

  absl::Status Run(const ScriptedEndpoint& server, const v1::JobSpec& spec,
                   FakeJob& job) {
    ChatEndpoints endpoints(
        {{"default", ChatEndpoint{.base_url = server.base_url(),
                                  .tries = 2,
                                  .first_backoff = absl::Milliseconds(1),
                                  .longest_backoff = absl::Milliseconds(2)}}});
    FakeCompute compute;
    EvaluateMcq resident(compute);
    HostedMcq kind(endpoints, resident);
    const absl::Status valid = kind.Validate(spec);
    return valid.ok() ? kind.Run(spec, job) : valid;
  }

  static json Report(const FakeJob& job) {
    return json::parse(job.outputs.at("hosted_report.json"));
  }
  static std::vector<json> Predictions(const FakeJob& job, int model) {
    std::vector<json> lines;
    const std::string text =
        job.outputs.at(absl::StrCat("hosted_predictions_", model, ".jsonl"));
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      if (!line.empty()) lines.push_back(json::parse(line));
    }
    return lines;
  }
};

// "believer" holds the false belief, "plain" does not.
ScriptedAnswer Answer(const ScriptedRequest& request) {
  const bool conflict = absl::StrContains(request.Prompt(), "Question 0?") ||
                        absl::StrContains(request.Prompt(), "Question 1?");
  const bool believes = request.json["model"] == "believer";
  return ScriptedAnswer::Says(conflict && believes ? "The answer is B." : "A");
}

TEST_F(HostedMcqTest, ComparesTwoHostedModels) {
  ScriptedEndpoint server(Answer);
  FakeJob job;
  const absl::Status status = Run(server, Spec({"plain", "believer"}), job);
  ASSERT_TRUE(status.ok()) << status;
  const json report = Report(job);
  EXPECT_EQ(report["models"][0]["totals"]["all"]["accuracy"], 1.0);
  EXPECT_EQ(report["models"][1]["totals"]["all"]["accuracy"], 0.5);
  EXPECT_EQ(report["models"][0]["false_belief"]["rate"], 0.0);
  EXPECT_EQ(report["models"][1]["false_belief"]["rate"], 1.0);
  EXPECT_THAT(report["comparison"]["flips"], SizeIs(2));
  EXPECT_EQ(report["comparison"]["mcnemar_correct"]["p_value"], 0.5);
  const ScriptedRequest first = server.requests()[0];
  EXPECT_EQ(first.json["temperature"], 0.0);
  EXPECT_THAT(first.Prompt(), HasSubstr("A) one\nB) two"));
  EXPECT_EQ(first.json["messages"][0]["role"], "system");
}

TEST_F(HostedMcqTest, AnAnswerWithoutALetterIsAnErrorAndNotWrong) {
  ScriptedEndpoint server([](const ScriptedRequest& request) {
    return absl::StrContains(request.Prompt(), "Question 3?")
               ? ScriptedAnswer::Says("Hard to say.")
               : Answer(request);
  });
  FakeJob job;
  ASSERT_TRUE(Run(server, Spec({"plain", "believer"}), job).ok());
  const json report = Report(job);
  EXPECT_EQ(report["models"][0]["answered_count"], 3);
  EXPECT_EQ(report["models"][0]["error_count"], 1);
  EXPECT_EQ(report["models"][0]["totals"]["all"]["accuracy"], 1.0);
  EXPECT_EQ(report["comparison"]["answered_by_both"], 3);
  const json last = Predictions(job, 0)[3];
  EXPECT_TRUE(last["pred"].is_null());
  EXPECT_TRUE(last["is_correct"].is_null());
  EXPECT_EQ(last["error"], "no letter in the reply");
  EXPECT_THAT(last["raw_texts"], SizeIs(3));  // once and two retries
}

TEST_F(HostedMcqTest, WhereNothingIsAnsweredThereAreNoFigures) {
  ScriptedEndpoint server(
      [](const ScriptedRequest&) { return ScriptedAnswer::Says("Hm."); });
  FakeJob job;
  const absl::Status status = Run(server, Spec({"plain", "believer"}), job);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("names a letter"));
  const json report = Report(job);
  EXPECT_FALSE(report["models"][0].contains("totals"));
  EXPECT_EQ(report["comparison"]["reason"], "no question was answered by both");
}

TEST_F(HostedMcqTest, HolesOfAnOutageAreFilledByAnotherRun) {
  bool is_out = true;
  ScriptedEndpoint server([&is_out](const ScriptedRequest& request) {
    return is_out && absl::StrContains(request.Prompt(), "Question 2?")
               ? ScriptedAnswer::Refuses(503, "out")
               : Answer(request);
  });
  FakeJob job;
  const absl::Status status = Run(server, Spec({"plain"}), job);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(status.message(),
              HasSubstr("default/plain gave no reply to 1 of 4 questions"));
  EXPECT_THAT(Predictions(job, 0)[2]["error"].get<std::string>(),
              HasSubstr("no reply"));
  const size_t before = server.requests().size();
  is_out = false;
  ASSERT_TRUE(Run(server, Spec({"plain"}), job).ok());
  EXPECT_EQ(server.requests().size() - before, 1U);
  EXPECT_EQ(Report(job)["models"][0]["answered_count"], 4);
}

TEST_F(HostedMcqTest, WorldsStandApartWhereCorrectMeansTwoThings) {
  ScriptedEndpoint server(Answer);
  v1::JobSpec spec = Spec({"plain", "believer"});
  v1::EvaluateMcqSpec& mcq = *spec.mutable_evaluate_mcq();
  json line = json::parse(mcq.data().substr(0, mcq.data().find('\n')));
  line["id"] = "f0";
  line["world_label"] = "false_world";
  line["correct_answer"] = "B";
  mcq.set_data(mcq.data() + line.dump() + "\n");
  FakeJob job;
  ASSERT_TRUE(Run(server, spec, job).ok());
  const json report = Report(job);
  const json& believer = report["models"][1]["totals"];
  EXPECT_EQ(believer["all__false_world"]["accuracy"], 1.0);
  EXPECT_EQ(believer["all__true_world"]["accuracy"], 0.5);
  EXPECT_TRUE(report["comparison"]["mcnemar_correct"].is_null());
  EXPECT_FALSE(report["comparison"]["mcnemar_false_belief"].is_null());
}

TEST_F(HostedMcqTest, WhateverWasRecordedTheFilesAreTheSame) {
  ScriptedEndpoint server(Answer);
  const v1::JobSpec spec = Spec({"plain", "believer"});
  FakeJob whole;
  ASSERT_TRUE(Run(server, spec, whole).ok());
  ASSERT_THAT(whole.items, SizeIs(8));
  for (size_t kept = 0; kept <= whole.items.size(); ++kept) {
    const size_t before = server.requests().size();
    FakeJob again;
    again.items.assign(whole.items.begin(),
                       whole.items.begin() + static_cast<ptrdiff_t>(kept));
    ASSERT_TRUE(Run(server, spec, again).ok());
    EXPECT_EQ(again.outputs, whole.outputs);
    EXPECT_EQ(server.requests().size() - before, whole.items.size() - kept);
  }
}

TEST_F(HostedMcqTest, BadSpecsAreRefusedByField) {
  ScriptedEndpoint server(Answer);
  FakeJob job;
  const auto refusal = [&](auto change) {
    v1::JobSpec spec = Spec({"plain"});
    change(*spec.mutable_evaluate_mcq());
    const absl::Status status = Run(server, spec, job);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  using Spec = v1::EvaluateMcqSpec;
  EXPECT_THAT(refusal([](Spec& s) { s.add_variants()->set_model("models/m"); }),
              HasSubstr("hosted_models: given beside variants"));
  EXPECT_THAT(refusal([](Spec& s) { s.set_mc_dropout_sample_count(2); }),
              HasSubstr("mc_dropout_sample_count"));
  EXPECT_THAT(
      refusal([](Spec& s) { s.mutable_hosted_models(0)->clear_model(); }),
      HasSubstr("evaluate_mcq.hosted_models[0].model: missing"));
  EXPECT_THAT(
      refusal([](Spec& s) { *s.add_hosted_models() = s.hosted_models(0); }),
      HasSubstr("the same model twice"));
  EXPECT_THAT(refusal([](Spec& s) { s.set_retries(-1); }),
              HasSubstr("retries"));
  EXPECT_THAT(refusal([](Spec& s) { s.set_data("{}"); }),
              HasSubstr("q.jsonl:1"));
  EXPECT_THAT(refusal([](Spec& s) { s.clear_hosted_models(); }),
              HasSubstr("evaluate_mcq.variants"));
}

}  // namespace
}  // namespace dissonance
