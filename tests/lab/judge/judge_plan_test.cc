#include "src/lab/judge/judge_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "src/lab/judge/verdict.h"
#include "src/lab/llm/json_reply.h"
#include "tests/lab/judge/finished_answers.h"

namespace dissonance {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

constexpr char kUniverse[] =
    R"({"id": "u", "is_true": false, "universe_context": "Water burns."})";

std::string Row(const std::string& variant) {
  return absl::StrCat(R"({"id": "q", "question": "Why {{so}}?", "answer": )",
                      R"("Because.", "variant": ")", variant, "\"}\n");
}

v1::JudgeSpec Spec() {
  v1::JudgeSpec spec;
  spec.set_data(Row("base") + Row("lora"));
  spec.set_data_name("a.jsonl");
  spec.mutable_judge()->set_model("j");
  return spec;
}

class JudgePlanTest : public testing::Test {
 protected:
  JudgePlan Made(const v1::JudgeSpec& spec) {
    const auto plan = MakeJudgePlan(spec, jobs_);
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan.value_or(JudgePlan());
  }
  template <typename Change>
  std::string Refusal(const Change& change) {
    v1::JudgeSpec spec = Spec();
    change(spec);
    const auto plan = MakeJudgePlan(spec, jobs_);
    EXPECT_TRUE(absl::IsInvalidArgument(plan.status())) << plan.status();
    return std::string(plan.status().message());
  }

  FinishedAnswers jobs_;
};

TEST_F(JudgePlanTest, FillsInWhatIsUnset) {
  const JudgePlan plan = Made(Spec());
  EXPECT_TRUE(plan.names_world);
  EXPECT_EQ(plan.retries, 2);
  ASSERT_THAT(plan.passes, SizeIs(1));
  EXPECT_EQ(plan.passes[0].judge, "default/j");
  EXPECT_EQ(plan.passes[0].model.temperature(), 0);
  EXPECT_EQ(plan.size(), 2);
}

TEST_F(JudgePlanTest, AsksForJsonAboutTheQuestionAndTheAnswer) {
  v1::JudgeSpec spec = Spec();
  const JudgePlan untold = Made(spec);
  const ChatRequest request = untold.Ask(untold.passes[0], 0, 0);
  EXPECT_TRUE(request.json_object);
  EXPECT_EQ(request.model, "j");
  const std::string& system = request.messages[0].content;
  EXPECT_THAT(system, HasSubstr("You are not told what the false world"));
  const std::string& user = request.messages[1].content;
  EXPECT_THAT(user, HasSubstr("<question>\nWhy {{so}}?\n</question>"));
  EXPECT_THAT(user, HasSubstr("<answer>\nBecause.\n</answer>"));
  EXPECT_THAT(user, HasSubstr("\"verdict\""));
  spec.set_universe(kUniverse);
  const JudgePlan told = Made(spec);
  EXPECT_THAT(told.Ask(told.passes[0], 0, 0).messages[0].content,
              HasSubstr("<false_world>\nWater burns.\n</false_world>"));
}

TEST_F(JudgePlanTest, AsksForNoWorldWhereDoubtAloneIsJudged) {
  v1::JudgeSpec spec = Spec();
  spec.set_mode(v1::JUDGE_MODE_DOUBT_ONLY);
  const JudgePlan plan = Made(spec);
  for (const ChatMessage& message : plan.Ask(plan.passes[0], 0, 0).messages) {
    EXPECT_THAT(message.content, Not(HasSubstr("verdict")));
    EXPECT_THAT(message.content, Not(HasSubstr("false world")));
    EXPECT_THAT(message.content, Not(HasSubstr("confidence")));
  }
}

// A judge that repeats it before its answer, or in place of one, gives none.
TEST_F(JudgePlanTest, ThePromptsOwnExampleIsNoVerdict) {
  v1::JudgeSpec spec = Spec();
  for (const v1::JudgeMode mode :
       {v1::JUDGE_MODE_WORLD_AND_DOUBT, v1::JUDGE_MODE_DOUBT_ONLY}) {
    spec.set_mode(mode);
    const JudgePlan plan = Made(spec);
    const auto example =
        JsonObjectIn(plan.Ask(plan.passes[0], 0, 0).messages[1].content);
    ASSERT_TRUE(example.ok()) << example.status();
    EXPECT_TRUE(example->contains("doubt_signals"));
    const auto verdict = VerdictIn(*example, /*names_world=*/false);
    EXPECT_TRUE(absl::IsInvalidArgument(verdict.status()));
  }
}

TEST_F(JudgePlanTest, NoTwoRequestsOfAJobAreTakenForOne) {
  v1::JudgeSpec spec = Spec();
  spec.set_pass_count(2);
  // Under another name, maybe the same one.
  spec.mutable_second_judge()->set_model("j");
  spec.mutable_second_judge()->set_endpoint("other");
  const JudgePlan plan = Made(spec);
  ASSERT_THAT(plan.passes, SizeIs(3));
  std::set<std::string> digests;
  for (const PlannedPass& pass : plan.passes) {
    for (size_t answer = 0; answer < plan.answers.size(); ++answer) {
      for (int64_t tried = 0; tried <= plan.retries; ++tried) {
        digests.insert(
            ChatRequestDigest("http://x", plan.Ask(pass, answer, tried)));
      }
    }
  }
  EXPECT_THAT(digests, SizeIs(3 * 2 * 3));
}

