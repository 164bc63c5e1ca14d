// What a report does of files that are long: it reads them line by line, shows
// a part, or leaves them out, and says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "src/lab/report/report.h"
#include "src/lab/report/stage_files.h"
#include "tests/lab/report/made_report.h"
#include "tests/lab/report/made_up_run.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kTooLong = kReportFileLimitBytes + 1;

// A run of one of the stages.
ReportRun Alone(const std::string& name) {
  ReportRun few = MadeUpRun("");
  return {.title = "one", .stages = {StageNamed(few, name)}, .gates = {}};
}

// As a pipeline has a stage of which one file is too long.
void LeaveOut(const std::string& name, ReportStage& stage) {
  ASSERT_EQ(stage.files.erase(name), 1U);
  stage.left_out[name] = kTooLong;
}

size_t LineCount(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST(ReportLimitsTest, HasOneLineOfAFileInMemory) {
  ReportStage stage;
  stage.name = "train";
  // What is behind it has not been looked at when the first line is read.
  stage.files["training.jsonl"] = "{\"step\": 1}\n\nno JSON\n";
  const StageFiles files(stage, "train");
  int read = 0;
  const absl::Status status = files.EachLine(
      "training.jsonl", [&](const nlohmann::json& /*line*/) { ++read; });
  EXPECT_EQ(read, 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("stage train: training.jsonl: line 3: not JSON"));
}

TEST(ReportLimitsTest, ReadsFilesUpToALimit) {
  v1::JobOutput output;
  output.set_file_name("training.jsonl");
  output.set_size_bytes(kReportFileLimitBytes);
  EXPECT_TRUE(ReportTakes(v1::JobSpec::kFineTune, output));
  output.set_size_bytes(kTooLong);
  EXPECT_FALSE(ReportTakes(v1::JobSpec::kFineTune, output));
  output.set_size_bytes(1);
  output.set_file_name("adapter_model.safetensors");
  EXPECT_FALSE(ReportTakes(v1::JobSpec::kFineTune, output));
}

TEST(ReportLimitsTest, SaysInTheSectionWhatItLeftOut) {
  ReportRun run = Alone("train");
  LeaveOut("dataset.json", run.stages[0]);
  EXPECT_THAT(
      PageOf(run),
      AllOf(HasSubstr("Fine-tuning</h2>\n<p class=\"note\">Not told of, "
                      "as a report takes files of up to 64.0 MiB: "
                      "dataset.json (64.0 MiB). The job itself has "
                      "them.</p>"),
            HasSubstr("id=\"train.loss\"")));
}

TEST(ReportLimitsTest, ASectionWithoutItsMainFileSaysThatAlone) {
  for (const auto& [stage, file] :
       {std::pair("train", "training.jsonl"), std::pair("patch", "map.vl.json"),
        std::pair("probes", "probes.jsonl")}) {
    ReportRun run = Alone(stage);
    LeaveOut(file, run.stages[0]);
    const Files files = Made(MakeReport(run));
    EXPECT_THAT(files.at(kReportFileName),
                AllOf(HasSubstr(absl::StrCat("id=\"", stage, ".section\"")),
                      HasSubstr(absl::StrCat(file, " (64.0 MiB)"))));
    EXPECT_EQ(files.size(), 1U);
  }
}

// The stage's summary names the file, which is no reason to fail.
TEST(ReportLimitsTest, DoesWithoutOneNetworksAnswers) {
  ReportRun run = Alone("open");
  LeaveOut("answers_lora.jsonl", run.stages[0]);
  EXPECT_THAT(PageOf(run), AllOf(HasSubstr("answers_lora.jsonl (64.0 MiB)"),
                                 HasSubstr(">base</dt><dd>base<span")));
}

TEST(ReportLimitsTest, OfVeryManyQuestionsTheLensShowsSome) {
  ReportRun run = Alone("lens");
  std::string& lines = run.stages[0].files["lens.jsonl"];
  const std::string line = lines.substr(0, lines.find('\n') + 1);
  lines.clear();
  for (int i = 0; i < 1001; ++i) {
    std::string own = line;
    lines += own.replace(own.find("q0"), 2, absl::StrCat("q", i));
  }
  const Files files = Made(MakeReport(run));
  EXPECT_THAT(files.at(kReportFileName),
              HasSubstr("One question of 3 is shown; the job&#39;s own files"));
  // 334 questions of 4 layers, and the header.
  const std::string& csv = files.at("report/lens.questions.csv");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 334 * 4 + 1);
}

TEST(ReportLimitsTest, OfVeryManyPointsAMapShowsSome) {
  ReportRun run = Alone("probes");
  std::string& lines = run.stages[0].files["pca.jsonl"];
  lines.clear();
  for (const char* place : {"blocks.0.resid_post", "blocks.1.resid_post"}) {
    for (int i = 0; i < 2001; ++i) {
      absl::StrAppend(&lines, "{\"place\": \"", place,
                      "\", \"variant\": \"base\", \"id\": \"q", i,
                      "\", \"class_category_conflict\": \"x\", \"pc1\": ", i,
                      "}\n");
    }
  }
  const Files files = Made(MakeReport(run));
  EXPECT_THAT(files.at(kReportFileName), HasSubstr("One point of 2 is shown"));
  const std::string& csv = files.at("report/probes.pca.csv");
  EXPECT_EQ(LineCount(csv), 2 * 1001 + 1);
  EXPECT_THAT(csv, AllOf(HasSubstr(",q2000,"), Not(HasSubstr(",q1999,"))));
}

// Each step has both losses; the limit is that of the training's steps.
TEST(ReportLimitsTest, StepsAreCountedWithoutValidation) {
  ReportRun run = Alone("train");
  std::string& lines = run.stages[0].files["training.jsonl"];
  const auto make_steps = [&lines](int count) {
    lines.clear();
    for (int step = 1; step <= count; ++step) {
      absl::StrAppend(&lines, "{\"step\": ", step, ", \"loss\": ", step,
                      ", \"validation\": {\"loss\": 7}}\n");
    }
  };
  make_steps(2000);
  Files files = Made(MakeReport(run));
  EXPECT_THAT(files.at(kReportFileName), Not(HasSubstr("One step of")));
  EXPECT_EQ(LineCount(files.at("report/train.loss.csv")), 4000 + 1);
  make_steps(2002);
  files = Made(MakeReport(run));
  EXPECT_THAT(files.at(kReportFileName),
              AllOf(HasSubstr("One step of 2 is shown"),
                    HasSubstr("From 1 at the first step to 2002 at the last")));
  EXPECT_EQ(LineCount(files.at("report/train.loss.csv")), 1001 + 2002 + 1);
}

TEST(ReportLimitsTest, OfVeryManyAnswersTheFirstAreOnThePage) {
  ReportRun run = Alone("open");
  for (const char* network : {"base", "lora"}) {
    std::string& lines =
        run.stages[0].files[absl::StrCat("answers_", network, ".jsonl")];
    lines.clear();
    for (int i = 0; i < 301; ++i) {
      absl::StrAppend(&lines, "{\"id\": \"q", i,
                      "\", \"category\": null, \"question\": \"why\", "
                      "\"answer\": \"",
                      network, i, "\", \"finish_reason\": \"stop\"}\n");
    }
  }
  EXPECT_THAT(
      PageOf(run),
      AllOf(HasSubstr("<summary>More of 301 questions</summary>"),
            HasSubstr("<dd>base299<"), HasSubstr("<dd>lora299<"),
            Not(HasSubstr("<dd>base300<")), Not(HasSubstr("<dd>lora300<"))));
}

}  // namespace
}  // namespace dissonance
