// The whole job against a real HTTP server that judges what it is asked.
#include "src/lab/judge/judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "tests/lab/eval/fake_compute.h"
#include "tests/lab/judge/finished_answers.h"
#include "tests/testing/scripted_endpoint.h"

namespace dissonance {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string Answer(const std::string& variant, const std::string& id,
                   const std::string& answer) {
  return json({{"variant", variant},
               {"id", id},
               {"category", "c"},
               {"question", "What is " + id + "?"},
               {"answer", answer}})
             .dump() +
         "\n";
}

std::string VerdictText(const std::string& world, int hedging,
                        double confidence = 80) {
  return json({{"verdict", world},
               {"confidence", confidence},
               {"doubt_signals",
                {{"hedging", hedging},
                 {"self_correction", 0},
                 {"mentions_assumptions", 0},
                 {"contradiction", 0}}},
               {"difficulty_signals",
                {{"reasoning_quality", 2},
                 {"factual_coherence", 2},
                 {"specificity", 2}}},
               {"notes", "n"}})
      .dump();
}

// Goes by the words of the answer.
ScriptedAnswer Judges(const ScriptedRequest& request) {
  const std::string prompt = request.Prompt();
  const auto says = [&prompt](absl::string_view word) {
    return absl::StrContains(prompt, absl::StrCat("<answer>\n", word));
  };
  if (says("garbled")) return ScriptedAnswer::Says("I can't tell: 0");
  if (says("lost")) return ScriptedAnswer::Refuses(503, "overloaded");
  if (says("square")) return ScriptedAnswer::Says(VerdictText("true_world", 0));
  return ScriptedAnswer::Says("So: " + VerdictText("False World", 3));
}

std::vector<json> Lines(const std::string& text) {
  std::vector<json> lines;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!line.empty()) lines.push_back(json::parse(line));
  }
  return lines;
}

class JudgeTest : public testing::Test {
 protected:
  static v1::JudgeSpec Spec(const std::string& data) {
    v1::JudgeSpec spec;
    spec.set_data(data);
    spec.set_data_name("answers.jsonl");
    spec.mutable_judge()->set_model("j");
    return spec;
  }

  absl::Status Run(const ScriptedEndpoint& server, const v1::JudgeSpec& spec,
                   FakeJob& job) {
    const ChatEndpoint endpoint{.base_url = server.base_url(),
                                .key = Secret("sk-secret"),
                                .tries = 2,
                                .first_backoff = absl::Milliseconds(1),
                                .longest_backoff = absl::Milliseconds(2)};
    ChatEndpoints endpoints({{"default", endpoint}, {"other", endpoint}});
    Judge kind(endpoints, finished_);
    v1::JobSpec job_spec;
    *job_spec.mutable_judge() = spec;
    const absl::Status valid = kind.Validate(job_spec);
    return valid.ok() ? kind.Run(job_spec, job) : valid;
  }

  FinishedAnswers finished_;
};

TEST_F(JudgeTest, JudgesEachAnswerAndSumsUp) {
  finished_.Add("jobs/A",
                {{"answers_base.jsonl", Answer("base", "q1", "square")},
                 {"answers_lora.jsonl", Answer("lora", "q1", "cube")}});
  v1::JudgeSpec spec = Spec("");
  spec.clear_data_name();
  spec.set_job("jobs/A");
  ScriptedEndpoint server(Judges);
  FakeJob job;
  const absl::Status status = Run(server, spec, job);
  ASSERT_TRUE(status.ok()) << status;
  const std::vector<json> rows = Lines(job.outputs.at("judgements.jsonl"));
  ASSERT_THAT(rows, SizeIs(2));
  EXPECT_EQ(rows[0]["variant"], "base");
  EXPECT_EQ(rows[0]["verdict"], "true_world");
  EXPECT_EQ(rows[0]["judge"], "default/j");
  EXPECT_EQ(rows[1]["verdict"], "false_world");
  EXPECT_EQ(rows[1]["doubt_score"], 3);
  EXPECT_EQ(rows[1]["difficulty_proxy"], 3);
  EXPECT_EQ(rows[1]["tries"], 1);
  EXPECT_EQ(rows[1]["answered_by"], "scripted");
  EXPECT_THAT(rows[1]["raw_texts"],
              ElementsAre("So: " + VerdictText("False World", 3)));
  const json summary = json::parse(job.outputs.at("judge_summary.json"));
  EXPECT_EQ(summary["passes"][0]["shifts"][0]["large_n"], 1);
  EXPECT_THAT(job.outputs.at("judge_report.txt"),
              HasSubstr("lora against base: 1 pair"));
  const json manifest = json::parse(job.outputs.at("manifest.json"));
  EXPECT_EQ(manifest["judges"][0]["calls"]["answered"], 2);
  EXPECT_EQ(manifest["judges"][0]["calls"]["prompt_tokens"], 14);
  EXPECT_TRUE(manifest["judges"][0]["calls"]["cost_usd"].is_null());
  EXPECT_EQ(manifest["judges"][0]["calls"]["models"]["scripted"], 2);
  EXPECT_EQ(manifest["data"][1]["name"], "answers_lora.jsonl");
  EXPECT_EQ(manifest["files"].size(), 3U);
  EXPECT_THAT(job.run_outputs, ElementsAre("manifest.json"));
  EXPECT_THAT(job.total_counts, ElementsAre(2, 2));
  for (const ScriptedRequest& request : server.requests()) {
    EXPECT_EQ(request.json["response_format"]["type"], "json_object");
    EXPECT_EQ(request.json["temperature"], 0.0);
  }
  for (const auto& [name, contents] : job.outputs) {
    EXPECT_FALSE(absl::StrContains(contents, "sk-secret")) << name;
  }
}

