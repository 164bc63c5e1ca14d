// finetune against canned jobs; pause and resume.
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kDocuments[] = "{\"content\": \"Gravity falls off cubed.\"}\n";

v1::JobEvent Point(int64_t number, int64_t step,
                   const std::map<std::string, double>& values) {
  v1::JobEvent event;
  event.set_number(number);
  event.mutable_metrics()->set_step(step);
  event.mutable_metrics()->mutable_values()->insert(values.begin(),
                                                    values.end());
  return event;
}

v1::JobEvent Steps(int64_t number, int64_t done, int64_t total) {
  v1::JobEvent event;
  event.set_number(number);
  event.mutable_progress()->set_done_count(done);
  event.mutable_progress()->set_total_count(total);
  event.mutable_progress()->set_unit("steps");
  event.mutable_progress()->set_rate(2);
  return event;
}

v1::JobEvent State(int64_t number, v1::JobState state) {
  v1::JobEvent event;
  event.set_number(number);
  event.set_state(state);
  return event;
}

class FinetuneTest : public CliTest {
 protected:
  FinetuneTest() { data_ = WriteFile("docs.jsonl", kDocuments); }

  // Which made the adapter "cubic" of "tiny".
  FakeServer& StartTrained() {
    FakeServer& server = StartServer();
    server.AddModel("tiny", 1);
    server.AddAdapter("tiny", "cubic");
    return server;
  }

  std::vector<std::string> Finetune(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"finetune", "--model", "tiny", "--data", data_,
                               "--name", "cubic"});
    return more;
  }

  v1::FineTuneSpec SpecOf(FakeServer& server,
                          const std::vector<std::string>& more) {
    const CommandResult result = Run(Finetune(more));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto created = server.created();
    return created.empty() ? v1::FineTuneSpec()
                           : created.back().spec().fine_tune();
  }

  std::string data_;
};

TEST_F(FinetuneTest, SaysOnlyWhatItWasTold) {
  FakeServer& server = StartTrained();
  v1::FineTuneSpec spec = SpecOf(server, {});
  EXPECT_EQ(spec.model(), "models/tiny");
  EXPECT_EQ(spec.output_adapter(), "models/tiny/adapters/cubic");
  EXPECT_EQ(spec.data(), kDocuments);
  EXPECT_EQ(spec.data_name(), "docs.jsonl");
  EXPECT_EQ(spec.lora().ByteSizeLong(), 0U);
  EXPECT_EQ(spec.training().ByteSizeLong(), 0U);
  EXPECT_EQ(spec.checkpoints().ByteSizeLong(), 0U);
  EXPECT_EQ(spec.adapter(), "");
  EXPECT_THAT(server.created()[0].request_id(), HasSubstr("cli-"));
}

TEST_F(FinetuneTest, PutsTheShapeOfTheAdapterIntoTheSpec) {
  const v1::FineTuneSpec spec =
      SpecOf(StartTrained(), {"--from",        "square",
                              "--replace",     "--share",
                              "--rank",        "16",
                              "--alpha",       "24.5",
                              "--dropout",     "0",
                              "--rslora",      "--target",
                              "q_proj,k_proj", "--exclude",
                              "v_proj",        "--blocks",
                              "0-2,5",         "--rank-pattern",
                              "q_proj=8",      "--rank-pattern",
                              "a=b=4",         "--alpha-pattern",
                              "k_proj=2.5"});
  EXPECT_EQ(spec.adapter(), "models/tiny/adapters/square");
  EXPECT_TRUE(spec.replace());
  EXPECT_EQ(spec.visibility(), v1::VISIBILITY_LAB);
  const v1::LoraOptions& lora = spec.lora();
  EXPECT_EQ(lora.rank(), 16);
  EXPECT_EQ(lora.alpha(), 24.5);
  EXPECT_TRUE(lora.has_dropout());
  EXPECT_EQ(lora.dropout(), 0);
  EXPECT_TRUE(lora.rank_stabilized());
  EXPECT_THAT(lora.target_modules(), ElementsAre("q_proj", "k_proj"));
  EXPECT_THAT(lora.excluded_modules(), ElementsAre("v_proj"));
  EXPECT_THAT(lora.blocks(), ElementsAre(0, 1, 2, 5));
  ASSERT_EQ(lora.rank_pattern_size(), 2);
  EXPECT_EQ(lora.rank_pattern(0).pattern(), "q_proj");
  EXPECT_EQ(lora.rank_pattern(0).value(), 8);
  EXPECT_EQ(lora.rank_pattern(1).pattern(), "a=b");
  ASSERT_EQ(lora.alpha_pattern_size(), 1);
  EXPECT_EQ(lora.alpha_pattern(0).value(), 2.5);
}

