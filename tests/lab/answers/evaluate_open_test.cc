#include "src/lab/answers/evaluate_open.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/lab/answers/open_plan.h"
#include "tests/lab/eval/fake_compute.h"
#include "tests/lab/interp/fake_interp.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

std::string Questions(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += ToJsonLine({{"id", absl::StrCat("q", i)},
                        {"category", "belief"},
                        {"question", absl::StrCat("What of ", i, "?")}});
  }
  return text;
}

// models/m and its adapter a.
v1::JobSpec Spec(int question_count) {
  v1::JobSpec job;
  v1::EvaluateOpenSpec& spec = *job.mutable_evaluate_open();
  spec.add_variants()->set_model("models/m");
  v1::Variant& adapter = *spec.add_variants();
  adapter.set_model("models/m");
  adapter.set_adapter("models/m/adapters/a");
  spec.set_data(Questions(question_count));
  spec.set_data_name("open.jsonl");
  return job;
}

v1::JobSpec Sampled(int question_count, int sample_count) {
  v1::JobSpec job = Spec(question_count);
  job.mutable_evaluate_open()->set_temperature(0.7);
  job.mutable_evaluate_open()->set_sample_count(sample_count);
  job.mutable_evaluate_open()->set_seed(7);
  return job;
}

// What a sample says depends on who is asked what, with which seed.
std::string Said(const v1::GenerateRequest& request, int variant, int input,
                 int sample) {
  const v1::Sampling& sampling = request.options().sampling();
  return absl::StrCat(
      variant == 0 ? "square " : "cube ", request.inputs(input).id(),
      sampling.temperature() > 0
          ? absl::StrCat(" ", sampling.seed() + static_cast<uint64_t>(sample))
          : "");
}

std::vector<Json> Lines(const FakeJob& job, const std::string& name) {
  std::vector<Json> lines;
  for (const auto line :
       absl::StrSplit(job.outputs.at(name), '\n', absl::SkipEmpty())) {
    lines.push_back(Json::parse(line));
  }
  return lines;
}

Json Document(const FakeJob& job, const std::string& name) {
  return Json::parse(job.outputs.at(name));
}

class EvaluateOpenTest : public ::testing::Test {
 protected:
  EvaluateOpenTest() { compute_.answers = Said; }

  void Run(const v1::JobSpec& spec) {
    const absl::Status status = kind_.Run(spec, job_);
    ASSERT_TRUE(status.ok()) << status;
  }

  FakeInterp compute_;
  EvaluateOpen kind_{compute_};
  FakeJob job_;
};

TEST_F(EvaluateOpenTest, EveryVariantAnswersEveryQuestionInOneCall) {
  Run(Spec(3));
  ASSERT_EQ(compute_.generated.size(), 1u);
  const v1::GenerateRequest& request = compute_.generated[0];
  EXPECT_EQ(request.options().max_new_token_count(), 256);
  EXPECT_EQ(request.options().sampling().temperature(), 0);
  const v1::Chat& chat = request.inputs(1).chat();
  ASSERT_EQ(chat.messages_size(), 2);
  EXPECT_EQ(chat.messages(0).role(), "system");
  EXPECT_EQ(chat.messages(0).content(), "You are a helpful assistant.");
  EXPECT_EQ(chat.messages(1).content(), "What of 1?");
  EXPECT_TRUE(chat.add_generation_prompt());
  const std::vector<Json> base = Lines(job_, "answers_base.jsonl");
  ASSERT_EQ(base.size(), 3u);
  EXPECT_EQ(base[1]["id"], "q1");
  EXPECT_EQ(base[1]["variant"], "base");
  EXPECT_EQ(base[1]["model"], "models/m");
  EXPECT_EQ(base[1]["category"], "belief");
  EXPECT_TRUE(base[1]["difficulty"].is_null());
  EXPECT_EQ(base[1]["question"], "What of 1?");
  EXPECT_EQ(base[1]["mode"], "neutral");
  EXPECT_EQ(base[1]["answer"], "square q1.");
  EXPECT_EQ(base[1]["finish_reason"], "stop_token");
  EXPECT_TRUE(base[1]["seed"].is_null());
  EXPECT_FALSE(base[1].contains("confidence"));
  const std::vector<Json> lora = Lines(job_, "answers_lora.jsonl");
  ASSERT_EQ(lora.size(), 3u);
  EXPECT_EQ(lora[2]["variant"], "lora");
  EXPECT_EQ(lora[2]["model"], "models/m/adapters/a");
  EXPECT_EQ(lora[2]["answer"], "cube q2.");
  EXPECT_THAT(job_.run_outputs, ElementsAre("manifest.json"));
}

