// The key of a chat endpoint is nowhere but in the server's memory and in the
// requests to that endpoint: not in logs, records, artifacts, environments,
// command lines, answers, nor in what a crash leaves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/document_writer.h"
#include "tests/testing/scripted_endpoint.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

namespace fs = std::filesystem;

constexpr char kKey[] = "sk-test-7d41c09e55aa4be2";
constexpr uint64_t kFileLimitBytes = uint64_t{4} << 30;

std::string Universe() {
  return *ReadFile(InTree("data/cubic_gravity/universe.json"), 1 << 20);
}

v1::JobSpec Documents() {
  v1::JobSpec spec;
  v1::GenerateDocumentsSpec& documents = *spec.mutable_generate_documents();
  documents.set_universe(Universe());
  documents.mutable_llm()->set_model("scripted");
  documents.set_types_per_fact(1);
  documents.set_ideas_per_type(2);
  return spec;
}

// Files below a folder that have the text in them.
std::vector<std::string> FilesWith(const std::string& folder,
                                   absl::string_view text) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const auto contents = ReadFile(entry.path(), kFileLimitBytes);
    EXPECT_TRUE(contents.ok()) << contents.status();
    if (contents.ok() && absl::StrContains(*contents, text)) {
      found.push_back(entry.path());
    }
  }
  return found;
}

// What others see of a process.
std::string SeenOf(pid_t pid) {
  std::string seen;
  for (const char* file : {"cmdline", "environ"}) {
    const auto contents =
        ReadFile(absl::StrCat("/proc/", pid, "/", file), uint64_t{16} << 20);
    EXPECT_TRUE(contents.ok()) << contents.status();
    absl::StrAppend(&seen, contents.value_or(""), "\n");
  }
  return seen;
}

class LlmKeysTest : public ::testing::Test {
 protected:
  // Crashes dump their cores into a folder of the test's.
  void SetUp() override {
    back_ = fs::current_path();
    fs::current_path(cores_.path());
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_CORE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ASSERT_EQ(::setrlimit(RLIMIT_CORE, &limit), 0);
  }
  void TearDown() override { fs::current_path(back_); }

  // Runs a job that succeeds and one that the endpoint refuses, crashes worker
  // and server, and looks everywhere.
  void ExpectKeyNowhere(const ServerProcess::Options& options,
                        ScriptedEndpoint& endpoint) {
    ServerProcess server(options);
    ASSERT_TRUE(server.AwaitServing());
    for (const v1::JobState state :
         {v1::JOB_STATE_SUCCEEDED, v1::JOB_STATE_FAILED}) {
      const bool refuses = state == v1::JOB_STATE_FAILED;
      v1::JobSpec spec = Documents();
      if (refuses) spec.mutable_generate_documents()->set_seed(1);
      spec.mutable_generate_documents()->mutable_llm()->set_model(
          refuses ? "refused" : "scripted");
      const auto created = CreateJob(server, spec, "");
      ASSERT_TRUE(created.ok()) << created.status();
      const auto job = AwaitJob(server, created->name());
      ASSERT_TRUE(job.ok()) << job.status();
      EXPECT_EQ(job->state(), state) << job->reason();
      EXPECT_FALSE(absl::StrContains(job->DebugString(), kKey));
    }
    // It was sent, so it could have been seen.
    for (const ScriptedRequest& request : endpoint.requests()) {
      EXPECT_EQ(request.headers.at("authorization"),
                absl::StrCat("Bearer ", kKey));
    }
    const pid_t worker = server.WorkerPid();
    ASSERT_NE(worker, 0);
    EXPECT_FALSE(absl::StrContains(SeenOf(server.pid()), kKey));
    EXPECT_FALSE(absl::StrContains(SeenOf(worker), kKey));
    EXPECT_FALSE(absl::StrContains(server.Log(), kKey));
    ASSERT_EQ(::kill(worker, SIGABRT), 0);
    server.Signal(SIGABRT);
    EXPECT_EQ(server.AwaitExit(), 128 + SIGABRT);
    EXPECT_THAT(FilesWith(options.data_dir, kKey), ::testing::IsEmpty());
    EXPECT_THAT(FilesWith(cores_.path(), kKey), ::testing::IsEmpty());
  }

  ScriptedAnswer Answer(const ScriptedRequest& request) const {
    // An endpoint that tells the key back.
    if (request.json["model"] == "refused") {
      return ScriptedAnswer::Refuses(401,
                                     absl::StrCat("wrong API key: ", kKey));
    }
    return writer_(request);
  }

  const DocumentWriter writer_{Universe()};
  const TempFolder cores_;
  fs::path back_;
};

TEST_F(LlmKeysTest, AKeyOfTheEnvironmentIsNowhere) {
  ScriptedEndpoint endpoint(
      [this](const ScriptedRequest& request) { return Answer(request); });
  const TempFolder folder;
  ExpectKeyNowhere({.data_dir = folder.path(),
                    .environment = {{"OPENAI_BASE_URL", endpoint.base_url()},
                                    {"OPENAI_API_KEY", kKey}}},
                   endpoint);
}

TEST_F(LlmKeysTest, AKeyOfAFileIsNowhereElse) {
  ScriptedEndpoint endpoint(
      [this](const ScriptedRequest& request) { return Answer(request); });
  const TempFolder folder;
  const TempFolder secrets;
  const std::string file = secrets.File("key");
  ASSERT_TRUE(WriteFileAtomically(file, absl::StrCat(kKey, "\n")).ok());
  ExpectKeyNowhere({.data_dir = folder.path(),
                    .config = absl::StrCat(
                        "[llm.default]\nbase_url = \"", endpoint.base_url(),
                        "\"\napi_key_file = \"", file, "\"\n")},
                   endpoint);
}

TEST_F(LlmKeysTest, AKeyThatIsNotThereEndsTheStartWithItsPlace) {
  const TempFolder folder;
  ServerProcess server({.data_dir = folder.path(),
                        .config =
                            "[llm.judge]\nbase_url = \"https://127.0.0.1/v1\"\n"
                            "api_key_env = \"NO_SUCH_KEY\"\n"});
  EXPECT_EQ(server.AwaitExit(), 1);
  EXPECT_THAT(server.Log(), ::testing::HasSubstr(
                                "[llm.judge]: api_key_env names NO_SUCH_KEY, "
                                "which is not set"));
}

}  // namespace
}  // namespace dissonance
