// The power is cut after each flush of a server's life in turn, and each time
// what is left on the disk is opened again.
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/base/file.h"
#include "src/base/sha256.h"
#include "src/lab/artifacts/artifact_uploads.h"
#include "tests/lab/jobs/job_server.h"
#include "tests/testing/durable_disk.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

// What a client was told, and after how many flushes.
struct Told {
  int sync_count = 0;
  std::string name;
  bool ended = false;
};

absl::Status Upload(JobServer& server, const std::string& data_dir,
                    const std::string& bytes) {
  ASSIGN_OR_RETURN(
      const std::unique_ptr<ArtifactUploads> uploads,
      ArtifactUploads::Create(data_dir, *server.artifacts, server.index));
  v1::WriteArtifactRequest first;
  first.set_name(absl::StrCat("artifacts/", Sha256Of(bytes)));
  first.set_size_bytes(static_cast<int64_t>(bytes.size()));
  ASSIGN_OR_RETURN(const std::unique_ptr<ArtifactUpload> upload,
                   uploads->Begin(first, {.user = "ada"}));
  RETURN_IF_ERROR(upload->Append(0, bytes));
  return upload->Finish().status();
}

// Everything that the records name is there, whole.
void ExpectConsistent(JobServer& server) {
  for (const v1::Job& job : OrDie(server.store.List({}))) {
    EXPECT_EQ(
        static_cast<int64_t>(OrDie(server.store.Items(job.name())).size()),
        job.progress().done_count());
  }
  for (const v1::Artifact& artifact :
       OrDie(server.artifacts->List({.sees_all = true}, 0, "")).artifacts) {
    const absl::Status opened =
        server.artifacts->Open(artifact.name()).status();
    EXPECT_TRUE(opened.ok()) << opened;
  }
}

TEST(PowerCut, LosesNothingThatAClientWasToldOf) {
  const TempFolder folder;
  const std::string data_dir = folder.File("data");
  const std::string uploaded = "bytes that were sent";
  DurableDisk disk(folder.path());
  std::vector<Told> told;
  {
    JobServer server(data_dir);
    const auto jobs = server.NewManager();
    ASSERT_TRUE(jobs->Start().ok());
    for (int i = 0; i < 2; ++i) {
      server.kind.run = [i](JobContext& job) -> absl::Status {
        RETURN_IF_ERROR(RecordAll(job, 3 + i));
        return job.AddOutput("own.txt", "text/plain", job.job().name(),
                             OutputKind::kNamesRun);
      };
      const std::string name =
          OrDie(jobs->CreateJob(SomeSpec(), {.owner = "ada"})).name();
      told.push_back({disk.sync_count(), name});
      AwaitEnd(*jobs, name);
      told.push_back({disk.sync_count(), name, /*ended=*/true});
    }
    ASSERT_TRUE(Upload(server, data_dir, uploaded).ok());
    told.push_back(
        {disk.sync_count(), absl::StrCat("artifacts/", Sha256Of(uploaded))});
  }
  disk.Stop();
  // At least each of the writes that a client was told of.
  ASSERT_GT(disk.sync_count(), 20);
  for (int cut = 0; cut <= disk.sync_count(); ++cut) {
    SCOPED_TRACE(absl::StrCat("cut after ", cut, " flushes"));
    const TempFolder left;
    disk.WriteTo(left.path(), cut);
    const absl::Status opened =
        Database::Open({.data_dir = left.File("data")}).status();
    ASSERT_TRUE(opened.ok()) << opened;
    JobServer server(left.File("data"));
    ExpectConsistent(server);
    for (const Told& each : told) {
      if (each.sync_count > cut) continue;
      if (absl::StartsWith(each.name, "artifacts/")) {
        EXPECT_TRUE(server.artifacts->Open(each.name, {.user = "ada"}).ok());
        continue;
      }
      const auto stored =
          server.store.Get(each.name, JobStore::Spec::kWithoutData);
      ASSERT_TRUE(stored.ok()) << stored.status();
      if (!each.ended) continue;
      EXPECT_EQ(stored->job.state(), v1::JOB_STATE_SUCCEEDED);
      EXPECT_EQ(stored->job.outputs_size(), 2);
    }
  }
}

TEST(PowerCut, AFileIsTheOldOneOrTheNewOneAndWhatIsWrittenStays) {
  const TempFolder folder;
  const std::string path = folder.File("file");
  DurableDisk disk(folder.path());
  ASSERT_TRUE(WriteFileAtomically(path, "old").ok());
  const int old_count = disk.sync_count();
  ASSERT_TRUE(WriteFileAtomically(path, "new").ok());
  disk.Stop();
  for (int cut = old_count; cut <= disk.sync_count(); ++cut) {
    const TempFolder left;
    disk.WriteTo(left.path(), cut);
    const auto contents = ReadFile(left.File("file"), 100);
    ASSERT_TRUE(contents.ok()) << contents.status();
    EXPECT_THAT(*contents, AnyOf("old", "new"));
    if (cut == disk.sync_count()) {
      EXPECT_EQ(*contents, "new");
    }
  }
}

TEST(FailingDisk, AnOutputThatCannotBeFlushedFailsTheJobAndIsNotThere) {
  const TempFolder folder;
  DurableDisk disk(folder.path());
  JobServer server(folder.path());
  const auto jobs = server.NewManager();
  ASSERT_TRUE(jobs->Start().ok());
  disk.FailSyncsOf(".tmp.");
  const std::string name =
      OrDie(jobs->CreateJob(SomeSpec(), {.owner = "ada"})).name();
  const v1::Job failed = AwaitEnd(*jobs, name);
  EXPECT_EQ(failed.state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(failed.reason(),
              AllOf(HasSubstr(folder.path()), HasSubstr("artifacts/"),
                    HasSubstr("cannot flush")));
  EXPECT_EQ(failed.outputs_size(), 0);
  EXPECT_EQ(
      OrDie(server.artifacts->List({.sees_all = true}, 0, "")).artifacts.size(),
      0U);
  int file_count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(
           folder.File("artifacts"))) {
    if (entry.is_regular_file()) ++file_count;
  }
  EXPECT_EQ(file_count, 0);
  disk.FailSyncsOf("");
  ASSERT_TRUE(jobs->Retry("ada", name).ok());
  EXPECT_EQ(AwaitEnd(*jobs, name).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST(FailingDisk, AJobThatCannotBeFlushedIsRefusedAndNotThere) {
  const TempFolder folder;
  DurableDisk disk(folder.path());
  JobServer server(folder.path());
  const auto jobs = server.NewManager();
  disk.FailSyncsOf("dissonance.db");
  const absl::Status refused =
      jobs->CreateJob(SomeSpec(), {.owner = "ada"}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInternal) << refused;
  EXPECT_THAT(refused.message(), AllOf(HasSubstr(folder.path()),
                                       HasSubstr("nothing was changed")));
  disk.FailSyncsOf("");
  EXPECT_EQ(OrDie(server.store.List({})).size(), 0U);
  EXPECT_TRUE(jobs->CreateJob(SomeSpec(), {.owner = "ada"}).ok());
  EXPECT_EQ(OrDie(server.store.List({})).size(), 1U);
}

}  // namespace
}  // namespace dissonance