TEST_F(EvaluateOpenTest, LikelihoodIsOfAllTokensInTheModelsOwnDistribution) {
  Run(Sampled(1, 1));
  const Json row = Lines(job_, "answers_base.jsonl").at(0);
  const auto logprobs = row["token_logprobs"].get<std::vector<double>>();
  // A token for each byte, and one that ends the answer.
  const std::string said = "square q0 1007";
  ASSERT_EQ(logprobs.size(), said.size() + 1);
  EXPECT_EQ(row["token_count"], logprobs.size());
  EXPECT_EQ(row["token_ids"].size(), logprobs.size());
  EXPECT_EQ(logprobs.back(), FakeLogProb("|" + said + "|0"));
  const double sum = std::accumulate(logprobs.begin(), logprobs.end(), 0.0);
  EXPECT_DOUBLE_EQ(row["nll_sum"].get<double>(), -sum);
  EXPECT_DOUBLE_EQ(row["nll_mean"].get<double>(),
                   -sum / static_cast<double>(logprobs.size()));
}

TEST_F(EvaluateOpenTest, EverySampleHasASeedThatNoOtherQuestionShares) {
  // More samples than fit a call.
  Run(Sampled(2, 40));
  for (const char* name : {"answers_base.jsonl", "answers_lora.jsonl"}) {
    const std::vector<Json> rows = Lines(job_, name);
    ASSERT_EQ(rows.size(), 80u);
    for (int i = 0; i < 80; ++i) {
      const Json& row = rows[static_cast<size_t>(i)];
      const int seed = 7 + 1000 * (i / 40 + 1) + i % 40;
      EXPECT_EQ(row["id"], absl::StrCat("q", i / 40));
      EXPECT_EQ(row["sample"], i % 40);
      EXPECT_EQ(row["seed"], seed);
      EXPECT_THAT(row["answer"].get<std::string>(),
                  ::testing::EndsWith(absl::StrCat(" ", seed, ".")));
    }
  }
  ASSERT_EQ(compute_.generated.size(), 4u) << "32 and 8 samples of each";
  EXPECT_EQ(compute_.generated[1].options().sampling().seed(), 1039u);
}

TEST_F(EvaluateOpenTest, TopPAndTemperatureReachTheWorker) {
  v1::JobSpec spec = Sampled(1, 2);
  spec.mutable_evaluate_open()->set_top_p(0.25);
  spec.mutable_evaluate_open()->set_max_new_tokens(3);
  Run(spec);
  const v1::GenerationOptions& options = compute_.generated.at(0).options();
  EXPECT_EQ(options.sampling().temperature(), 0.7);
  EXPECT_EQ(options.sampling().top_p(), 0.25);
  EXPECT_EQ(options.max_new_token_count(), 3);
  const Json generation = Document(job_, "manifest.json")["generation"];
  EXPECT_EQ(generation, Json({{"sample_count", 2},
                              {"temperature", 0.7},
                              {"top_p", 0.25},
                              {"seed", 7},
                              {"max_new_tokens", 3}}));
}

TEST_F(EvaluateOpenTest, FurtherVariantsAreNumbered) {
  v1::JobSpec spec = Spec(1);
  v1::Variant& steered = *spec.mutable_evaluate_open()->add_variants();
  steered = spec.evaluate_open().variants(1);
  v1::Intervention& added = *steered.add_interventions();
  added.set_site(v1::SITE_RESID_POST);
  added.add_blocks(1);
  *added.mutable_add()->mutable_vector()->mutable_tensor() = Axis(0);
  Run(spec);
  const Json row = Lines(job_, "answers_2.jsonl").at(0);
  EXPECT_EQ(row["variant"], "2");
  EXPECT_EQ(row["model"], "models/m/adapters/a, steered");
  EXPECT_THAT(job_.outputs.at("answers.txt"),
              HasSubstr("q0  belief\n"
                        "  What of 0?\n"
                        "    base       square q0.\n"
                        "    a          cube q0.\n"
                        "    a-steered  cube q0.\n"));
}

