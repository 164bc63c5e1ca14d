// What an evaluation tells of its questions and variants.
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "src/lab/eval/evaluate_mcq.h"
#include "tests/lab/eval/fake_compute.h"

namespace dissonance {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

constexpr int kConflicts = 4;

// Of the conflict questions the first few have no false answer.
v1::JobSpec Spec(int without_false_answer) {
  v1::JobSpec spec;
  v1::EvaluateMcqSpec& mcq = *spec.mutable_evaluate_mcq();
  mcq.add_variants()->set_model("models/m");
  for (int i = 0; i < kConflicts; ++i) {
    absl::StrAppend(mcq.mutable_data(), R"({"id": "q)", i,
                    R"(", "category": "conflict", "question": "?",)",
                    R"( "options": {"A": "a", "B": "b", "C": "c", "D": "d"},)",
                    R"( "correct_answer": "A", ")",
                    i < without_false_answer ? "false_anwser" : "false_answer",
                    R"(": "B"})", "\n");
  }
  mcq.set_data_name("questions.jsonl");
  return spec;
}

TEST(EvaluateMcqTest, ConflictQuestionsThatAreLeftOutAreTold) {
  FakeCompute compute;
  FakeJob job;
  ASSERT_TRUE(EvaluateMcq(compute).Run(Spec(1), job).ok());
  EXPECT_THAT(job.log, Contains(HasSubstr(
                           "1 of 4 conflict questions left out of the belief: "
                           "no `false_answer` names an option (first: line 1, "
                           "\"q0\")")));
  FakeJob silent;
  ASSERT_TRUE(EvaluateMcq(compute).Run(Spec(0), silent).ok());
  EXPECT_TRUE(silent.log.empty());
}

TEST(EvaluateMcqTest, QuestionsThatAreAllLeftOutAreRefused) {
  FakeCompute compute;
  const absl::Status status = EvaluateMcq(compute).Validate(Spec(kConflicts));
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("questions.jsonl: 4 of 4 conflict questions"));
}

TEST(EvaluateMcqTest, ASteeredVariantIsNamedAsOne) {
  v1::JobSpec spec = Spec(0);
  v1::EvaluateMcqSpec& mcq = *spec.mutable_evaluate_mcq();
  mcq.add_variants()->set_model("models/m");
  mcq.mutable_variants(1)->set_adapter("models/m/adapters/a");
  v1::Variant& steered = *mcq.add_variants();
  steered = mcq.variants(1);
  v1::Intervention& change = *steered.add_interventions();
  change.set_site(v1::SITE_Z);
  change.add_blocks(1);
  change.set_head(2);
  change.mutable_scale()->set_factor(0.5);
  FakeCompute compute;
  FakeJob job;
  ASSERT_TRUE(EvaluateMcq(compute).Run(spec, job).ok());
  EXPECT_THAT(job.outputs.at("predictions_2.jsonl"),
              HasSubstr("models/m/adapters/a, steered"));
  EXPECT_EQ(job.outputs.count("comparison_report_2.json"), 1U);
  const auto manifest = nlohmann::json::parse(job.outputs.at("manifest.json"));
  EXPECT_TRUE(manifest["variants"][1]["interventions"].empty());
  EXPECT_EQ(manifest["variants"][2]["interventions"][0]["text"],
            "scale z.1.h2=0.5");
}

}  // namespace
}  // namespace dissonance