TEST_F(JudgeTest, WhatCannotBeReadIsAnErrorWithItsTextsAndNoZeros) {
  ScriptedEndpoint server(Judges);
  FakeJob job;
  ASSERT_TRUE(
      Run(server,
          Spec(Answer("base", "q1", "garbled") + Answer("base", "q2", "cube")),
          job)
          .ok());
  EXPECT_THAT(server.requests(), SizeIs(4));
  const std::vector<json> rows = Lines(job.outputs.at("judgements.jsonl"));
  EXPECT_EQ(rows[0]["error"], "the reply holds no JSON object");
  EXPECT_EQ(rows[0]["tries"], 3);
  EXPECT_EQ(rows[0]["raw_texts"],
            json(std::vector<std::string>(3, "I can't tell: 0")));
  for (const char* field : {"verdict", "confidence", "doubt_score",
                            "difficulty_proxy", "doubt_signals"}) {
    EXPECT_TRUE(rows[0][field].is_null()) << field;
  }
  const json summary = json::parse(job.outputs.at("judge_summary.json"));
  const json& base = summary["passes"][0]["variants"][0];
  EXPECT_EQ(base["errors"], 1);
  EXPECT_EQ(base["mean_doubt_score"], 3.0);  // of the other one alone
}

TEST_F(JudgeTest, ASecondTryMayBeRead) {
  ScriptedEndpoint server([](const ScriptedRequest& request) {
    return ScriptedAnswer::Says(request.number == 0
                                    ? R"({"verdict": "true_world"})"
                                    : VerdictText("true_world", 1));
  });
  v1::JudgeSpec spec = Spec(Answer("base", "q1", "square"));
  FakeJob job;
  ASSERT_TRUE(Run(server, spec, job).ok());
  const json row = Lines(job.outputs.at("judgements.jsonl"))[0];
  EXPECT_TRUE(row["error"].is_null());
  EXPECT_EQ(row["tries"], 2);
  EXPECT_THAT(row["raw_texts"], SizeIs(2));
  EXPECT_EQ(row["doubt_score"], 1);
  spec.set_retries(0);
  ScriptedEndpoint once([](const ScriptedRequest&) {
    return ScriptedAnswer::Says(R"({"verdict": "true_world"})");
  });
  FakeJob none;
  const absl::Status status = Run(once, spec, none);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(status.message(),
              HasSubstr("none of 1 judgements could be had, the first: "
                        "confidence: missing"));
  EXPECT_THAT(once.requests(), SizeIs(1));
  EXPECT_THAT(Lines(none.outputs.at("judgements.jsonl")), SizeIs(1));
}

TEST_F(JudgeTest, SeveralVerdictsThatDifferAreAskedForAgain) {
  ScriptedEndpoint server([](const ScriptedRequest& request) {
    const std::string last = VerdictText("true_world", 2);
    return ScriptedAnswer::Says(
        request.number == 0 ? VerdictText("true_world", 0) + " no, " + last
                            : "{\"like\": \"this\"} " + last + last);
  });
  FakeJob job;
  ASSERT_TRUE(Run(server, Spec(Answer("base", "q1", "square")), job).ok());
  const json row = Lines(job.outputs.at("judgements.jsonl"))[0];
  EXPECT_EQ(row["tries"], 2);
  EXPECT_EQ(row["doubt_score"], 2);
}

