// Jobs that look inside, through both processes on the shipped model: probes
// whose worker is killed, what is made of them, and the other kinds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/probes.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "tests/server/server_fixture.h"
#include "tests/server/tiny_world_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Key;
using Files = std::map<std::string, std::string>;
using json = nlohmann::json;

// That workers are lost is meant here.
constexpr char kConfig[] = "[worker]\nmax_backoff_seconds = 0.2\n";
constexpr char kDirection[] = "directions/conflict";
constexpr int kConflicts = 12;
constexpr int kOthers = 6;
constexpr int kBlocks[] = {2, 5};
constexpr int kVariants = 2;

std::vector<json> LinesIn(const std::string& text) {
  std::vector<json> lines;
  for (const auto line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    lines.push_back(json::parse(line));
  }
  return lines;
}

// Questions of the shipped world: about what the adapter believes otherwise,
// and about other things.
std::string Questions(int conflicts, int others) {
  const std::string all =
      ReadFile(InTree("data/tiny_world/mcqs.jsonl"), 1 << 24).value_or("");
  std::string chosen;
  for (const auto line : absl::StrSplit(all, '\n', absl::SkipEmpty())) {
    int& left =
        json::parse(line)["category"] == "conflict" ? conflicts : others;
    if (left-- > 0) absl::StrAppend(&chosen, line, "\n");
  }
  return chosen;
}

class ServerInterpJobsTest : public TinyWorldFixture {
 protected:
  static void SetUpTestSuite() { StartServer(kConfig); }

  // Base and adapter, asked the questions.
  template <typename Spec>
  static void AddNetworks(Spec& spec, int conflicts = kConflicts,
                          int others = kOthers) {
    spec.add_variants()->set_model(kTinyModel);
    v1::Variant& tuned = *spec.add_variants();
    tuned.set_model(kTinyModel);
    tuned.set_adapter(kTinyAdapter);
    SetQuestions(spec, conflicts, others);
  }
  template <typename Spec>
  static void SetQuestions(Spec& spec, int conflicts, int others) {
    spec.set_data(Questions(conflicts, others));
    spec.set_data_name("mcqs.jsonl");
    spec.set_scoring(v1::MCQ_SCORING_OPTION_TEXT);
  }

  // What tells conflicts from other questions, and what the networks answer.
  static v1::JobSpec Probes() {
    v1::JobSpec spec;
    v1::TrainProbesSpec& probes = *spec.mutable_train_probes();
    AddNetworks(probes);
    for (const int block : kBlocks) probes.add_blocks(block);
    probes.add_targets()->set_source(v1::LABEL_SOURCE_CATEGORY_CONFLICT);
    probes.add_targets()->set_source(v1::LABEL_SOURCE_ANSWERED_FALSE);
    probes.mutable_options()->set_fold_count(2);
    probes.mutable_options()->set_permutation_count(3);
    probes.mutable_options()->set_bootstrap_count(20);
    return spec;
  }

  static absl::StatusOr<v1::Job> Run(const v1::JobSpec& spec) {
    ASSIGN_OR_RETURN(const v1::Job job, CreateJob(*server_, spec, ""));
    return AwaitJob(*server_, job.name());
  }
  // Empty if it has not succeeded.
  static Files FilesOf(const absl::StatusOr<v1::Job>& job) {
    EXPECT_TRUE(job.ok()) << job.status();
    if (!job.ok()) return {};
    EXPECT_EQ(job->state(), v1::JOB_STATE_SUCCEEDED) << job->reason();
    const auto files = JobFiles(*server_, *job);
    EXPECT_TRUE(files.ok()) << files.status();
    return files.value_or(Files());
  }

  // The probes that nothing disturbed; trained once.
  static const v1::Job& TrainedJob() {
    static const auto job = Run(Probes());
    EXPECT_TRUE(job.ok()) << job.status();
    static const v1::Job none;
    return job.ok() ? *job : none;
  }
  static const Files& TrainedFiles() {
    static const Files files = FilesOf(TrainedJob());
    return files;
  }

