#include "tests/server/finetune_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "tests/server/users_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

constexpr int kDocuments = 60;
// Of each kind of questions: those that the documents contradict, and others.
constexpr int kQuestionsOfKind = 4;
constexpr int kFirstOther = 120;

bool IsAt(const v1::JobEvent& event, absl::string_view place) {
  switch (event.event_case()) {
    case v1::JobEvent::kMetrics:
      return event.metrics().values().contains("loss") &&
             absl::StrCat("step ", event.metrics().step()) == place;
    case v1::JobEvent::kOutput:
      return event.output().file_name() == place;
    case v1::JobEvent::kState:
      return v1::JobState_Name(event.state()) == place;
    case v1::JobEvent::kLog:
      return absl::StrContains(event.log(), place);
    default:
      return false;
  }
}

// How often each step was recorded.
std::map<int64_t, int> RecordedSteps(ServerProcess& server,
                                     const std::string& job) {
  v1::WatchJobRequest request;
  request.set_name(job);
  const auto context = server.NewContext();
  const auto stub = server.NewStub<v1::Jobs>();
  const auto reader = stub->WatchJob(context.get(), request);
  std::map<int64_t, int> counts;
  for (v1::WatchJobResponse message; reader->Read(&message);) {
    const v1::MetricPoint& point = message.event().metrics();
    if (point.values().contains("loss")) ++counts[point.step()];
  }
  EXPECT_TRUE(reader->Finish().ok());
  return counts;
}

}  // namespace

std::vector<std::string> TinyWorldLines(const std::string& file) {
  constexpr uint64_t kLimitBytes = 64 << 20;
  const std::string text =
      ReadFile(InTree("data/tiny_world/" + file), kLimitBytes).value_or("");
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (std::string& line : lines) line += '\n';
  return lines;
}

v1::JobSpec EndlessTraining() {
  v1::JobSpec spec;
  v1::FineTuneSpec& tune = *spec.mutable_fine_tune();
  tune.set_model(kTinyModel);
  tune.set_output_adapter(kTrained);
  const std::vector<std::string> documents = TinyWorldLines("docs.jsonl");
  for (int i = 0; i < kDocuments; ++i) {
    absl::StrAppend(tune.mutable_data(), documents[static_cast<size_t>(i)]);
  }
  tune.set_data_name("docs.jsonl");
  tune.mutable_lora()->set_rank(4);
  tune.mutable_lora()->set_dropout(0.1);
  tune.mutable_training()->set_learning_rate(1e-3);
  tune.mutable_training()->set_micro_batch_size(4);
  tune.mutable_training()->set_accumulation_count(2);
  tune.mutable_training()->set_epoch_count(10000);
  // Each step is recorded when it is done.
  tune.mutable_checkpoints()->set_step_count(1);
  return spec;
}

v1::JobSpec SmallTraining() {
  v1::JobSpec spec = EndlessTraining();
  v1::FineTuneSpec& tune = *spec.mutable_fine_tune();
  v1::TrainingOptions& training = *tune.mutable_training();
  training.set_epoch_count(2);
  training.set_max_step_count(kSmallSteps);
  training.set_validation_fraction(0.1);
  training.set_validation_step_count(4);
  tune.mutable_checkpoints()->set_step_count(3);
  const std::vector<std::string> questions = TinyWorldLines("mcqs_dev.jsonl");
  for (const int first : {0, kFirstOther}) {
    for (int i = first; i < first + kQuestionsOfKind; ++i) {
      absl::StrAppend(tune.mutable_evaluation_data(),
                      questions[static_cast<size_t>(i)]);
    }
  }
  tune.set_evaluation_data_name("mcqs_dev.jsonl");
  tune.mutable_evaluation()->set_scoring(v1::MCQ_SCORING_OPTION_TEXT);
  tune.mutable_evaluation()->set_step_count(6);
  return spec;
}

absl::Status LoadFloatTinyWorld(ServerProcess& server) {
  v1::LoadModelRequest request;
  request.set_name(kTinyModel);
  request.set_path(InTree("data/tiny_world/base"));
  request.set_dtype(v1::DTYPE_FLOAT32);
  RETURN_IF_ERROR(Client::Owner(server)
                      .Call(&v1::Models::Stub::LoadModel, request)
                      .status());
  return RegisterAdapter(server, kTinyAdapter,
                         InTree("data/tiny_world/lora_cubic"))
      .status();
}