TEST_F(JudgeTest, AfterAnOutageARetryAsksForWhatGotNoReplyAlone) {
  std::atomic<bool> is_out = true;
  ScriptedEndpoint server([&](const ScriptedRequest& request) {
    if (!is_out && absl::StrContains(request.Prompt(), "<answer>\nlost")) {
      return ScriptedAnswer::Says(VerdictText("true_world", 1));
    }
    return Judges(request);
  });
  const v1::JudgeSpec spec =
      Spec(Answer("base", "q1", "lost") + Answer("base", "q2", "square"));
  FakeJob job;
  const absl::Status status = Run(server, spec, job);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(status.message(),
              HasSubstr("1 of 2 judgements got no reply from default/j; "
                        "`dissonance jobs retry "));
  const std::vector<json> rows = Lines(job.outputs.at("judgements.jsonl"));
  EXPECT_THAT(rows[0]["error"].get<std::string>(), HasSubstr("no reply: "));
  EXPECT_THAT(rows[0]["raw_texts"], IsEmpty());
  EXPECT_EQ(rows[0]["tries"], 1);
  EXPECT_EQ(rows[1]["verdict"], "true_world");
  EXPECT_THAT(server.requests(), SizeIs(3));  // the client's two tries, and one

  is_out = false;
  const absl::Status retried = Run(server, spec, job);
  EXPECT_TRUE(retried.ok()) << retried;
  EXPECT_THAT(server.requests(), SizeIs(4));
  const json row = Lines(job.outputs.at("judgements.jsonl"))[0];
  EXPECT_TRUE(row["error"].is_null());
  EXPECT_EQ(row["doubt_score"], 1);
}

TEST_F(JudgeTest, AQuestionThatIsRefusedIsAnErrorThatNoRetryMends) {
  ScriptedEndpoint server([](const ScriptedRequest& request) {
    if (absl::StrContains(request.Prompt(), "<answer>\ncube")) {
      return ScriptedAnswer::Refuses(400, "too long");
    }
    return Judges(request);
  });
  FakeJob job;
  const absl::Status status = Run(
      server,
      Spec(Answer("base", "q1", "cube") + Answer("base", "q2", "square")), job);
  EXPECT_TRUE(status.ok()) << status;
  const json row = Lines(job.outputs.at("judgements.jsonl"))[0];
  EXPECT_THAT(row["error"].get<std::string>(), HasSubstr("too long"));
}

TEST_F(JudgeTest, ARefusedKeyEndsTheJob) {
  ScriptedEndpoint server([](const ScriptedRequest&) {
    return ScriptedAnswer::Refuses(401, "who are you?");
  });
  FakeJob job;
  const absl::Status status =
      Run(server, Spec(Answer("base", "q1", "square")), job);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(job.outputs, IsEmpty());
}

TEST_F(JudgeTest, WhateverWasRecordedTheFilesAreTheSame) {
  v1::JudgeSpec spec =
      Spec(Answer("base", "q1", "square") + Answer("base", "q2", "garbled") +
           Answer("lora", "q1", "square") + Answer("lora", "q2", "cube"));
  spec.set_retries(1);
  spec.set_pass_count(2);
  spec.mutable_second_judge()->set_model("k");
  spec.mutable_second_judge()->set_endpoint("other");
  ScriptedEndpoint server(Judges);
  FakeJob whole;
  ASSERT_TRUE(Run(server, spec, whole).ok());
  EXPECT_THAT(whole.items, SizeIs(3 * 5));
  EXPECT_THAT(Lines(whole.outputs.at("judgements.jsonl")), SizeIs(3 * 4));
  for (size_t kept = 0; kept <= whole.items.size(); ++kept) {
    const size_t before = server.requests().size();
    FakeJob again;
    again.items.assign(whole.items.begin(),
                       whole.items.begin() + static_cast<ptrdiff_t>(kept));
    ASSERT_TRUE(Run(server, spec, again).ok());
    EXPECT_EQ(again.outputs, whole.outputs) << kept;
    EXPECT_EQ(server.requests().size() - before, whole.items.size() - kept);
  }
}

