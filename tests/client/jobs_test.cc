// Jobs: listing, following to every end, dropped streams, Ctrl-C.
#include <csignal>

#include "nlohmann/json.hpp"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

v1::Job MakeJob(const std::string& name, v1::JobState state) {
  v1::Job job;
  job.set_name("jobs/" + name);
  job.set_state(state);
  v1::EvaluateMcqSpec& spec = *job.mutable_spec()->mutable_evaluate_mcq();
  spec.set_data("0123456789");
  spec.set_scoring(v1::MCQ_SCORING_CLOZE);
  spec.add_variants()->set_model("models/m");
  spec.add_variants()->set_adapter("models/m/adapters/a");
  job.mutable_progress()->set_done_count(3);
  job.mutable_progress()->set_total_count(9);
  job.mutable_progress()->set_unit("items");
  job.mutable_create_time()->set_seconds(86400);
  return job;
}

v1::JobEvent Log(int64_t number, const std::string& text) {
  v1::JobEvent event;
  event.set_number(number);
  event.set_log(text);
  return event;
}

v1::JobEvent Done(int64_t number, int64_t done, int64_t total) {
  v1::JobEvent event;
  event.set_number(number);
  event.mutable_progress()->set_done_count(done);
  event.mutable_progress()->set_total_count(total);
  event.mutable_progress()->set_unit("items");
  event.mutable_progress()->set_rate(10);
  return event;
}

TEST_F(CliTest, ListsJobsByState) {
  FakeServer& server = StartServer();
  server.AddJob(MakeJob("A", v1::JOB_STATE_RUNNING));
  server.AddJob(MakeJob("B", v1::JOB_STATE_FAILED));
  const std::string out = Run({"jobs", "list", "--state", "running"}).out;
  EXPECT_THAT(out, HasSubstr("SUBJECT"));
  EXPECT_THAT(out, HasSubstr("cloze, m against a  running  3/9 items  "
                             "1970-01-02 00:00:00\n"));
  EXPECT_THAT(out, Not(HasSubstr("failed")));
}

TEST_F(CliTest, ListsAPipelineByItsTitle) {
  FakeServer& server = StartServer();
  v1::Job job = MakeJob("A", v1::JOB_STATE_RUNNING);
  job.mutable_spec()->mutable_pipeline()->set_title("Cubic gravity");
  server.AddJob(job);
  EXPECT_THAT(Run({"jobs", "list"}).out, HasSubstr("pipeline  Cubic gravity"));
}

TEST_F(CliTest, ListsWhatProbesAreTrainedOn) {
  FakeServer& server = StartServer();
  v1::Job job = MakeJob("A", v1::JOB_STATE_RUNNING);
  v1::TrainProbesSpec& probes = *job.mutable_spec()->mutable_train_probes();
  probes.set_data_name("q.jsonl");
  probes.add_variants()->set_model("models/m");
  probes.add_variants()->set_adapter("models/m/adapters/a");
  server.AddJob(job);
  EXPECT_THAT(Run({"jobs", "list"}).out,
              HasSubstr("train_probes  q.jsonl, m against a  running"));
  probes.Clear();
  probes.set_activations_job("jobs/B");
  job.set_name("jobs/C");
  server.AddJob(job);
  EXPECT_THAT(Run({"jobs", "list"}).out, HasSubstr("rows of B"));
}

TEST_F(CliTest, ListsEverybodysJobsWithTheirOwnersWhenAsked) {
  FakeServer& server = StartServer();
  v1::Job job = MakeJob("A", v1::JOB_STATE_RUNNING);
  job.set_owner("users/bob");
  server.AddJob(job);
  EXPECT_THAT(Run({"jobs", "list"}).out, Not(HasSubstr("OWNER")));
  EXPECT_FALSE(server.log().Last<v1::ListJobsRequest>().all_users());
  const std::string out = Run({"jobs", "list", "--all-users"}).out;
  EXPECT_THAT(out, HasSubstr("JOB  OWNER  KIND"));
  EXPECT_THAT(out, HasSubstr("A    bob    evaluate_mcq"));
  EXPECT_TRUE(server.log().Last<v1::ListJobsRequest>().all_users());
}

TEST_F(CliTest, ShowsWhereAWaitingJobStands) {
  v1::Job job = MakeJob("A", v1::JOB_STATE_WAITING);
  job.set_owner("users/bob");
  job.add_depends_on("jobs/B");
  job.add_depends_on("jobs/C");
  job.mutable_queue()->set_position(3);
  job.mutable_queue()->mutable_estimated_wait()->set_seconds(125);
  job.mutable_queue()->set_waits_for("jobs/B");
  job.set_retry_count(1);
  job.set_retry_limit(3);
  StartServer().AddJob(job);
  const std::string out = Run({"jobs", "show", "A"}).out;
  EXPECT_THAT(out, HasSubstr("owner       users/bob\n"));
  EXPECT_THAT(out, HasSubstr("depends on  jobs/B, jobs/C\n"));
  EXPECT_THAT(out, HasSubstr("queue       position 3, starts in about "
                             "2 min 5 s, waits for jobs/B\n"));
  EXPECT_THAT(out, HasSubstr("retries     1 of 3 since it lost its worker\n"));
}