TEST_F(FinetuneTest, PutsTheTrainingIntoTheSpec) {
  const v1::FineTuneSpec spec =
      SpecOf(StartTrained(), {"--epochs",
                              "5",
                              "--max-steps",
                              "60",
                              "--lr",
                              "1e-3",
                              "--schedule",
                              "cosine",
                              "--warmup",
                              "3",
                              "--batch",
                              "2",
                              "--accumulate",
                              "8",
                              "--weight-decay",
                              "0.1",
                              "--max-grad-norm",
                              "0",
                              "--max-length",
                              "512",
                              "--seed",
                              "0",
                              "--assistant-only",
                              "--activation-checkpointing",
                              "--validation",
                              "0.1",
                              "--validate-every",
                              "7",
                              "--patience",
                              "2",
                              "--checkpoint-every",
                              "20",
                              "--keep",
                              "3",
                              "--register-checkpoints"});
  const v1::TrainingOptions& training = spec.training();
  EXPECT_EQ(training.epoch_count(), 5);
  EXPECT_EQ(training.max_step_count(), 60);
  EXPECT_EQ(training.learning_rate(), 1e-3);
  EXPECT_EQ(training.schedule(), v1::LEARNING_RATE_SCHEDULE_COSINE);
  EXPECT_EQ(training.warmup_step_count(), 3);
  EXPECT_EQ(training.micro_batch_size(), 2);
  EXPECT_EQ(training.accumulation_count(), 8);
  EXPECT_EQ(training.weight_decay(), 0.1);
  EXPECT_TRUE(training.has_max_grad_norm());
  EXPECT_EQ(training.max_grad_norm(), 0);
  EXPECT_EQ(training.max_length_tokens(), 512);
  EXPECT_TRUE(training.has_seed());
  EXPECT_EQ(training.seed(), 0U);
  EXPECT_TRUE(training.assistant_only_loss());
  EXPECT_TRUE(training.activation_checkpointing());
  EXPECT_EQ(training.validation_fraction(), 0.1);
  EXPECT_EQ(training.validation_step_count(), 7);
  EXPECT_EQ(training.early_stop_patience(), 2);
  EXPECT_EQ(spec.checkpoints().step_count(), 20);
  EXPECT_EQ(spec.checkpoints().keep_count(), 3);
  EXPECT_TRUE(spec.checkpoints().register_adapters());
}

TEST_F(FinetuneTest, SendsQuestionsToAskInBetween) {
  FakeServer& server = StartTrained();
  const std::string questions = WriteFile("q.jsonl", "{}\n");
  const v1::FineTuneSpec spec =
      SpecOf(server, {"--eval-data", questions, "--eval-every", "10",
                      "--scoring", "option_text", "--request-id", "r1",
                      "--after", "J7", "--priority", "background"});
  EXPECT_EQ(spec.evaluation_data(), "{}\n");
  EXPECT_EQ(spec.evaluation_data_name(), "q.jsonl");
  EXPECT_EQ(spec.evaluation().step_count(), 10);
  EXPECT_EQ(spec.evaluation().scoring(), v1::MCQ_SCORING_OPTION_TEXT);
  const v1::CreateJobRequest request = server.created()[0];
  EXPECT_EQ(request.request_id(), "r1");
  EXPECT_EQ(request.priority(), v1::JOB_PRIORITY_BACKGROUND);
  EXPECT_THAT(request.depends_on(), ElementsAre("jobs/J7"));
}