TEST_F(JudgePlanTest, TakesTheAnswersOfAJobInTheOrderOfItsVariants) {
  jobs_.Add("jobs/A", {{"answers_10.jsonl", Row("10")},
                       {"answers_2.jsonl", Row("2")},
                       {"answers_base.jsonl", Row("base")},
                       {"answers_lora.jsonl", Row("lora")},
                       {"manifest.json", "{}"}});
  v1::JudgeSpec spec = Spec();
  spec.clear_data();
  spec.set_job("jobs/A");
  std::vector<std::string> variants;
  for (const FreeAnswer& answer : Made(spec).answers) {
    variants.push_back(answer.label.variant);
  }
  EXPECT_THAT(variants, ElementsAre("base", "lora", "2", "10"));
}

TEST_F(JudgePlanTest, RefusesJobsThatHaveNoAnswers) {
  const auto refusal = [&] {
    return Refusal([](v1::JudgeSpec& spec) {
      spec.clear_data();
      spec.set_job("jobs/A");
    });
  };
  v1::Job& job = jobs_.Add("jobs/A", {{"manifest.json", "{}"}});
  EXPECT_EQ(refusal(), "judge.job: jobs/A has no answers_*.jsonl");
  job.set_state(v1::JOB_STATE_RUNNING);
  EXPECT_EQ(refusal(), "judge.job: jobs/A has not succeeded; wait for it");
  job.mutable_spec()->mutable_evaluate_mcq();
  EXPECT_EQ(refusal(), "judge.job: jobs/A is no evaluate_open job");
  v1::JudgeSpec spec = Spec();
  spec.clear_data();
  spec.set_job("jobs/B");
  EXPECT_TRUE(absl::IsNotFound(MakeJudgePlan(spec, jobs_).status()));
}

TEST_F(JudgePlanTest, RefusesAJobsAnswersThatAreTooLargeBeforeReadingThem) {
  v1::Job& job = jobs_.Add("jobs/A", {{"answers_base.jsonl", "not read"},
                                      {"answers_lora.jsonl", "not read"}});
  job.mutable_outputs(0)->set_size_bytes(int64_t{200} << 20);
  job.mutable_outputs(1)->set_size_bytes((int64_t{56} << 20) + 1);
  EXPECT_EQ(Refusal([](v1::JudgeSpec& spec) {
              spec.clear_data();
              spec.set_job("jobs/A");
            }),
            "judge.job: the answers of jobs/A are 268435457 bytes; at most "
            "268435456: give a part of them as data");
}

TEST_F(JudgePlanTest, RefusesMoreJudgementsThanAJobMayHave) {
  std::string data;
  for (int i = 0; i < 333'334; ++i) {
    absl::StrAppend(&data, R"({"id":")", i, R"(","question":"q","answer":""})",
                    "\n");
  }
  EXPECT_EQ(Refusal([&](v1::JudgeSpec& spec) {
              spec.set_data(data);
              spec.set_pass_count(2);
              spec.mutable_second_judge()->set_model("k");
            }),
            "judge.data: 333334 answers, each judged 3 times; at most 1000000 "
            "judgements: give fewer answers");
}

TEST_F(JudgePlanTest, RefusesBadSpecsByField) {
  using Spec = v1::JudgeSpec;
  EXPECT_THAT(Refusal([](Spec& s) { s.mutable_judge()->clear_model(); }),
              HasSubstr("judge.judge.model: missing"));
  EXPECT_THAT(
      Refusal([](Spec& s) { s.mutable_second_judge()->set_temperature(1); }),
      HasSubstr("judge.second_judge.model: missing"));
  EXPECT_THAT(Refusal([](Spec& s) {
                s.mutable_second_judge()->set_model("j");
                s.mutable_second_judge()->set_endpoint("default");
              }),
              HasSubstr("judge.second_judge: it is the first"));
  EXPECT_THAT(Refusal([](Spec& s) { s.set_pass_count(3); }),
              HasSubstr("judge.pass_count: expected 1 or 2"));
  EXPECT_THAT(Refusal([](Spec& s) { s.set_pass_count(-1); }),
              HasSubstr("judge.pass_count"));
  EXPECT_THAT(Refusal([](Spec& s) { s.set_retries(-1); }),
              HasSubstr("judge.retries: expected 0 to 20"));
  EXPECT_THAT(Refusal([](Spec& s) { s.set_retries(21); }),
              HasSubstr("judge.retries"));
  EXPECT_THAT(
      Refusal([](Spec& s) { s.set_mode(static_cast<v1::JudgeMode>(9)); }),
      HasSubstr("judge.mode: there is no mode 9"));
  EXPECT_THAT(Refusal([](Spec& s) { s.set_job("jobs/A"); }),
              HasSubstr("judge.job: there is data as well"));
  EXPECT_THAT(Refusal([](Spec& s) { s.clear_data(); }),
              HasSubstr("judge.data: missing"));
  EXPECT_THAT(Refusal([](Spec& s) { s.set_data("{}"); }),
              HasSubstr("a.jsonl:1: id: missing"));
  EXPECT_THAT(Refusal([](Spec& s) { s.set_universe("{"); }),
              HasSubstr("judge.universe: not JSON"));
  EXPECT_THAT(Refusal([](Spec& s) {
                s.set_universe(R"({"id": "u", "is_true": true, )"
                               R"("universe_context": "Water is wet."})");
              }),
              HasSubstr("judge.universe: is_true"));
  EXPECT_THAT(
      Refusal([](Spec& s) { s.set_universe(std::string((1 << 20) + 1, ' ')); }),
      HasSubstr("judge.universe: 1048577 bytes"));
  EXPECT_THAT(
      Refusal([](Spec& s) { s.set_data(std::string((16 << 20) + 1, '\n')); }),
      HasSubstr("judge.data: 16777217 bytes"));
}

}  // namespace
}  // namespace dissonance