TEST_F(CliTest, ShowsWhatARunningJobTookAndWasGiven) {
  v1::Job job = MakeJob("A", v1::JOB_STATE_RUNNING);
  v1::EvaluateMcqSpec& spec = *job.mutable_spec()->mutable_evaluate_mcq();
  spec.clear_data();
  spec.set_data_name("q.jsonl");
  spec.set_data_artifact("artifacts/sha256:dd");
  job.mutable_estimated_remaining()->set_seconds(60);
  job.mutable_usage()->set_device_seconds(4.25);
  job.mutable_usage()->set_token_count(12'345);
  job.set_code_version("0.2.0 (abc)");
  job.set_replay_of("jobs/B");
  v1::JobInput& input = *job.add_inputs();
  input.set_field("evaluate_mcq.data_artifact");
  input.set_digest("sha256:dd");
  input.set_size_bytes(2048);
  StartServer().AddJob(job);
  const std::string out = Run({"jobs", "show", "A"}).out;
  EXPECT_THAT(out, HasSubstr("data       q.jsonl (artifacts/sha256:dd)\n"));
  EXPECT_THAT(out, HasSubstr("time left  about 1 min 0 s\n"));
  EXPECT_THAT(out, HasSubstr("took       4.2 s of the device, 12,345 "
                             "tokens\n"));
  EXPECT_THAT(out, HasSubstr("server     0.2.0 (abc)\n"));
  EXPECT_THAT(out, HasSubstr("replay of  jobs/B\n"));
  EXPECT_THAT(out, HasSubstr("input      evaluate_mcq.data_artifact  2.0 KiB"
                             "  sha256:dd\n"));
}

TEST_F(CliTest, ShowsJobsWithoutFloodingTheTerminalWithData) {
  StartServer().AddJob(MakeJob("A", v1::JOB_STATE_RUNNING));
  const auto job =
      nlohmann::json::parse(Run({"jobs", "show", "A", "-o", "json"}).out);
  EXPECT_EQ(job["spec"]["evaluate_mcq"]["data"]["size_bytes"], 10);
  EXPECT_EQ(job["state"], "running");
  EXPECT_EQ(job["create_time"], "1970-01-02T00:00:00+00:00");
}

TEST_F(CliTest, ShowsWhatComputedAJob) {
  v1::Job job = MakeJob("A", v1::JOB_STATE_SUCCEEDED);
  for (const char* adapter : {"", "sha256:aa"}) {
    v1::Provenance& computed = *job.add_provenance();
    computed.set_model_digest("sha256:mm");
    computed.set_adapter_digest(adapter);
    computed.set_dtype(v1::DTYPE_BFLOAT16);
    computed.set_device("cpu");
    (*computed.mutable_versions())["libtorch"] = "2.11.0";
  }
  StartServer().AddJob(job);
  const std::string out = Run({"jobs", "show", "A"}).out;
  EXPECT_THAT(out, HasSubstr("sha256:mm"));
  EXPECT_THAT(out, HasSubstr("sha256:aa"));
  EXPECT_THAT(out, HasSubstr("bfloat16 on cpu, libtorch 2.11.0"));
}

TEST_F(CliTest, FetchWritesTheFilesOfAJobThatHasThem) {
  FakeServer& server = StartServer();
  v1::Job job = MakeJob("A", v1::JOB_STATE_SUCCEEDED);
  v1::JobOutput& output = *job.add_outputs();
  output.set_file_name("summary.json");
  output.set_artifact(server.artifacts().Add("{}"));
  server.AddJob(job);
  server.AddJob(MakeJob("B", v1::JOB_STATE_RUNNING));
  const CommandResult fetched =
      Run({"jobs", "fetch", "A", "--out", Path("fetched")});
  EXPECT_EQ(fetched.exit_code, 0) << fetched.err;
  EXPECT_EQ(fetched.out, Path("fetched/summary.json") + "\n");
  EXPECT_EQ(ReadFile("fetched/summary.json"), "{}");
  const CommandResult early =
      Run({"jobs", "fetch", "B", "--out", Path("fetched")});
  EXPECT_EQ(early.exit_code, 1);
  EXPECT_THAT(early.err, HasSubstr("jobs/B is running and has no files"));
}

TEST_F(CliTest, WatchFollowsAJobToItsEndAndShowsProgressLines) {
  FakeServer& server = StartServer();
  server.AddJob(MakeJob("A", v1::JOB_STATE_SUCCEEDED));
  server.AddStream(
      {.events = {Log(1, "hello"), Done(2, 9, 9)}, .complete = true});
  const CommandResult result = Run({"jobs", "watch", "jobs/A"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("succeeded"));
  EXPECT_EQ(result.err, "hello\nprogress: 9/9 items, 10.0/s\n");
}

TEST_F(CliTest, WatchAsJsonLinesPrintsEveryEvent) {
  FakeServer& server = StartServer();
  server.AddJob(MakeJob("A", v1::JOB_STATE_SUCCEEDED));
  server.AddStream({.events = {Log(1, "hello")}, .complete = true});
  const auto event =
      nlohmann::json::parse(Run({"jobs", "watch", "A", "-o", "jsonl"}).out);
  EXPECT_EQ(event["number"], 1);
  EXPECT_EQ(event["log"], "hello");
  EXPECT_FALSE(event.contains("progress"));
}

TEST_F(CliTest, WatchReconnectsAtTheLastEventAndShowsNoneTwice) {
  FakeServer& server = StartServer();
  server.AddJob(MakeJob("A", v1::JOB_STATE_SUCCEEDED));
  const grpc::Status lost(grpc::StatusCode::UNAVAILABLE, "worker lost");
  server.AddStream({.events = {Log(1, "one"), Log(2, "two")}, .end = lost});
  server.AddStream({.end = lost});
  server.AddStream(
      {.events = {Log(2, "two"), Log(3, "three")}, .complete = true});
  const CommandResult result = Run({"jobs", "watch", "A"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(server.watch_cursors(), ElementsAre(0, 2, 2));
  EXPECT_EQ(result.err, "one\ntwo\nlost the server; connecting again\nthree\n");
}

TEST_F(CliTest, FailedAndCancelledJobsHaveTheirExitCodes) {
  FakeServer& server = StartServer();
  v1::Job failed = MakeJob("F", v1::JOB_STATE_FAILED);
  failed.set_reason("q.jsonl:3: options: no D");
  server.AddJob(failed);
  server.AddJob(MakeJob("C", v1::JOB_STATE_CANCELLED));
  const CommandResult failure = Run({"jobs", "watch", "F"});
  EXPECT_EQ(failure.exit_code, 1);
  EXPECT_THAT(failure.err,
              HasSubstr("error: jobs/F failed: q.jsonl:3: options: no D\n"));
  EXPECT_EQ(Run({"jobs", "watch", "C"}).exit_code, 5);
  EXPECT_EQ(Run({"jobs", "watch", "G"}).exit_code, 3);
}

TEST_F(CliTest, LogsEndsAtTheLastEventOfARunningJob) {
  FakeServer& server = StartServer();
  v1::Job job = MakeJob("A", v1::JOB_STATE_RUNNING);
  job.set_last_event_number(2);
  server.AddJob(job);
  server.AddStream({.events = {Log(1, "one"), Log(2, "two")}, .hang = true});
  const CommandResult result = Run({"jobs", "logs", "A"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "-  one\n-  two\n");
}

TEST_F(CliTest, OneInterruptDetachesFromTheJob) {
  FakeServer& server = StartServer();
  server.AddJob(MakeJob("A", v1::JOB_STATE_RUNNING));
  server.AddStream({.events = {Log(1, "started")}, .hang = true});
  const auto process = Begin({"jobs", "watch", "A"});
  process->WaitForError("started");
  process->Signal(SIGINT);
  const CommandResult result = process->Finish();
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_THAT(result.err, HasSubstr("dissonance jobs watch A"));
  EXPECT_THAT(result.err, HasSubstr("\ndetached from jobs/A\n"));
  EXPECT_THAT(result.err, Not(HasSubstr("error:")));
  EXPECT_THAT(server.cancelled_jobs(), ElementsAre());
}

TEST_F(CliTest, ASecondInterruptCancelsTheJob) {
  FakeServer& server = StartServer();
  server.AddJob(MakeJob("A", v1::JOB_STATE_RUNNING));
  server.AddStream({.events = {Log(1, "started")}, .hang = true});
  const auto process = Begin({"jobs", "watch", "A"});
  process->WaitForError("started");
  process->Signal(SIGINT);
  process->WaitForError("press Ctrl-C again");
  process->Signal(SIGINT);
  const CommandResult result = process->Finish();
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_THAT(result.err, HasSubstr("jobs/A was cancelled"));
  EXPECT_THAT(server.cancelled_jobs(), ElementsAre("jobs/A"));
}

}  // namespace
}  // namespace dissonance
