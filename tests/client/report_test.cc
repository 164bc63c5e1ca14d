// Reports of jobs, pipelines and two of them.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ReportCommandTest : public CliTest {
 protected:
  ReportCommandTest() : server_(StartServer()) {}

  void AddOutput(v1::Job& job, const std::string& name,
                 const std::string& contents) {
    v1::JobOutput& output = *job.add_outputs();
    output.set_file_name(name);
    output.set_artifact(server_.artifacts().Add(contents));
  }

  // Documents of which so many are valid.
  void AddDocuments(const std::string& name, int valid) {
    v1::Job job;
    job.set_name(name);
    job.set_state(v1::JOB_STATE_SUCCEEDED);
    job.mutable_spec()->mutable_generate_documents();
    AddOutput(job, "docs.jsonl", "{}\n");
    AddOutput(job, "statistics.json",
              absl::StrCat("{\"documents\": 120, \"valid\": ", valid,
                           ", \"error_share\": 0.1, "
                           "\"invalid_by_reason\": {}}"));
    server_.AddJob(job);
  }

  v1::Job Pipeline(const std::string& name, const std::string& title) {
    v1::Job job;
    job.set_name(name);
    job.set_state(v1::JOB_STATE_SUCCEEDED);
    job.mutable_spec()->mutable_pipeline()->set_title(title);
    return job;
  }

  // An entry of stages.json.
  static std::string Entry(const std::string& name, const std::string& job,
                           const std::string& state) {
    return absl::StrCat("{\"name\": \"", name, "\", \"job\": \"", job,
                        "\", \"kind\": \"any\", \"state\": \"", state, "\"}");
  }

  void AddPipeline(const std::string& name, const std::string& title,
                   const std::vector<std::string>& entries) {
    v1::Job job = Pipeline(name, title);
    AddOutput(job, "report.html", "the server's page");
    AddOutput(job, "report/docs.csv", "a,b\n");
    AddOutput(job, "manifest.json", "{}");
    AddOutput(job, "gates.json",
              "{\"gates\": [{\"gate\": \"documents\", \"stage\": \"docs\", "
              "\"status\": \"warn\", \"text\": \"few\", \"figures\": {}, "
              "\"forced\": false}]}");
    AddOutput(
        job, "stages.json",
        absl::StrCat("{\"stages\": [", absl::StrJoin(entries, ", "), "]}"));
    server_.AddJob(job);
  }

  void AddPipeline(const std::string& name, const std::string& title,
                   const std::string& documents) {
    AddPipeline(name, title,
                std::vector<std::string>{Entry("docs", documents, "SUCCEEDED"),
                                         Entry("mcq", "", "WAITING")});
  }

  // Probes of what another job extracted.
  void AddProbes(const std::string& name, const std::string& activations) {
    v1::Job job;
    job.set_name(name);
    job.set_state(v1::JOB_STATE_SUCCEEDED);
    job.mutable_spec()->mutable_train_probes()->set_activations_job(
        activations);
    server_.AddJob(job);
  }

  FakeServer& server_;
};