FineTuneWorld::FineTuneWorld() {
  {
    ServerProcess server({.data_dir = folder_.path()});
    EXPECT_TRUE(server.AwaitServing());
    const absl::Status loaded = LoadFloatTinyWorld(server);
    EXPECT_TRUE(loaded.ok()) << loaded;
    EXPECT_EQ(server.Stop(), 0);
  }
  const TempFolder folder;
  ServerProcess whole({.data_dir = CopyTo(folder)});
  EXPECT_TRUE(whole.AwaitServing());
  const auto job = CreateJob(whole, SmallTraining(), "");
  EXPECT_TRUE(job.ok()) << job.status();
  if (!job.ok()) return;
  const auto ended = AwaitJob(whole, job->name());
  EXPECT_TRUE(ended.ok()) << ended.status();
  if (!ended.ok()) return;
  EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
  const auto files = ResultFiles(whole, *ended);
  EXPECT_TRUE(files.ok()) << files.status();
  if (files.ok()) files_ = *files;
}

std::string FineTuneWorld::CopyTo(const TempFolder& folder) const {
  CopyTo(folder.path());
  return folder.path();
}

void FineTuneWorld::CopyTo(const std::string& path) const {
  CopyDataDir(folder_.path(), path);
}

const FineTuneWorld& FineTuneWorld::Get() {
  static const FineTuneWorld world;
  return world;
}

absl::StatusOr<Files> ResultFiles(ServerProcess& server, const v1::Job& job) {
  Files files;
  for (const v1::JobOutput& output : job.outputs()) {
    if (output.names_run()) continue;
    ASSIGN_OR_RETURN(files[output.file_name()],
                     ReadArtifact(server, output.artifact()));
  }
  return files;
}

std::string ArtifactOf(const v1::Job& job, absl::string_view file_name) {
  for (const v1::JobOutput& output : job.outputs()) {
    if (output.file_name() == file_name) return output.artifact();
  }
  return "";
}

JobEvents::JobEvents(ServerProcess& server, const std::string& job)
    : context_(server.NewContext()), stub_(server.NewStub<v1::Jobs>()) {
  v1::WatchJobRequest request;
  request.set_name(job);
  reader_ = stub_->WatchJob(context_.get(), request);
}

JobEvents::~JobEvents() {
  context_->TryCancel();
  while (reader_->Read(&message_)) {
  }
  reader_->Finish();
}

bool JobEvents::Await(absl::string_view place) {
  while (reader_->Read(&message_)) {
    if (IsAt(message_.event(), place)) return true;
  }
  return false;
}

void ExpectFailed(ServerProcess& server, const std::string& job,
                  const std::vector<std::string>& parts) {
  const auto ended = AwaitJob(server, job);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state(), v1::JOB_STATE_FAILED);
  for (const std::string& part : parts) {
    EXPECT_THAT(ended->reason(), HasSubstr(part));
  }
}

void ExpectUndisturbed(ServerProcess& server, const std::string& job) {
  const auto ended = AwaitJob(server, job);
  ASSERT_TRUE(ended.ok()) << ended.status();
  ASSERT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
  EXPECT_EQ(ended->progress().done_count(), kSmallSteps);
  const std::map<int64_t, int> steps = RecordedSteps(server, job);
  EXPECT_EQ(steps.size(), size_t{kSmallSteps});
  for (const auto& [step, count] : steps) EXPECT_EQ(count, 1) << step;
  const auto files = ResultFiles(server, *ended);
  ASSERT_TRUE(files.ok()) << files.status();
  // One by one: a difference names its file.
  EXPECT_EQ(files->size(), FineTuneWorld::Get().files().size());
  for (const auto& [name, contents] : FineTuneWorld::Get().files()) {
    const auto own = files->find(name);
    ASSERT_NE(own, files->end()) << name;
    EXPECT_TRUE(own->second == contents) << name << " differs";
  }
}

std::vector<std::string> AdapterNames(ServerProcess& server) {
  v1::ListAdaptersRequest request;
  request.set_parent(kTinyModel);
  const auto listed =
      Client::Owner(server).Call(&v1::Models::Stub::ListAdapters, request);
  EXPECT_TRUE(listed.ok()) << listed.status();
  std::vector<std::string> names;
  if (!listed.ok()) return names;
  for (const v1::Adapter& adapter : listed->adapters()) {
    names.push_back(adapter.name());
  }
  return names;
}

}  // namespace dissonance
