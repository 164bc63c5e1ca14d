// What an operator does and reads: the log, the HTTP port, subcommands on a
// data directory, and the unit for systemd. With real processes.
#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/lab/backup/backup.h"
#include "src/lab/storage/database.h"
#include "tests/client/subprocess.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/http_client.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// One run of dissonanced that ends by itself.
CommandResult Dissonanced(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), DISSONANCE_BINARY_DIR "/dissonanced");
  Subprocess process(arguments, {{"HOME", "/nowhere"}});
  return process.Finish();
}

constexpr char kJsonLogAndHttp[] =
    "log_format = \"json\"\nlog_level = \"debug\"\n"
    "http_listen = \"127.0.0.1:0\"\n";

class ServerLogTest : public ::testing::Test {
 protected:
  grpc::Status Tokenize(const std::string& authorization,
                        const std::string& model, const std::string& prompt) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", authorization);
    context.set_deadline(
        absl::ToChronoTime(absl::Now() + ServerProcess::kPatience));
    v1::TokenizeRequest request;
    request.set_model(model);
    request.set_text(prompt);
    v1::TokenizeResponse response;
    return server_.NewStub<v1::Inference>()->Tokenize(&context, request,
                                                      &response);
  }

  const TempFolder folder_;
  ServerProcess server_{
      {.data_dir = folder_.path(), .config = kJsonLogAndHttp}};
};

TEST_F(ServerLogTest, HoldsNoTokensAndNoPromptsAndIsJsonThroughout) {
  ASSERT_TRUE(server_.AwaitServing());
  ASSERT_TRUE(
      LoadModel(server_, kChatModel, InTree("tests/goldens/e2e_chat/model"))
          .ok());
  const std::string owner = server_.OwnerToken();
  const std::string wrong = "dissonance_" + std::string(64, 'b');
  const std::string prompt = "the-prompt-nobody-may-see";
  EXPECT_TRUE(Tokenize("Bearer " + owner, kChatModel, prompt).ok());
  EXPECT_FALSE(Tokenize("Bearer " + owner, "models/none", prompt).ok());
  EXPECT_FALSE(Tokenize("Bearer " + wrong, kChatModel, prompt).ok());
  EXPECT_FALSE(Tokenize("Basic " + wrong, kChatModel, prompt).ok());
  EXPECT_FALSE(Tokenize(owner, kChatModel, prompt).ok());
  v1::ScoreRequest score = ChatScoreRequest(kChatModel);
  score.mutable_items(0)->mutable_prompt()->set_text(prompt);
  EXPECT_TRUE(Score(server_, score).ok());
  score.mutable_items(0)->add_continuations();
  EXPECT_FALSE(Score(server_, score).ok());
  EXPECT_EQ(server_.Stop(), 0);

  const std::string log = server_.Log();
  EXPECT_THAT(log, HasSubstr("Inference/Tokenize"));
  const std::string worker =
      ReadFile(folder_.File("logs/worker.log"), 1 << 24).value_or("");
  for (const std::string& text : {log, worker}) {
    for (const std::string& secret :
         {owner.substr(11), wrong.substr(11), prompt}) {
      EXPECT_THAT(text, Not(HasSubstr(secret)));
    }
  }
  for (const auto line : absl::StrSplit(log, '\n', absl::SkipEmpty())) {
    const auto parsed = nlohmann::json::parse(std::string(line), nullptr,
                                              /*allow_exceptions=*/false);
    EXPECT_TRUE(parsed.is_object() && parsed.contains("time") &&
                parsed.contains("level") && parsed.contains("message"))
        << line;
  }
}