  // Kills the worker when so many items are recorded.
  static void KillAt(const std::string& job, int64_t item_count) {
    v1::WatchJobRequest request;
    request.set_name(job);
    const auto context = server_->NewContext();
    const auto stub = server_->NewStub<v1::Jobs>();
    const auto reader = stub->WatchJob(context.get(), request);
    v1::WatchJobResponse message;
    bool is_there = false;
    while (!is_there && reader->Read(&message)) {
      is_there = message.event().progress().done_count() >= item_count;
    }
    EXPECT_TRUE(is_there);
    EXPECT_EQ(::kill(server_->WorkerPid(), SIGKILL), 0);
    context->TryCancel();
    reader->Finish();
  }

  static absl::Status MakeDirection() {
    v1::CreateDirectionRequest request;
    request.set_name(kDirection);
    v1::ProbeVectors& probes = *request.mutable_probes();
    probes.set_job(TrainedJob().name());
    probes.set_target("category_conflict");
    probes.set_variant_index(1);
    v1::CreateDirectionResponse response;
    const auto context = server_->NewContext();
    return ToAbsl(server_->NewStub<v1::Directions>()->CreateDirection(
        context.get(), request, &response));
  }
};

TEST_F(ServerInterpJobsTest, ProbesOfAKilledWorkerAreThoseOfAnUndisturbedOne) {
  const auto job = CreateJob(*server_, Probes(), "");
  ASSERT_TRUE(job.ok()) << job.status();
  // After the first answers, and after the first place.
  KillAt(job->name(), 1);
  KillAt(job->name(), kConflicts + kOthers + 1);
  const auto ended = AwaitJob(*server_, job->name());
  const Files files = FilesOf(ended);
  // Else they came too late to show anything.
  EXPECT_GT(ended->attempt_count(), 1);
  EXPECT_THAT(files, Contains(Key("probes.safetensors")));
  ASSERT_EQ(files.size(), TrainedFiles().size());
  // One by one: a difference names its file.
  for (const auto& [name, bytes] : TrainedFiles()) {
    EXPECT_TRUE(files.contains(name) && files.at(name) == bytes) << name;
  }
  const json found = json::parse(files.at("probes.json"));
  EXPECT_EQ(found["category_conflict"].size(), size_t{kVariants});
  EXPECT_TRUE(found.contains("answered_false"))
      << json::parse(files.at("summary.json"))["skipped"];
}

TEST_F(ServerInterpJobsTest, ListsTheProbesOfAJob) {
  const std::vector<json> rows = LinesIn(TrainedFiles().at("probes.jsonl"));
  v1::ListProbesRequest request;
  request.set_job(TrainedJob().name());
  v1::ListProbesResponse response;
  const auto context = server_->NewContext();
  const grpc::Status status = server_->NewStub<v1::Probes>()->ListProbes(
      context.get(), request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.probes_size(), std::ssize(rows));
  for (size_t i = 0; i < rows.size(); ++i) {
    const v1::ProbeResult& probe = response.probes(static_cast<int>(i));
    EXPECT_EQ(probe.auc().mean(), rows[i]["auc_mean"]);
    EXPECT_EQ(probe.place().block(), rows[i]["block"]);
    EXPECT_EQ(probe.variant_index(), rows[i]["variant_index"]);
  }
}