TEST_F(ReportCommandTest, MakesOneOfAnyJob) {
  AddDocuments("jobs/A", 110);
  const CommandResult result = Run({"report", "A", "--out", Path("out")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, Path("out/report.html") + "\n");
  EXPECT_THAT(ReadFile("out/report.html"),
              AllOf(HasSubstr("<title>Synthetic documents</title>"),
                    HasSubstr("110 of 120")));
}

TEST_F(ReportCommandTest, FetchesThatOfAPipelineWithItsData) {
  AddDocuments("jobs/A", 110);
  AddPipeline("jobs/P", "Cubic", "jobs/A");
  const CommandResult result =
      Run({"report", "jobs/P", "--out", Path("out"), "-o", "json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["report"], Path("out/report.html"));
  EXPECT_EQ(json["files"].size(), 2U);
  EXPECT_EQ(ReadFile("out/report.html"), "the server's page");
  EXPECT_EQ(ReadFile("out/report/docs.csv"), "a,b\n");
}

TEST_F(ReportCommandTest, ComparesTwoPipelinesStageByStage) {
  AddDocuments("jobs/A", 110);
  AddDocuments("jobs/B", 111);
  AddPipeline("jobs/P", "Cubic", "jobs/A");
  AddPipeline("jobs/Q", "Square", "jobs/B");
  const CommandResult result =
      Run({"report", "P", "--with", "Q", "--out", Path("out")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(ReadFile("out/report.html"),
              AllOf(HasSubstr("<title>Cubic and Square</title>"),
                    HasSubstr("110 of 120"), HasSubstr("111 of 120"),
                    HasSubstr("! warning")));
}

TEST_F(ReportCommandTest, EqualPipelinesDifferInNothing) {
  for (const std::string run : {"1", "2"}) {
    AddDocuments("jobs/D" + run, 110);
    AddProbes("jobs/P" + run, "jobs/D" + run);
    AddPipeline(
        "jobs/R" + run, "Cubic",
        std::vector<std::string>{Entry("rows", "jobs/D" + run, "SUCCEEDED"),
                                 Entry("probes", "jobs/P" + run, "SUCCEEDED")});
  }
  const CommandResult result =
      Run({"report", "R1", "--with", "R2", "--out", Path("out")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(
      ReadFile("out/report.html"),
      AllOf(HasSubstr("Both were asked the same and computed by the same."),
            HasSubstr("stage rows")));
}

TEST_F(ReportCommandTest, LeavesOutStagesThatDidNotSucceedOrAreGone) {
  AddDocuments("jobs/A", 110);
  AddDocuments("jobs/F", 111);
  AddPipeline(
      "jobs/P", "Cubic",
      std::vector<std::string>{Entry("docs", "jobs/A", "SUCCEEDED"),
                               Entry("failed", "jobs/F", "FAILED"),
                               Entry("deleted", "jobs/GONE", "SUCCEEDED")});
  const CommandResult result =
      Run({"report", "P", "--with", "P", "--out", Path("out")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("note: stage deleted of jobs/P is left "
                                    "out: its job jobs/GONE is gone\n"));
  EXPECT_THAT(ReadFile("out/report.html"),
              AllOf(HasSubstr("110 of 120"), Not(HasSubstr("111 of 120"))));
}

TEST_F(ReportCommandTest, DoesNotFetchAFileThatIsTooLong) {
  v1::Job job;
  job.set_name("jobs/A");
  job.set_state(v1::JOB_STATE_SUCCEEDED);
  job.mutable_spec()->mutable_generate_documents();
  AddOutput(job, "statistics.json", "not to be read");
  job.mutable_outputs(0)->set_size_bytes((int64_t{64} << 20) + 1);
  server_.AddJob(job);
  const CommandResult result = Run({"report", "A", "--out", Path("out")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(ReadFile("out/report.html"),
              HasSubstr("statistics.json (64.0 MiB)"));
}

TEST_F(ReportCommandTest, ComparesTwoJobsOfOneKindAlone) {
  AddDocuments("jobs/A", 110);
  AddDocuments("jobs/B", 111);
  EXPECT_EQ(Run({"report", "A", "--with", "B", "--out", Path("out")}).exit_code,
            0);
  AddPipeline("jobs/P", "Cubic", "jobs/A");
  const CommandResult result =
      Run({"report", "A", "--with", "P", "--out", Path("out")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err,
              HasSubstr("--with: jobs/P is of another kind than jobs/A"));
}

TEST_F(ReportCommandTest, SaysWhatToDoBeforeTheJobHasEnded) {
  v1::Job job = Pipeline("jobs/P", "Cubic");
  job.set_state(v1::JOB_STATE_RUNNING);
  server_.AddJob(job);
  const CommandResult result = Run({"report", "P", "--out", Path("out")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("jobs/P is running"),
                                HasSubstr("dissonance jobs watch P")));
}

TEST_F(ReportCommandTest, SaysThatAJobHasNothingToTell) {
  v1::Job job;
  job.set_name("jobs/X");
  job.set_state(v1::JOB_STATE_FAILED);
  job.mutable_spec()->mutable_extract_activations();
  server_.AddJob(job);
  const CommandResult result = Run({"report", "X", "--out", Path("out")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("jobs/X (extract_activations) is failed "
                                    "and has no files that a report tells"));
}

TEST_F(ReportCommandTest, WithoutADisplayOpenSaysWhereTheFileIs) {
  AddDocuments("jobs/A", 110);
  const CommandResult result =
      Run({"report", "A", "--out", Path("out"), "--open"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err,
              HasSubstr("there is no display; open this file in a browser: " +
                        Path("out/report.html")));
  EXPECT_THAT(Run({"report", "A", "--out", Path("out")}).err,
              Not(HasSubstr("open this file")));
}

}  // namespace
}  // namespace dissonance