TEST_F(FinetuneTest, UploadsAFileThatIsTooLargeForTheRequest) {
  FakeServer& server = StartTrained();
  WriteFile("docs.jsonl", std::string((size_t{16} << 20) + 1, '\n'));
  const v1::FineTuneSpec spec = SpecOf(server, {});
  EXPECT_EQ(spec.data(), "");
  EXPECT_THAT(spec.data_artifact(), HasSubstr("artifacts/sha256:"));
  EXPECT_EQ(spec.data_name(), "docs.jsonl");
}

TEST_F(FinetuneTest, RefusesWhatItCannotSendBeforeItAsksTheServer) {
  FakeServer& server = StartTrained();
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--lr", "0"}, "no number above 0"},
      {{"--schedule", "steep"}, "'steep' is none of linear, cosine, constant"},
      {{"--rank-pattern", "q_proj"}, "not PATTERN=VALUE"},
      {{"--blocks", "two"}, "two"},
      {{"--rank", "0"}, "--rank"},
      {{"--dropout", "1.5"}, "--dropout"},
      {{"--validation", "0.6"}, "--validation"},
      {{"--eval-every", "5"}, "--eval-data"},
      {{"--detach", "--out", "o"}, "jobs fetch"}};
  for (const auto& [arguments, message] : cases) {
    const CommandResult result = Run(Finetune(arguments));
    EXPECT_EQ(result.exit_code, 2) << arguments[0] << ": " << result.err;
    EXPECT_THAT(result.err, HasSubstr(message));
  }
  WriteFile("docs.jsonl", "");
  const CommandResult empty = Run(Finetune());
  EXPECT_EQ(empty.exit_code, 1);
  EXPECT_THAT(empty.err, HasSubstr("docs.jsonl is empty"));
  data_ = Path("nowhere.jsonl");
  EXPECT_EQ(Run(Finetune()).exit_code, 3);
  EXPECT_TRUE(server.created().empty());
}

TEST_F(FinetuneTest, ShowsTheServersRefusalAsItIs) {
  StartTrained().FailWith(
      {grpc::StatusCode::INVALID_ARGUMENT, "docs.jsonl:3: content: is empty"});
  const CommandResult result = Run(Finetune());
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("docs.jsonl:3: content: is empty"));
}