TEST_F(ServerInterpJobsTest, SteersAlongAProbeByItsName) {
  ASSERT_EQ(MakeDirection(), absl::OkStatus());
  v1::JobSpec spec;
  v1::SteeringSweepSpec& sweep = *spec.mutable_steering_sweep();
  sweep.mutable_variant()->set_model(kTinyModel);
  sweep.mutable_variant()->set_adapter(kTinyAdapter);
  SetQuestions(sweep, 4, 2);
  sweep.add_directions()->mutable_vector()->set_direction(kDirection);
  for (const double c : {-0.5, 0.25}) sweep.add_coefficients(c);
  sweep.set_relative_coefficients(true);
  sweep.set_null_count(2);
  sweep.set_refine_count(1);
  sweep.set_sample_count(1);
  sweep.set_sample_token_count(4);
  const Files files = FilesOf(Run(spec));
  ASSERT_THAT(files, Contains(Key("steering.jsonl")));
  std::map<int, int> grid;  // settings by block
  for (const json& row : LinesIn(files.at("steering.jsonl"))) {
    if (row["phase"] != "grid") continue;
    EXPECT_EQ(row["direction"], kDirection);
    ++grid[row["block"].get<int>()];
  }
  // Where the probe was trained.
  EXPECT_THAT(grid, ElementsAre(std::pair(2, 2), std::pair(5, 2)));
  const json summary = json::parse(files.at("summary.json"));
  EXPECT_EQ(summary["unsteered"]["belief_n"], 4);
  EXPECT_EQ(summary["unsteered"]["control_n"], 2);
}

TEST_F(ServerInterpJobsTest, PatchesAMapOfBlocksAndPositions) {
  v1::JobSpec spec;
  v1::PatchSweepSpec& sweep = *spec.mutable_patch_sweep();
  sweep.mutable_source()->set_model(kTinyModel);
  sweep.mutable_target()->set_model(kTinyModel);
  sweep.mutable_target()->set_adapter(kTinyAdapter);
  SetQuestions(sweep, 3, 1);
  sweep.add_sites(v1::SITE_RESID_POST);
  for (const int block : kBlocks) sweep.add_blocks(block);
  const Files files = FilesOf(Run(spec));
  ASSERT_THAT(files, Contains(Key("map.vl.json")));
  const json chart = json::parse(files.at("map.vl.json"));
  // The last 8 positions, at each block.
  EXPECT_EQ(chart["data"]["values"].size(), 16U);
}

TEST_F(ServerInterpJobsTest, ReadsTrajectoriesThroughTheLens) {
  v1::JobSpec spec;
  v1::LogitLensSpec& lens = *spec.mutable_logit_lens();
  AddNetworks(lens, 3, 1);
  for (const int block : kBlocks) lens.add_blocks(block);
  const Files files = FilesOf(Run(spec));
  ASSERT_THAT(files, Contains(Key("trajectories.json")));
  const json variants = json::parse(files.at("trajectories.json"))["variants"];
  ASSERT_EQ(variants.size(), size_t{kVariants});
  for (const auto& [name, variant] : variants.items()) {
    // Both answers of the second one begin alike.
    EXPECT_EQ(variant["prompts"], 2) << name;
    EXPECT_EQ(variant["trajectory"].size(), 3U) << name;  // and the output
  }
}

TEST_F(ServerInterpJobsTest, ProbesOfAnExtractionAreThoseOfItsPrompts) {
  v1::JobSpec spec;
  v1::ExtractActivationsSpec& extract = *spec.mutable_extract_activations();
  AddNetworks(extract);
  extract.mutable_capture()->add_sites(v1::SITE_RESID_POST);
  for (const int block : kBlocks) extract.mutable_capture()->add_blocks(block);
  const auto extraction = Run(spec);
  ASSERT_TRUE(extraction.ok()) << extraction.status();
  ASSERT_EQ(extraction->state(), v1::JOB_STATE_SUCCEEDED)
      << extraction->reason();
  v1::JobSpec of_prompts = Probes();
  of_prompts.mutable_train_probes()->mutable_targets()->RemoveLast();
  v1::JobSpec of_rows = of_prompts;
  v1::TrainProbesSpec& probes = *of_rows.mutable_train_probes();
  probes.clear_variants();
  probes.clear_data();
  probes.clear_data_name();
  probes.clear_blocks();
  probes.clear_scoring();
  probes.set_activations_job(extraction->name());
  const Files captured = FilesOf(Run(of_prompts));
  const Files given = FilesOf(Run(of_rows));
  ASSERT_THAT(given, Contains(Key("probes.json")));
  EXPECT_EQ(given.at("probes.json"), captured.at("probes.json"));
  EXPECT_EQ(given.at("decisions.jsonl"), captured.at("decisions.jsonl"));
}

}  // namespace
}  // namespace dissonance
