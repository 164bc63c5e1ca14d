// The dashboard through all processes: who is told what, over which routes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/admin.grpc.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "tests/server/dashboard_fixture.h"

namespace dissonance {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

std::vector<std::string> NamesIn(const json& jobs) {
  std::vector<std::string> names;
  for (const char* list : {"running", "queued", "ended"}) {
    for (const json& job : jobs[list]) names.push_back(job["name"]);
  }
  return names;
}

class DashboardTest : public DashboardFixture {};

TEST_F(DashboardTest, ThePageIsForAnybodyAndHasNothingFromElsewhere) {
  for (const char* path : {"/", "/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV"}) {
    const HttpReply page = ParseReply(HttpGet(port_, path));
    EXPECT_EQ(page.code, 200);
    EXPECT_THAT(
        page.headers,
        AllOf(HasSubstr("text/html"), HasSubstr("default-src 'none'"),
              HasSubstr("frame-ancestors 'none'"), HasSubstr("nosniff"),
              Not(HasSubstr("unsafe")), HasSubstr("Cache-Control: no-cache"),
              Not(HasSubstr("no-store"))));
    EXPECT_THAT(page.body,
                AllOf(HasSubstr("/dashboard/main.js"), Not(HasSubstr("http")),
                      Not(HasSubstr("onclick")), Not(HasSubstr("style="))));
  }
  for (const char* file : {"main.js", "api.js", "elements.js", "chart.js",
                           "overview_page.js", "job_page.js"}) {
    const HttpReply script =
        ParseReply(HttpGet(port_, absl::StrCat("/dashboard/", file)));
    EXPECT_EQ(script.code, 200) << file;
    EXPECT_THAT(script.headers, HasSubstr("text/javascript")) << file;
    EXPECT_THAT(script.body,
                AllOf(Not(HasSubstr("innerHTML")), Not(HasSubstr("https://"))))
        << file;
  }
}

TEST_F(DashboardTest, AFileThatTheClientHasIsNotSentAgain) {
  const HttpReply first = ParseReply(HttpGet(port_, "/dashboard/main.js"));
  const size_t tag = first.headers.find("ETag: ");
  ASSERT_NE(tag, std::string::npos);
  const std::string value =
      first.headers.substr(tag + 6, first.headers.find("\r\n", tag) - tag - 6);
  const HttpReply again = ParseReply(
      HttpAnswer(port_, absl::StrCat("GET /dashboard/main.js HTTP/1.1\r\nHost: "
                                     "localhost\r\nConnection: close\r\n"
                                     "If-None-Match: ",
                                     value, "\r\n\r\n")));
  EXPECT_EQ(again.code, 304);
  EXPECT_THAT(again.body, IsEmpty());
}

TEST_F(DashboardTest, AReportsFrameHasAnOriginOfItsOwnAndFetchesNothing) {
  const HttpReply frame = ParseReply(HttpGet(port_, "/report"));
  EXPECT_EQ(frame.code, 200);
  EXPECT_THAT(frame.headers, AllOf(HasSubstr("sandbox allow-scripts;"),
                                   Not(HasSubstr("allow-same-origin")),
                                   HasSubstr("default-src 'none'"),
                                   HasSubstr("frame-ancestors 'self'"),
                                   Not(HasSubstr("connect-src"))));
}

TEST_F(DashboardTest, NothingIsToldOrDoneWithoutAToken) {
  const std::string job = CreateJobOf(ada());
  for (const std::string& path :
       {std::string(kOverviewPath), std::string(kEventsPath), JobPath(job),
        JobPath(job, "/events"),
        absl::StrCat("/api/artifacts/sha256:", std::string(64, 'a'))}) {
    for (const char* token : {"", "dissonance_wrong"}) {
      const HttpReply reply = Get(path, token);
      EXPECT_EQ(reply.code, 401) << path;
      EXPECT_EQ(CodeOf(reply), "UNAUTHENTICATED") << path;
      EXPECT_THAT(reply.headers, HasSubstr("WWW-Authenticate: Bearer")) << path;
    }
    EXPECT_EQ(ParseReply(HttpGet(port_, path)).code, 401) << path;
  }
  for (const char* action : {"/cancel", "/retry", "/pause", "/resume"}) {
    EXPECT_EQ(Post(JobPath(job, action), "{}", "").code, 401) << action;
  }
  EXPECT_EQ(StateOf(Get(JobPath(job), ada().secret())), "JOB_STATE_QUEUED");
}

TEST_F(DashboardTest, EverybodySeesWhatHeSeesOverGrpcAndNothingElse) {
  const std::string job = CreateJobOf(ada());
  const json adas = Overview(ada());
  EXPECT_THAT(NamesIn(adas["jobs"]), Contains(job));
  EXPECT_THAT(adas["users"], SizeIs(1));
  EXPECT_EQ(adas["users"][0]["name"], "users/ada");
  EXPECT_EQ(adas["server"]["caller"]["user"], "users/ada");
  // Shared ones alone.
  for (const json& model : adas["models"]) {
    EXPECT_EQ(model["name"], kTinyModel);
  }

  const std::string bobs = Overview(bob()).dump();
  EXPECT_THAT(bobs, AllOf(Not(HasSubstr(job)), Not(HasSubstr("users/ada"))));

  const json all = Overview(Client::Owner(*server_));
  EXPECT_THAT(NamesIn(all["jobs"]), Contains(job));
  EXPECT_THAT(all["users"].dump(),
              AllOf(HasSubstr("users/ada"), HasSubstr("users/bob")));
}

TEST_F(DashboardTest, OthersJobsAndFilesDoNotExist) {
  const std::string job = CreateJobOf(ada());
  const auto artifact = ada().Write("ada's own bytes");
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  const std::string file = absl::StrCat("/api/", *artifact);
  for (const std::string& path :
       {JobPath(job), JobPath(job, "/events"), file}) {
    const HttpReply others = Get(path, bob().secret());
    EXPECT_EQ(others.code, 404) << path;
    EXPECT_EQ(CodeOf(others), "NOT_FOUND") << path;
  }
  for (const char* action : {"/cancel", "/retry", "/pause", "/resume"}) {
    EXPECT_EQ(Post(JobPath(job, action), "{}", bob().secret()).code, 404)
        << action;
  }
  EXPECT_EQ(StateOf(Get(JobPath(job), ada().secret())), "JOB_STATE_QUEUED");
}

TEST_F(DashboardTest, AJobIsShownWithoutItsData) {
  const std::string job = CreateJobOf(ada());
  const HttpReply reply = Get(JobPath(job), ada().secret());
  const json shown = json::parse(reply.body, nullptr, false);
  EXPECT_EQ(shown["kind"], "evaluate_mcq");
  EXPECT_EQ(shown["owner"], "users/ada");
  EXPECT_EQ(shown["spec"]["evaluate_mcq"]["data_name"], "mcqs.jsonl");
  EXPECT_EQ(shown["spec"]["evaluate_mcq"]["data"], "");
  EXPECT_EQ(shown["config_toml"], "");
  EXPECT_THAT(shown["queue"]["waits_for"].dump(), HasSubstr("maintenance"));
  EXPECT_THAT(reply.headers, HasSubstr("Cache-Control: no-store"));
}

TEST_F(DashboardTest, JobsArePausedResumedCancelledAndRetried) {
  const std::string job = CreateJobOf(ada());
  const auto post = [&](const char* action) {
    return Post(JobPath(job, action), "{}", ada().secret());
  };
  EXPECT_EQ(StateOf(post("/pause")), "JOB_STATE_PAUSED");
  EXPECT_EQ(StateOf(post("/resume")), "JOB_STATE_QUEUED");
  EXPECT_EQ(StateOf(post("/cancel")), "JOB_STATE_CANCELLED");
  const HttpReply again = post("/cancel");
  EXPECT_EQ(again.code, 400);
  EXPECT_EQ(CodeOf(again), "FAILED_PRECONDITION");
  EXPECT_EQ(StateOf(post("/retry")), "JOB_STATE_QUEUED");
  EXPECT_EQ(StateOf(post("/cancel")), "JOB_STATE_CANCELLED");
  // As other changes are.
  const auto audited = Client::Owner(*server_).Call(
      &v1::Admin::Stub::ListAuditEvents, v1::ListAuditEventsRequest());
  ASSERT_TRUE(audited.ok()) << audited.status();
  EXPECT_EQ(audited->events(0).method(), "/dissonance.v1.Jobs/CancelJob");
  EXPECT_EQ(audited->events(0).resource(), job);
  EXPECT_EQ(audited->events(0).user(), "users/ada");
}

TEST_F(DashboardTest, AChangeNeedsTheScopeJsonAndAPageOfTheServersOwn) {
  const std::string job = CreateJobOf(ada());
  const std::string cancel = JobPath(job, "/cancel");
  const auto reader = ada().NewToken(v1::SCOPE_READ);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(Get(JobPath(job), reader->secret()).code, 200);
  EXPECT_EQ(Post(cancel, "{}", reader->secret()).code, 403);
  const std::string& own = ada().secret();
  const std::string type = "Content-Type: application/json\r\n";
  EXPECT_EQ(PostWith(cancel, "", own).code, 415);
  EXPECT_EQ(PostWith(cancel, "Content-Type: text/plain\r\n", own).code, 415);
  for (const char* origin : {"https://evil.example", "null", "http://lab:2",
                             "http://lab:1.evil.example"}) {
    EXPECT_EQ(
        PostWith(cancel, absl::StrCat(type, "Origin: ", origin, "\r\n"), own)
            .code,
        403)
        << origin;
  }
  EXPECT_EQ(StateOf(Get(JobPath(job), own)), "JOB_STATE_QUEUED");
  EXPECT_EQ(StateOf(PostWith(
                cancel, absl::StrCat(type, "Origin: http://lab:1\r\n"), own)),
            "JOB_STATE_CANCELLED");
}

TEST_F(DashboardTest, OtherMethodsAndNamesAreRefused) {
  const std::string job = CreateJobOf(ada());
  const auto get = [&](const std::string& path) {
    return Get(path, ada().secret()).code;
  };
  EXPECT_EQ(get(JobPath(job, "/cancel")), 405);
  EXPECT_EQ(Post("/api/events", "{}", ada().secret()).code, 405);
  EXPECT_EQ(Post(JobPath(job), "{}", ada().secret()).code, 405);
  EXPECT_EQ(Post("/", "{}", ada().secret()).code, 405);
  for (const char* path :
       {"/api/", "/api/jobs/", "/api/jobs/a/b", "/api/jobs/%2e%2e%2fx/events",
        "/dashboard/", "/dashboard/../main.js", "/jobs/", "/jobs/a/b"}) {
    EXPECT_EQ(get(path), 404) << path;
  }
  for (const char* name : {"..", "*", "nope", "%00", "jobs", "%ff"}) {
    const int code = get(absl::StrCat("/api/jobs/", name));
    EXPECT_THAT(code, AnyOf(400, 404)) << name;
    EXPECT_THAT(get(absl::StrCat("/api/artifacts/", name)), AnyOf(400, 404))
        << name;
  }
}

TEST_F(DashboardTest, AFileIsSentWholeAndNeverAsAPage) {
  const std::string bytes =
      absl::StrCat("<script>alert(1)</script>", std::string(3 << 20, 'x'));
  const auto artifact = ada().Write(bytes);
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  const HttpReply file = Get(absl::StrCat("/api/", *artifact), ada().secret());
  EXPECT_EQ(file.code, 200);
  EXPECT_TRUE(file.body == bytes);
  EXPECT_THAT(
      file.headers,
      AllOf(HasSubstr("Content-Type: application/octet-stream"),
            HasSubstr("Content-Disposition: attachment"), HasSubstr("nosniff"),
            HasSubstr(absl::StrCat("Content-Length: ", bytes.size()))));
}

TEST_F(DashboardTest, LookingAgainAndAgainDoesNotFillTheLog) {
  const size_t before = server_->Log().size();
  Overview(ada());
  ASSERT_EQ(Get(JobPath(CreateJobOf(ada())), ada().secret()).code, 200);
  ASSERT_TRUE(AwaitLog(*server_, before, "Jobs/GetJob"));
  const std::string log = server_->Log().substr(before);
  EXPECT_THAT(log, AllOf(Not(HasSubstr("Jobs/ListJobs")),
                         Not(HasSubstr("Models/ListModels"))));
}

TEST_F(DashboardTest, OfACallFromOutsideTheLogHasALineWhateverItSays) {
  const size_t before = server_->Log().size();
  const auto context = ada().NewContext();
  context->AddMetadata("x-dissonance-watch", "1");
  v1::Jobs::Stub jobs(server_->channel());
  v1::ListJobsResponse response;
  ASSERT_TRUE(
      jobs.ListJobs(context.get(), v1::ListJobsRequest(), &response).ok());
  EXPECT_TRUE(AwaitLog(*server_, before, "Jobs/ListJobs"));
}

TEST(DashboardRateTest, RequestsAreWithinTheTokensRate) {
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = folder.path(), .config = "http_listen = \"127.0.0.1:0\"\n"});
  ASSERT_TRUE(server.AwaitServing());
  v1::CreateTokenRequest slow;
  slow.set_calls_per_second(0.001);
  const auto client = Client::Owner(server).NewToken(slow);
  ASSERT_TRUE(client.ok()) << client.status();
  const auto ask = [&](const char* method, const std::string& path) {
    return ParseReply(HttpAnswer(
        HttpPortOf(server),
        absl::StrCat(method, " ", path,
                     " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                     "Content-Type: application/json\r\nContent-Length: 0\r\n"
                     "Authorization: Bearer ",
                     client->secret(), "\r\n\r\n")));
  };
  EXPECT_EQ(ask("GET", kOverviewPath).code, 200);
  for (const char* path : {"/api/overview", "/api/events", "/api/jobs/x",
                           "/api/jobs/x/events", "/api/artifacts/x"}) {
    const HttpReply refused = ask("GET", path);
    EXPECT_EQ(refused.code, 429) << path;
    EXPECT_THAT(refused.headers, HasSubstr("Retry-After: ")) << path;
  }
  for (const char* action : {"cancel", "retry", "pause", "resume"}) {
    EXPECT_EQ(ask("POST", absl::StrCat("/api/jobs/x/", action)).code, 429)
        << action;
  }
}

}  // namespace
}  // namespace dissonance
