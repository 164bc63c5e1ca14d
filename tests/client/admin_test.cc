// Users, quotas and upkeep: what is sent, printed and refused.
#include "nlohmann/json.hpp"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::User MakeUser(const std::string& name) {
  v1::User user;
  user.set_name("users/" + name);
  user.mutable_create_time()->set_seconds(86400);
  user.mutable_quota()->set_queued_job_count(7);
  user.mutable_quota()->set_artifact_bytes(1024);
  v1::Quota& limit = *user.mutable_effective_quota();
  limit.set_queued_job_count(7);
  limit.set_artifact_bytes(1024);
  limit.set_device_seconds_per_week(7200);
  user.mutable_usage()->set_queued_job_count(3);
  user.mutable_usage()->set_device_seconds_week(90);
  return user;
}

TEST_F(CliTest, CreatesAUserWithTheQuotaThatWasTyped) {
  FakeServer& server = StartServer();
  const CommandResult result =
      Run({"admin", "user", "create", "bob", "--quota-queued", "5",
           "--quota-artifact-bytes", "2GiB"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("users/bob"));
  EXPECT_THAT(result.out, HasSubstr("queued jobs              0 of 5\n"));
  EXPECT_THAT(result.err,
              HasSubstr("dissonance admin token create --user bob --out FILE"));
  const auto request = server.admin().log().Last<v1::CreateUserRequest>();
  EXPECT_EQ(request.name(), "users/bob");
  EXPECT_EQ(request.quota().queued_job_count(), 5);
  EXPECT_EQ(request.quota().artifact_bytes(), int64_t{2} << 30);
  EXPECT_EQ(request.quota().running_job_count(), 0);
  Run({"admin", "user", "create", "eve"});
  EXPECT_FALSE(server.admin().log().Last<v1::CreateUserRequest>().has_quota());
}

TEST_F(CliTest, ShowsAUsersUsageAndWhereTheLimitsComeFrom) {
  StartServer().admin().AddUser(MakeUser("ann"));
  const CommandResult result = Run({"admin", "user", "show"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(
      result.out,
      "name                     users/ann\n"
      "created                  1970-01-02 00:00:00\n"
      "queued jobs              3 of 7\n"
      "running jobs             0, no limit\n"
      "artifacts                0 B of 1.0 KiB\n"
      "device time, seven days  1 min 30 s of 2 h 0 min, as the configuration "
      "says\n"
      "job tokens, seven days   0\n");
  EXPECT_EQ(Run({"admin", "user", "show", "ghost"}).exit_code, 3);
}

TEST_F(CliTest, ListsUsersWithUsageAndLimits) {
  FakeServer& server = StartServer();
  server.admin().AddUser(MakeUser("ann"));
  EXPECT_EQ(
      Run({"admin", "user", "list"}).out,
      "USER  QUEUED  RUNNING      ARTIFACTS     DEVICE TIME, 7 DAYS  CREATED\n"
      "ann    3 / 7        0  0 B / 1.0 KiB  1 min 30 s / 2 h 0 min  "
      "1970-01-02 00:00:00\n");
}

TEST_F(CliTest, AQuotaKeepsWhatWasNotTyped) {
  FakeServer& server = StartServer();
  server.admin().AddUser(MakeUser("ann"));
  const CommandResult result =
      Run({"admin", "quota", "ann", "--running", "2",
           "--device-seconds-per-week", "3600.5", "--queued", "0"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const v1::Quota quota =
      server.admin().log().Last<v1::SetQuotaRequest>().quota();
  EXPECT_EQ(quota.running_job_count(), 2);
  EXPECT_EQ(quota.device_seconds_per_week(), 3600.5);
  EXPECT_EQ(quota.artifact_bytes(), 1024);
  EXPECT_EQ(quota.queued_job_count(), 0);
}

TEST_F(CliTest, QuotasThatMakeNoSenseAreUsageErrors) {
  FakeServer& server = StartServer();
  server.admin().AddUser(MakeUser("ann"));
  for (const std::vector<std::string>& more :
       std::vector<std::vector<std::string>>{
           {},
           {"--running", "-1"},
           {"--running", "two"},
           {"--artifact-bytes", "-5"},
           {"--artifact-bytes", "5 parsecs"},
           {"--artifact-bytes", "GiB"},
           {"--artifact-bytes", "9000000TiB"},
           {"--device-seconds-per-week", "nan"}}) {
    std::vector<std::string> words = {"admin", "quota", "ann"};
    words.insert(words.end(), more.begin(), more.end());
    const CommandResult result = Run(words);
    EXPECT_EQ(result.exit_code, 2) << ::testing::PrintToString(more);
  }
  EXPECT_TRUE(server.admin().log().All<v1::SetQuotaRequest>().empty());
}

TEST_F(CliTest, AQuotaOfAnUnknownUserSetsNothing) {
  FakeServer& server = StartServer();
  EXPECT_EQ(Run({"admin", "quota", "ghost", "--running", "1"}).exit_code, 3);
  EXPECT_TRUE(server.admin().log().All<v1::SetQuotaRequest>().empty());
}

TEST_F(CliTest, DrainsAndResumes) {
  FakeServer& server = StartServer();
  const CommandResult drain =
      Run({"admin", "drain", "--reason", "new disks", "--stop"});
  EXPECT_EQ(drain.exit_code, 0) << drain.err;
  EXPECT_EQ(drain.out,
            "no jobs are started until 'dissonance admin resume'; 2 run still, "
            "until their next checkpoint\n");
  const auto request = server.admin().log().Last<v1::DrainRequest>();
  EXPECT_EQ(request.reason(), "new disks");
  EXPECT_TRUE(request.stop());
  EXPECT_THAT(Run({"admin", "drain"}).out, HasSubstr("2 run still\n"));
  EXPECT_EQ(Run({"admin", "resume"}).out, "jobs are started again\n");
  EXPECT_EQ(server.admin().log().All<v1::ResumeRequest>().size(), 1U);
}

TEST_F(CliTest, BacksUpIntoAnAbsoluteFolder) {
  FakeServer& server = StartServer();
  const CommandResult result = Run({"admin", "backup", "copies/today"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const std::string here = std::filesystem::current_path();
  EXPECT_EQ(server.admin().log().Last<v1::BackupRequest>().path(),
            here + "/copies/today");
  EXPECT_EQ(result.out,
            here + "/copies/today: database and 12 artifacts, 2.0 KiB\n");
  EXPECT_EQ(Run({"admin", "backup"}).exit_code, 2);
}

TEST_F(CliTest, GarbageIsCollectedOrOnlyCounted) {
  FakeServer& server = StartServer();
  EXPECT_EQ(Run({"admin", "gc", "--dry-run"}).out,
            "            ARTIFACTS     SIZE\n"
            "would go            3  3.0 KiB\n"
            "would stay      1,200  5.0 GiB\n");
  EXPECT_TRUE(server.admin().log().Last<v1::CollectGarbageRequest>().dry_run());
  EXPECT_THAT(Run({"admin", "gc"}).out, HasSubstr("removed"));
  EXPECT_FALSE(
      server.admin().log().Last<v1::CollectGarbageRequest>().dry_run());
}

TEST_F(CliTest, TheAuditSaysWhoChangedWhat) {
  FakeServer& server = StartServer();
  v1::AuditEvent event;
  event.set_number(12);
  event.mutable_time()->set_seconds(86400);
  event.set_user("users/ann");
  event.set_method("/dissonance.v1.Jobs/CreateJob");
  event.set_resource("jobs/01J");
  event.set_code("OK");
  event.set_peer("unix:");
  event.set_request_id("r1");
  server.admin().AddEvent(event);
  event.set_resource("");
  server.admin().AddEvent(event);
  EXPECT_EQ(Run({"admin", "audit", "--user", "ann", "--limit", "1"}).out,
            "NUMBER  TIME                 USER  METHOD          RESULT  "
            "RESOURCE  FROM   REQUEST\n"
            "    12  1970-01-02 00:00:00  ann   Jobs.CreateJob  OK      "
            "jobs/01J  unix:  r1\n");
  const auto request = server.admin().log().Last<v1::ListAuditEventsRequest>();
  EXPECT_EQ(request.user(), "users/ann");
  EXPECT_EQ(request.page_size(), 1);
  EXPECT_EQ(nlohmann::json::parse(
                Run({"admin", "audit", "-o", "json"}).out)[0]["request_id"],
            "r1");
}

TEST_F(CliTest, StatusSaysWhoAsksAndWhyNoJobsAreStarted) {
  FakeServer& server = StartServer();
  const CommandResult open = Run({"server", "status"});
  EXPECT_THAT(open.out, HasSubstr("users/ann, scope admin, token ends "
                                  "1970-01-02 00:00:00\n"));
  EXPECT_THAT(open.out, Not(HasSubstr("none are started")));
  server.admin().SetMaintenance("new disks");
  EXPECT_THAT(Run({"server", "status"}).out,
              HasSubstr("none are started: new disks"));
}

TEST_F(CliTest, ATokenThatMayNotIsToldOfScopesAndEndsWithOne) {
  StartServer().FailWith(
      {grpc::StatusCode::PERMISSION_DENIED, "this needs the scope admin"});
  const CommandResult result = Run({"admin", "user", "list"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("error: this needs the scope admin\n  a "
                                    "token has the scope read, run or admin"));
}

TEST_F(CliTest, AnExhaustedQuotaIsShownAsTheServerWordsIt) {
  StartServer().FailWith(
      {grpc::StatusCode::RESOURCE_EXHAUSTED, "users/ann: 7 of 7 jobs wait"});
  const CommandResult result = Run({"models", "list"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.err, "error: users/ann: 7 of 7 jobs wait\n");
}

TEST_F(CliTest, AdminCommandsAreNamedAndCompleted) {
  const CommandResult wrong = Run({"admin", "user", "add"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err,
              HasSubstr("there is no command 'dissonance admin user add'; "
                        "choose from create, list, show\n"
                        "  see 'dissonance admin user --help'"));
  EXPECT_THAT(Run({"admin"}).err,
              HasSubstr("'dissonance admin' needs a command"));
  const std::string file =
      WriteFile("completion.bash", Run({"completion", "bash"}).out);
  EXPECT_EQ(Subprocess({"/bin/bash", "-c",
                        "source " + file +
                            "; COMP_WORDS=(dissonance admin token r); "
                            "COMP_CWORD=3; _dissonance; echo ${COMPREPLY[@]}"},
                       environment_)
                .Finish()
                .out,
            "rotate revoke\n");
}

}  // namespace
}  // namespace dissonance