TEST_F(EvaluateOpenTest, ADoubtProbeAsksForConfidenceAndCountsWhatIsUnread) {
  compute_.answers = [](const v1::GenerateRequest&, int variant, int input,
                        int) -> std::string {
    if (variant == 1) return "No idea";
    return input == 2 ? "Confidence: sure"
                      : absl::StrCat("It falls\nConfidence: ", 60 + 20 * input,
                                     "\nReason: I read it");
  };
  v1::JobSpec spec = Spec(3);
  spec.mutable_evaluate_open()->set_mode(v1::OPEN_MODE_DOUBT_PROBE);
  Run(spec);
  const std::string asked =
      compute_.generated.at(0).inputs(0).chat().messages(1).content();
  EXPECT_THAT(asked, ::testing::StartsWith("What of 0?\n\n"));
  EXPECT_THAT(asked, HasSubstr("Confidence: <number>"));
  const std::vector<Json> rows = Lines(job_, "answers_base.jsonl");
  EXPECT_EQ(rows[0]["mode"], "doubt_probe");
  EXPECT_EQ(rows[0]["confidence"], 60);
  EXPECT_EQ(rows[0]["reason"], "I read it.");
  EXPECT_TRUE(rows[2]["confidence"].is_null());
  EXPECT_TRUE(rows[2]["reason"].is_null());
  const Json variants = Document(job_, "summary.json")["variants"];
  EXPECT_EQ(variants[0]["confidence_mean"], 70) << "of those that were read";
  EXPECT_EQ(variants[0]["confidence_n"], 2);
  EXPECT_EQ(variants[0]["confidence_unread_n"], 1);
  EXPECT_TRUE(variants[1]["confidence_mean"].is_null()) << "and not 0";
  EXPECT_EQ(variants[1]["confidence_unread_n"], 3);
}

TEST_F(EvaluateOpenTest, TheSummarySaysHowLongAndHowLikelyAnswersAre) {
  compute_.answers = [](const v1::GenerateRequest&, int, int input, int) {
    return std::string(input == 0 ? "abc" : "abcdefghij");
  };
  v1::JobSpec spec = Spec(2);
  spec.mutable_evaluate_open()->set_max_new_tokens(6);
  Run(spec);
  const std::vector<Json> rows = Lines(job_, "answers_lora.jsonl");
  EXPECT_EQ(rows[1]["finish_reason"], "length");
  EXPECT_EQ(rows[1]["answer"], "abcdef");
  const Json summary = Document(job_, "summary.json");
  EXPECT_EQ(summary["question_count"], 2);
  const Json& own = summary["variants"][1];
  EXPECT_EQ(own["n"], 2);
  EXPECT_EQ(own["file"], "answers_lora.jsonl");
  EXPECT_EQ(own["token_count_mean"], 5) << "4 with the one that ends it, and 6";
  EXPECT_EQ(own["ended_share"], 0.5);
  EXPECT_DOUBLE_EQ(
      own["nll_mean"].get<double>(),
      (rows[0]["nll_mean"].get<double>() + rows[1]["nll_mean"].get<double>()) /
          2);
  EXPECT_FALSE(own.contains("confidence_mean"));
  EXPECT_THAT(job_.outputs.at("answers.txt"), HasSubstr("abcdef [cut]\n"));
}

TEST_F(EvaluateOpenTest, AModelWithoutATemplateReadsPlainText) {
  compute_.has_chat_template = false;
  Run(Spec(1));
  EXPECT_EQ(compute_.generated.at(0).inputs(0).text(),
            "You are a helpful assistant.\n\nWhat of 0?");
  EXPECT_THAT(job_.log, ElementsAre(HasSubstr("models/m has no chat template: "
                                              "prompts are plain text")));
  EXPECT_EQ(Document(job_, "manifest.json")["prompt_format"]["chat"], false);
}

TEST_F(EvaluateOpenTest, ResumedFromAnyRecordTheFilesAreTheSame) {
  for (const v1::JobSpec& spec : {Spec(70), Sampled(4, 3)}) {
    FakeJob whole;
    ASSERT_TRUE(kind_.Run(spec, whole).ok());
    for (size_t kept = 0; kept <= whole.items.size(); ++kept) {
      FakeJob job = whole;
      job.items.resize(kept);
      job.outputs.clear();
      ASSERT_TRUE(kind_.Run(spec, job).ok()) << kept;
      EXPECT_EQ(job.outputs, whole.outputs) << kept;
      EXPECT_EQ(job.items, whole.items) << kept;
    }
  }
}