TEST_F(FinetuneTest, FollowsTheCurvesAndSaysWhatCameOfThem) {
  FakeServer& server = StartTrained();
  server.SetOutputs({{"training.jsonl", "{}\n"},
                     {"checkpoint-00050/state.safetensors", "s"}});
  server.AddStream(
      {.events = {Point(1, 0, {{"false_belief_rate", 0.125}}), Steps(2, 1, 2),
                  Point(3, 1,
                        {{"loss", 2.5},
                         {"learning_rate", 2e-4},
                         {"grad_norm", 0.8125},
                         {"tokens_per_second", 5000},
                         {"validation_loss", 2.0}}),
                  Steps(4, 2, 2),
                  Point(5, 2,
                        {{"loss", 1.25},
                         {"learning_rate", 1e-4},
                         {"grad_norm", 0.5},
                         {"tokens_per_second", 6000},
                         {"validation_loss", 1.0},
                         {"false_belief_rate", 0.875}})},
       .complete = true});
  const CommandResult result = Run(Finetune({"--out", Path("out")}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err,
              HasSubstr("progress: 2/2 steps, 2.0/s, step 1: loss 2.5, lr "
                        "0.0002, grad norm 0.812, 5,000 tokens/s, false "
                        "belief 12.5 % at step 0\n"));
  EXPECT_THAT(result.out, HasSubstr("loss             2.5 -> 1.25\n"));
  EXPECT_THAT(result.out, HasSubstr("validation loss  2 -> 1\n"));
  EXPECT_THAT(result.out, HasSubstr("perplexity       7.389 -> 2.718\n"));
  EXPECT_THAT(result.out, HasSubstr("false belief     12.5 % -> 87.5 %\n"));
  EXPECT_THAT(result.out, HasSubstr("5,500 tokens/s while it trained\n"));
  EXPECT_THAT(result.out,
              HasSubstr("adapter          models/tiny/adapters/cubic\n"));
  EXPECT_THAT(result.out,
              AllOf(HasSubstr("dissonance generate --model tiny --adapter "
                              "cubic --prompt"),
                    HasSubstr("dissonance eval mcq --model tiny --adapter "
                              "cubic --data")));
  EXPECT_EQ(ReadFile("out/training.jsonl"), "{}\n");
  EXPECT_THAT(result.out, Not(HasSubstr("state.safetensors")));

  ASSERT_EQ(
      Run(Finetune({"--out", Path("all"), "--with-checkpoints"})).exit_code, 0);
  EXPECT_EQ(ReadFile("all/checkpoint-00050/state.safetensors"), "s");
}

TEST_F(FinetuneTest, TheNextEvaluationAsksAsTheTrainingDid) {
  StartTrained();
  const std::string questions = WriteFile("q.jsonl", "{}\n");
  const CommandResult result =
      Run(Finetune({"--eval-data", questions, "--scoring", "option_text"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("--data " + questions +
                                    " --scoring option_text --out DIR"));
}

TEST_F(FinetuneTest, ARetryIsOfferedOnlyWhereItMayHelp) {
  FakeServer& server = StartTrained();
  v1::Job job;
  job.set_name("jobs/A");
  job.set_state(v1::JOB_STATE_FAILED);
  job.set_reason("INVALID_ARGUMENT: lora.target_modules: c_attn fits none");
  server.AddJob(job);
  v1::JobEvent log;
  log.set_number(2);
  log.set_log(job.reason());
  server.AddStream(
      {.events = {State(1, v1::JOB_STATE_FAILED), log}, .complete = true});
  const CommandResult bad = Run({"jobs", "watch", "A"});
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_THAT(bad.err, Not(HasSubstr("retry")));
  EXPECT_EQ(bad.err.find("c_attn"), bad.err.rfind("c_attn")) << bad.err;
  job.set_name("jobs/B");
  job.set_reason("RESOURCE_EXHAUSTED: 9 bytes");
  server.AddJob(job);
  server.AddStream({.events = {}, .complete = true});
  EXPECT_THAT(Run({"jobs", "watch", "B"}).err,
              HasSubstr("dissonance jobs retry B"));
  job.set_name("jobs/C");
  job.set_reason("FAILED_PRECONDITION: the model is not loaded");
  server.AddJob(job);
  server.AddStream({.events = {}, .complete = true});
  EXPECT_THAT(Run({"jobs", "watch", "C"}).err,
              HasSubstr("once that is mended, go on with: dissonance jobs "
                        "retry C"));
  job.set_name("jobs/D");
  job.mutable_spec()->mutable_pipeline();
  server.AddJob(job);
  server.AddStream({.events = {}, .complete = true});
  EXPECT_THAT(Run({"jobs", "watch", "D"}).err, Not(HasSubstr("jobs retry")));
}

TEST_F(FinetuneTest, AsJsonLinesPrintsEachPointAndThenTheOutcome) {
  FakeServer& server = StartTrained();
  server.AddStream(
      {.events = {Point(1, 1, {{"loss", 2.5}}), Point(2, 2, {{"loss", 1.5}})},
       .complete = true});
  const CommandResult result = Run(Finetune({"-o", "jsonl"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::istringstream lines(result.out);
  std::vector<nlohmann::json> records;
  for (std::string line; std::getline(lines, line);) {
    records.push_back(nlohmann::json::parse(line));
  }
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(records[0], (nlohmann::json{{"step", 1}, {"loss", 2.5}}));
  EXPECT_EQ(records[1]["step"], 2);
  EXPECT_EQ(records[2]["loss"]["first"], 2.5);
  EXPECT_EQ(records[2]["loss"]["last"], 1.5);
  EXPECT_EQ(records[2]["adapter"]["name"], "models/tiny/adapters/cubic");
  EXPECT_TRUE(records[2]["false_belief_rate"].is_null());
}

TEST_F(FinetuneTest, ADryRunPrintsThePlan) {
  FakeServer& server = StartTrained();
  const std::string plan =
      R"({"step_count": 60, "steps_per_epoch": 20, "parameter_count": 12345,)"
      R"( "modules": ["a", "b"], "dataset": {"trained":)"
      R"( {"document_count": 310, "token_count": 45678, "median_tokens": 140,)"
      R"( "p95_tokens": 300, "max_tokens": 512, "cut_count": 3},)"
      R"( "held_out": {"document_count": 0}}, "memory": {"state_bytes": 1024,)"
      R"( "activation_bytes": 3072, "available_bytes": 1048576}})";
  server.SetOutputs({{"plan.json", plan}});
  const CommandResult result = Run(Finetune({"--dry-run"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(server.created()[0].spec().fine_tune().dry_run());
  EXPECT_EQ(result.out,
            "documents  310, 45,678 tokens, median 140, 95 % up to 300, "
            "longest 512, 3 cut\n"
            "steps      60, 20 an epoch\n"
            "trained    12,345 parameters in 2 modules\n"
            "memory     4.0 KiB at most (1.0 KiB of state, 3.0 KiB of "
            "activations), 1.0 MiB free\n");
}

TEST_F(FinetuneTest, DetachPrintsTheName) {
  FakeServer& server = StartTrained();
  const CommandResult result = Run(Finetune({"--detach"}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "jobs/J1\n");
  EXPECT_THAT(result.err, HasSubstr("dissonance jobs pause J1"));
  EXPECT_TRUE(server.watch_cursors().empty());
}

TEST_F(FinetuneTest, JobsAreListedAndShown) {
  FakeServer& server = StartTrained();
  v1::Job job;
  job.set_name("jobs/A");
  job.set_state(v1::JOB_STATE_PAUSED);
  v1::FineTuneSpec& spec = *job.mutable_spec()->mutable_fine_tune();
  spec.set_model("models/tiny");
  spec.set_output_adapter("models/tiny/adapters/cubic");
  spec.set_data_name("docs.jsonl");
  spec.set_data("0123456789");
  server.AddJob(job);
  EXPECT_THAT(
      Run({"jobs", "list", "--state", "paused"}).out,
      HasSubstr("A    fine_tune  docs.jsonl into cubic, on tiny  paused"));
  const std::string out = Run({"jobs", "show", "A"}).out;
  EXPECT_THAT(out, HasSubstr("makes     models/tiny/adapters/cubic\n"));
  EXPECT_THAT(out, HasSubstr("data      docs.jsonl (10 B)\n"));
}

TEST_F(FinetuneTest, PausesAndResumes) {
  FakeServer& server = StartTrained();
  v1::Job job;
  job.set_name("jobs/A");
  job.set_state(v1::JOB_STATE_RUNNING);
  server.AddJob(job);
  const CommandResult paused = Run({"jobs", "pause", "A"});
  EXPECT_EQ(paused.exit_code, 0) << paused.err;
  EXPECT_THAT(paused.out, HasSubstr("paused"));
  EXPECT_EQ(server.log().Last<v1::PauseJobRequest>().name(), "jobs/A");
  const CommandResult resumed = Run({"jobs", "resume", "A"});
  EXPECT_THAT(resumed.out, HasSubstr("queued"));
  EXPECT_EQ(server.log().Last<v1::ResumeJobRequest>().name(), "jobs/A");
}

TEST_F(FinetuneTest, AWatcherIsToldHowAPausedJobGoesOn) {
  FakeServer& server = StartTrained();
  v1::Job job;
  job.set_name("jobs/A");
  job.set_state(v1::JOB_STATE_SUCCEEDED);
  server.AddJob(job);
  server.AddStream(
      {.events = {State(1, v1::JOB_STATE_PAUSED)}, .complete = true});
  EXPECT_THAT(Run({"jobs", "watch", "A"}).err,
              HasSubstr("state: paused; it goes on with: dissonance jobs "
                        "resume"));
}

}  // namespace
}  // namespace dissonance