TEST(HttpTest, TellsPrometheusAndLoadBalancersHowItIs) {
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = folder.path(),
       .config = absl::StrCat(kJsonLogAndHttp,
                              "[worker]\nfirst_backoff_seconds = 600\n"
                              "max_backoff_seconds = 600\n")});
  ASSERT_TRUE(server.AwaitServing());
  const int port = HttpPortOf(server);
  EXPECT_THAT(HttpGet(port, "/healthz"),
              AllOf(StartsWith("HTTP/1.1 200 "), EndsWith("\nok\n")));
  EXPECT_THAT(
      HttpGet(port, "/metrics"),
      AllOf(HasSubstr("\ndissonance_worker_ready{worker=\"local\"} 1\n"),
            HasSubstr("dissonance_worker_resident_bytes{")));
  ::kill(server.WorkerPid(), SIGKILL);
  ASSERT_TRUE(server.AwaitNotServing());
  EXPECT_THAT(HttpGet(port, "/healthz"),
              AllOf(StartsWith("HTTP/1.1 503 "), EndsWith("\nno worker\n")));
  EXPECT_THAT(HttpGet(port, "/metrics"),
              HasSubstr("\ndissonance_worker_ready{worker=\"local\"} 0\n"));
}

// A server with a job and its artifacts, stopped, and a backup of it.
class UpkeepTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ServerProcess server({.data_dir = data_.path()});
    ASSERT_TRUE(server.AwaitServing());
    const absl::Status loaded = LoadTinyWorld(server);
    ASSERT_TRUE(loaded.ok()) << loaded;
    const auto created = CreateJob(server, TinyWorldJob(2), "once");
    ASSERT_TRUE(created.ok()) << created.status();
    ASSERT_TRUE(AwaitJob(server, created->name()).ok());
    const auto job = GetJob(server, created->name());
    ASSERT_TRUE(job.ok()) << job.status();
    ASSERT_EQ(job->state(), v1::JOB_STATE_SUCCEEDED);
    job_ = *job;
    const auto files = JobFiles(server, job_);
    ASSERT_TRUE(files.ok()) << files.status();
    files_ = *files;
    token_ = server.OwnerToken();
    ASSERT_EQ(server.Stop(), 0);
  }

  const TempFolder data_;
  const TempFolder elsewhere_;
  v1::Job job_;
  std::map<std::string, std::string> files_;
  std::string token_;
};

TEST_F(UpkeepTest, ARestoredServerHasTheJobItsFilesAndANewToken) {
  const std::string backup = elsewhere_.File("backup");
  {
    const auto database = Database::Open({.data_dir = data_.path()});
    ASSERT_TRUE(database.ok()) << database.status();
    const auto summary =
        WriteBackup(**database, {.path = backup, .code_version = "test"});
    ASSERT_TRUE(summary.ok()) << summary.status();
  }
  const std::string restored = elsewhere_.File("restored");
  const CommandResult result =
      Dissonanced({"restore", "--from", backup, "--data-dir", restored});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr(restored + "/owner.token"));
  const CommandResult check = Dissonanced({"check", "--data-dir", restored});
  EXPECT_EQ(check.exit_code, 0) << check.out << check.err;

  ServerProcess server({.data_dir = restored});
  ASSERT_TRUE(server.AwaitServing());
  EXPECT_NE(server.OwnerToken(), token_);
  const auto job = GetJob(server, job_.name());
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*job, job_))
      << job->ShortDebugString();
  const auto files = JobFiles(server, *job);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(*files, files_);
  EXPECT_EQ(Dissonanced({"restore", "--from", backup, "--data-dir", restored})
                .exit_code,
            1);
}