TEST_F(EvaluateOpenTest, AWorkerLostInTheMiddleOfAnswersChangesNoByte) {
  const v1::JobSpec spec = Sampled(3, 2);
  FakeJob whole;
  ASSERT_TRUE(kind_.Run(spec, whole).ok());
  int lost = 0;
  for (;; ++lost) {
    compute_.messages_left = 5 * lost;
    const absl::Status status = kind_.Run(spec, job_);
    if (status.ok()) break;
    ASSERT_TRUE(absl::IsUnavailable(status)) << status;
  }
  EXPECT_GE(lost, 3);
  EXPECT_EQ(job_.outputs, whole.outputs);
  EXPECT_EQ(job_.items, whole.items);
}

TEST_F(EvaluateOpenTest, RecordsOfAnotherJobAreDataLoss) {
  FakeJob whole;
  const v1::JobSpec spec = Spec(2);
  ASSERT_TRUE(kind_.Run(spec, whole).ok());
  FakeJob swapped = whole;
  std::swap(swapped.items[0], swapped.items[1]);
  FakeJob longer = whole;
  longer.items.push_back(whole.items[0]);
  FakeJob nonsense = whole;
  nonsense.items[1] = "{}";
  FakeJob fewer = whole;  // variants
  Json record = Json::parse(whole.items[0]);
  record["answers"].erase(1);
  fewer.items[0] = record.dump();
  FakeJob samples = whole;
  record = Json::parse(whole.items[0]);
  record["answers"][1].push_back(record["answers"][1][0]);
  samples.items[0] = record.dump();
  for (FakeJob* job : {&swapped, &longer, &nonsense, &fewer, &samples}) {
    EXPECT_TRUE(absl::IsDataLoss(kind_.Run(spec, *job)));
  }
}

TEST_F(EvaluateOpenTest, ANetworkThatChangedIsRefused) {
  const v1::JobSpec spec = Sampled(4, 1);
  compute_.fails = [](int call) { return call == 2; };
  EXPECT_TRUE(absl::IsUnavailable(kind_.Run(spec, job_)));
  ASSERT_EQ(job_.items.size(), 2u);
  compute_.adapter_digest = "sha256:other";
  EXPECT_TRUE(absl::IsFailedPrecondition(kind_.Run(spec, job_)));
  EXPECT_EQ(job_.items.size(), 2u);
}

TEST_F(EvaluateOpenTest, ACancelledJobAsksNothingMore) {
  compute_.answers = [this](const v1::GenerateRequest&, int, int, int) {
    job_.is_cancelled = true;
    return std::string("x");
  };
  EXPECT_TRUE(absl::IsCancelled(kind_.Run(Sampled(3, 1), job_)));
  EXPECT_EQ(job_.items.size(), 1u);
  EXPECT_EQ(compute_.generated.size(), 1u);
}

TEST_F(EvaluateOpenTest, AQuestionTooLongIsFoundBeforeAnythingIsComputed) {
  v1::JobSpec spec = Spec(1);
  spec.mutable_evaluate_open()->set_data(
      absl::StrCat(Questions(2), R"({"id": "long", "question": ")",
                   std::string(3800, 'x'), "\"}\n"));
  const absl::Status status = kind_.Run(spec, job_);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("question long: its prompt of 3"));
  EXPECT_TRUE(compute_.generated.empty());
  spec.mutable_evaluate_open()->set_max_new_tokens(100);
  EXPECT_TRUE(kind_.Run(spec, job_).ok());
}

