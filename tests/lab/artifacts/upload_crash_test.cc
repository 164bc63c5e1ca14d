// An upload's process is killed at every failpoint, and another goes on. The
// test process itself uploads nothing: failpoints are read once a process.
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/artifacts/artifact_uploads.h"
#include "src/lab/artifacts/failpoints.h"
#include "tests/lab/storage/child_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

const std::string kBytes = "0123456789";

// Finds `received_bytes` of kBytes, and sends the rest in pieces of five.
absl::Status UploadRest(const std::string& data_dir, int64_t received_bytes) {
  const std::string name = absl::StrCat("artifacts/", Sha256Of(kBytes));
  const Viewer ada = {.user = "ada"};
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> database,
                   Database::Open({.data_dir = data_dir}));
  ArtifactIndex index(*database);
  ASSIGN_OR_RETURN(const std::unique_ptr<ArtifactStore> store,
                   ArtifactStore::Create(data_dir, index, Clock::Real()));
  ASSIGN_OR_RETURN(const std::unique_ptr<ArtifactUploads> uploads,
                   ArtifactUploads::Create(data_dir, *store, index));
  ASSIGN_OR_RETURN(const v1::GetUploadResponse found,
                   uploads->Find("ada", name));
  if (found.received_bytes() != received_bytes || found.complete() ||
      store->Get(name, ada).ok()) {
    return absl::InternalError(found.ShortDebugString());
  }
  v1::WriteArtifactRequest first;
  first.set_name(name);
  first.set_size_bytes(static_cast<int64_t>(kBytes.size()));
  first.set_offset_bytes(received_bytes);
  ASSIGN_OR_RETURN(const std::unique_ptr<ArtifactUpload> upload,
                   uploads->Begin(first, {.user = "ada"}));
  for (auto at = static_cast<size_t>(received_bytes); at < kBytes.size();
       at += 5) {
    RETURN_IF_ERROR(
        upload->Append(static_cast<int64_t>(at), kBytes.substr(at, 5)));
  }
  RETURN_IF_ERROR(upload->Finish().status());
  ASSIGN_OR_RETURN(const ArtifactReader reader, store->Open(name, ada));
  ASSIGN_OR_RETURN(const std::string read, reader.Read(0, 100));
  return read == kBytes ? absl::OkStatus() : absl::InternalError(read);
}

struct Crash {
  absl::string_view failpoint;
  int64_t left_bytes;  // of the part
};

class UploadCrashTest : public ::testing::TestWithParam<Crash> {};

TEST_P(UploadCrashTest, LosesNothingAndShowsNothingThatIsNotWhole) {
  const TempFolder dir;
  const int crashed = RunInChild([&] {
    ::setenv("DISSONANCE_FAILPOINT", std::string(GetParam().failpoint).c_str(),
             1);
    return UploadRest(dir.path(), 0);
  });
  ASSERT_TRUE(WIFSIGNALED(crashed));
  EXPECT_EQ(WTERMSIG(crashed), SIGKILL);
  EXPECT_TRUE(ExitedWell(RunInChild(
      [&] { return UploadRest(dir.path(), GetParam().left_bytes); })));
}

INSTANTIATE_TEST_SUITE_P(AtEachPoint, UploadCrashTest,
                         ::testing::Values(Crash{kFailpointAppended, 5},
                                           Crash{kFailpointFlushed, 10},
                                           Crash{kFailpointPlaced, 0}));

}  // namespace
}  // namespace dissonance