TEST_F(UpkeepTest, ACheckSaysWhatIsWrongAndWhatToDo) {
  const CommandResult clean =
      Dissonanced({"check", "--data-dir", data_.path()});
  EXPECT_EQ(clean.exit_code, 0) << clean.out << clean.err;
  EXPECT_THAT(clean.out, HasSubstr(", 0 findings"));
  const std::string hex = job_.outputs(0).artifact().substr(17);
  const std::string file =
      data_.File("artifacts/" + hex.substr(0, 2) + "/" + hex);
  fs::rename(file, elsewhere_.File("kept"));
  const std::string left = file + ".tmp.AbCdEf";
  ASSERT_TRUE(WriteFileAtomically(left, "x").ok());
  const CommandResult wrong =
      Dissonanced({"check", "--quick", "--data-dir", data_.path()});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.out, AllOf(HasSubstr(hex), HasSubstr("has no file"),
                               HasSubstr(job_.name()), HasSubstr(left),
                               HasSubstr("--repair")));
  fs::rename(elsewhere_.File("kept"), file);
  const CommandResult repaired =
      Dissonanced({"check", "--repair", "--data-dir", data_.path()});
  EXPECT_EQ(repaired.exit_code, 0) << repaired.out;
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(UpkeepTest, SubcommandsRefuseAFolderThatAServerUses) {
  ServerProcess server({.data_dir = data_.path()});
  ASSERT_TRUE(server.AwaitServing());
  const std::string pid = *ReadFile(data_.File("dissonanced.pid"), 100);
  for (const char* command : {"check", "owner-token"}) {
    const CommandResult refused =
        Dissonanced({command, "--data-dir", data_.path()});
    EXPECT_EQ(refused.exit_code, 1) << command;
    EXPECT_THAT(refused.err,
                HasSubstr("in use by process " + pid.substr(0, pid.size() - 1)))
        << command;
  }
  EXPECT_EQ(server.OwnerToken(), token_);
}

TEST_F(UpkeepTest, ALostOwnersTokenIsMadeAnew) {
  fs::remove(data_.File("owner.token"));
  const CommandResult result =
      Dissonanced({"owner-token", "--data-dir", data_.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  ServerProcess server({.data_dir = data_.path()});
  ASSERT_TRUE(server.AwaitServing());
  EXPECT_NE(server.OwnerToken(), token_);
  EXPECT_TRUE(GetJob(server, job_.name()).ok());
  EXPECT_THAT(result.out + result.err, Not(HasSubstr(server.OwnerToken())));
}

TEST(CommandLineTest, SubcommandsMakeNoDataDirectory) {
  const TempFolder folder;
  for (const char* command : {"check", "owner-token"}) {
    const CommandResult result =
        Dissonanced({command, "--data-dir", folder.File("none")});
    EXPECT_EQ(result.exit_code, 1) << command;
    EXPECT_THAT(result.err, HasSubstr("there is no database in")) << command;
  }
  EXPECT_THAT(folder.Names(), ::testing::IsEmpty());
}

// The unit as installed, but with the program that was built.
std::string UnitIn(const TempFolder& folder) {
  const std::string unit =
      ReadFile(InTree("deploy/dissonanced.service"), 1 << 20).value_or("");
  const std::string path = folder.File("dissonanced.service");
  EXPECT_TRUE(WriteFileAtomically(
                  path, absl::StrReplaceAll(unit, {{"/opt/dissonance/bin",
                                                    DISSONANCE_BINARY_DIR}}))
                  .ok());
  return path;
}

TEST(SystemdTest, TheUnitIsValidAndConfinesTheServer) {
  constexpr char kProgram[] = "/usr/bin/systemd-analyze";
  if (!fs::exists(kProgram)) {
    GTEST_SKIP() << "NOT RUN: needs systemd-analyze (package systemd)";
  }
  const TempFolder folder;
  const std::string unit = UnitIn(folder);
  Subprocess verify({kProgram, "verify", "--man=no", unit}, {});
  const CommandResult verified = verify.Finish();
  EXPECT_EQ(verified.exit_code, 0) << verified.out << verified.err;
  EXPECT_EQ(verified.err, "");
  // In tenths; docs/operations.md says what it is.
  Subprocess security({kProgram, "security", "--offline=true", "--no-pager",
                       "--threshold=15", unit},
                      {});
  const CommandResult level = security.Finish();
  EXPECT_EQ(level.exit_code, 0) << level.out << level.err;
}

}  // namespace
}  // namespace dissonance