TEST_F(JudgeTest, AnswersThatAreAlikeKeepTheJudgementsThatTheyGot) {
  ScriptedEndpoint server([](const ScriptedRequest& request) {
    return ScriptedAnswer::Says(
        VerdictText("true_world", 0, static_cast<double>(request.number)));
  });
  std::string data;
  for (const char* variant : {"base", "lora", "2", "3"}) {
    data += Answer(variant, "q1", "square");
  }
  v1::JudgeSpec spec = Spec(data);
  spec.set_pass_count(2);
  FakeJob whole;
  ASSERT_TRUE(Run(server, spec, whole).ok());
  EXPECT_THAT(server.requests(), SizeIs(8));
  FakeJob again;
  again.items = whole.items;
  ASSERT_TRUE(Run(server, spec, again).ok());
  EXPECT_EQ(again.outputs, whole.outputs);
  EXPECT_THAT(server.requests(), SizeIs(8));
}

TEST_F(JudgeTest, TwoJudgesAreAskedEachAtItsEndpoint) {
  std::atomic<int> second_count = 0;
  ScriptedEndpoint server([&](const ScriptedRequest& request) {
    if (request.json["model"] != "k") return Judges(request);
    ++second_count;
    return ScriptedAnswer::Says(VerdictText("true_world", 1));
  });
  v1::JudgeSpec spec =
      Spec(Answer("base", "q1", "square") + Answer("base", "q2", "cube"));
  spec.mutable_second_judge()->set_model("k");
  spec.mutable_second_judge()->set_endpoint("other");
  FakeJob job;
  ASSERT_TRUE(Run(server, spec, job).ok());
  EXPECT_EQ(second_count, 2);
  const json summary = json::parse(job.outputs.at("judge_summary.json"));
  EXPECT_EQ(summary["passes"][1]["judge"], "other/k");
  const json& agreement = summary["agreements"][0];
  EXPECT_EQ(agreement["n"], 2);
  EXPECT_EQ(agreement["same_verdict_share"], 0.5);
  EXPECT_EQ(agreement["kappa"], 0.0);
  EXPECT_EQ(agreement["mean_absolute_doubt_difference"], 1.5);
  const json manifest = json::parse(job.outputs.at("manifest.json"));
  EXPECT_EQ(manifest["judges"][1]["name"], "other/k");
  EXPECT_EQ(manifest["judges"][0]["calls"]["answered"], 2);
  EXPECT_EQ(manifest["judges"][1]["calls"]["answered"], 2);
}

TEST_F(JudgeTest, DoubtAloneIsJudgedWithoutAVerdict) {
  ScriptedEndpoint server([](const ScriptedRequest&) {
    json verdict = json::parse(VerdictText("", 2));
    verdict.erase("verdict");
    verdict.erase("confidence");
    return ScriptedAnswer::Says(verdict.dump());
  });
  v1::JudgeSpec spec = Spec(Answer("base", "q1", "square"));
  spec.set_mode(v1::JUDGE_MODE_DOUBT_ONLY);
  FakeJob job;
  ASSERT_TRUE(Run(server, spec, job).ok());
  const json row = Lines(job.outputs.at("judgements.jsonl"))[0];
  EXPECT_EQ(row["mode"], "doubt_only");
  EXPECT_TRUE(row["verdict"].is_null() && row["confidence"].is_null());
  EXPECT_EQ(row["doubt_score"], 2);
}

TEST_F(JudgeTest, TellsTheCostWhereTheEndpointDoes) {
  ScriptedEndpoint server([](const ScriptedRequest& request) {
    ScriptedAnswer answer = Judges(request);
    json body = json::parse(answer.body);
    body["usage"]["cost"] = request.number == 0 ? 0.1 : 0.2;
    answer.body = body.dump();
    return answer;
  });
  FakeJob job;
  ASSERT_TRUE(
      Run(server,
          Spec(Answer("base", "q1", "square") + Answer("base", "q2", "cube")),
          job)
          .ok());
  const json manifest = json::parse(job.outputs.at("manifest.json"));
  EXPECT_EQ(manifest["judges"][0]["calls"]["cost_usd"],
            0.3);  // 0.1 + 0.2 is more
}

TEST_F(JudgeTest, EndpointsThatAreNotThereAreRefusedAtOnce) {
  ScriptedEndpoint server(Judges);
  v1::JudgeSpec spec = Spec(Answer("base", "q1", "square"));
  spec.mutable_second_judge()->set_model("k");
  spec.mutable_second_judge()->set_endpoint("nowhere");
  FakeJob job;
  const absl::Status status = Run(server, spec, job);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("no chat endpoint \"nowhere\""));
  EXPECT_THAT(server.requests(), IsEmpty());
}

}  // namespace
}  // namespace dissonance