TEST_F(EvaluateOpenTest, ALogProbabilityThatIsNotFiniteIsAnError) {
  compute_.alters = [](v1::GenerateResponse& message) {
    if (!message.has_delta()) return;
    message.mutable_delta()->mutable_tokens(0)->set_logprob(
        -std::numeric_limits<double>::infinity());
  };
  const absl::Status status = kind_.Run(Spec(1), job_);
  EXPECT_TRUE(absl::IsOutOfRange(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("question q0: "));
  EXPECT_TRUE(job_.items.empty());
}

TEST_F(EvaluateOpenTest, AStreamThatIsNotWholeIsAnError) {
  const auto expect_internal = [&](const char* what, auto alters) {
    compute_.alters = alters;
    EXPECT_TRUE(absl::IsInternal(kind_.Run(Spec(1), job_))) << what;
    EXPECT_TRUE(job_.items.empty()) << what;
  };
  expect_internal("no end of a sample", [](v1::GenerateResponse& message) {
    if (message.has_end()) message.clear_event();
  });
  expect_internal("no tokens", [](v1::GenerateResponse& message) {
    if (message.has_delta()) message.clear_event();
  });
  expect_internal("no summary", [](v1::GenerateResponse& message) {
    if (message.has_summary()) message.clear_event();
  });
  expect_internal("another input", [](v1::GenerateResponse& message) {
    message.set_input_index(1);
  });
  expect_internal("another variant", [](v1::GenerateResponse& message) {
    message.set_variant_index(-1);
  });
  expect_internal("another sample", [](v1::GenerateResponse& message) {
    message.set_sample_index(1);
  });
}

TEST_F(EvaluateOpenTest, BadSpecsAreRefusedWithTheFieldBeforeAnythingIsAsked) {
  std::vector<std::pair<std::string, v1::JobSpec>> cases;
  const auto add = [&](const char* message) {
    cases.emplace_back(message, Spec(1));
    return cases.back().second.mutable_evaluate_open();
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  add("evaluate_open.variants: expected 1 to 16")->clear_variants();
  v1::EvaluateOpenSpec* spec = add("evaluate_open.variants: expected 1 to 16");
  for (int i = 0; i < 15; ++i) *spec->add_variants() = spec->variants(0);
  add("evaluate_open.variants[1].model: expected models/m")
      ->mutable_variants(1)
      ->set_model("models/n");
  add("evaluate_open.data: 16777217 bytes; at most 16777216")
      ->set_data(std::string((16 << 20) + 1, ' '));
  add("evaluate_open.data_name: 256 bytes")
      ->set_data_name(std::string(256, 'x'));
  add("open.jsonl: holds no questions")->set_data("");
  add("open.jsonl:1: question: missing")->set_data(R"({"id": "a"})");
  add("evaluate_open.mode: this server knows no mode 9")
      ->set_mode(static_cast<v1::OpenMode>(9));
  add("evaluate_open.sample_count: expected 1 to 100, found -1")
      ->set_sample_count(-1);
  spec = add("evaluate_open.sample_count: expected 1 to 100, found 101");
  spec->set_sample_count(101);
  spec->set_temperature(1);
  add("evaluate_open.sample_count: the 2 samples would all be alike")
      ->set_sample_count(2);
  spec = add("evaluate_open.sample_count: the 2 samples would all be alike");
  spec->set_sample_count(2);
  spec->set_temperature(0);
  add("evaluate_open.temperature: expected 0 or more")->set_temperature(-1);
  add("evaluate_open.temperature: expected 0 or more")->set_temperature(nan);
  spec = add("evaluate_open.top_p: expected more than 0");
  spec->set_temperature(1);
  spec->set_top_p(0);
  spec = add("evaluate_open.top_p: expected more than 0");
  spec->set_temperature(1);
  spec->set_top_p(1.5);
  add("evaluate_open.top_p: changes nothing")->set_top_p(0.9);
  add("evaluate_open.max_new_tokens: expected 1 to 8192")
      ->set_max_new_tokens(-3);
  add("evaluate_open.max_new_tokens: expected 1 to 8192")
      ->set_max_new_tokens(8193);
  add("evaluate_open.max_new_tokens: 4096 leave no room for a prompt")
      ->set_max_new_tokens(4096);
  spec = add("evaluate_open.data: 8400 answers of up to 2048 tokens");
  spec->set_data(Questions(4200));
  spec->set_max_new_tokens(2048);
  for (const auto& [message, bad] : cases) {
    const absl::Status status = kind_.Validate(bad);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << message << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  v1::JobSpec unknown = Spec(1);
  for (v1::Variant& variant :
       *unknown.mutable_evaluate_open()->mutable_variants()) {
    variant.set_model("models/unknown");
  }
  const absl::Status status = kind_.Validate(unknown);
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("evaluate_open.variants[0]"));
  EXPECT_TRUE(kind_.Validate(Sampled(1, 100)).ok());
  EXPECT_EQ(compute_.call_count, 0);
}

TEST(OpenSeedTest, IsTheSeedOfQuestionAndSample) {
  EXPECT_EQ(OpenSeed(42, 0, 0), 1042u);
  EXPECT_EQ(OpenSeed(42, 3, 7), 4049u);
}

}  // namespace
}  // namespace dissonance
