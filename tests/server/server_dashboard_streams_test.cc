// What the dashboard streams, through all processes: in which order, to whom,
// how much at a time, and how it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "dissonance/v1/admin.grpc.pb.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "tests/server/dashboard_fixture.h"

namespace dissonance {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kClose[] = "Connection: close\r\n";

// Of server-sent events: kind and data.
struct Sent {
  std::string id;
  std::string event;
  json data;
};

std::vector<Sent> ParseEvents(const std::string& text) {
  std::vector<Sent> all;
  for (const absl::string_view block : absl::StrSplit(text, "\n\n")) {
    Sent sent;
    for (const absl::string_view line : absl::StrSplit(block, '\n')) {
      if (absl::StartsWith(line, "id: ")) sent.id = std::string(line.substr(4));
      if (absl::StartsWith(line, "event: "))
        sent.event = std::string(line.substr(7));
      if (absl::StartsWith(line, "data: ")) {
        sent.data = json::parse(std::string(line.substr(6)), nullptr, false);
      }
    }
    if (!sent.event.empty()) all.push_back(std::move(sent));
  }
  return all;
}

class DashboardStreamsTest : public DashboardFixture {};

TEST_F(DashboardStreamsTest, AJobsEventsComeInOrderAndEndWithTheJob) {
  const std::string job = CreateJobOf(ada());
  const auto stream = Open(JobPath(job, "/events"), ada().secret(), kClose);
  Resume();
  const HttpReply reply = ParseReply(stream->ReceiveAll());
  EXPECT_THAT(reply.headers, HasSubstr("text/event-stream"));
  const std::vector<Sent> events = ParseEvents(reply.body);
  ASSERT_GT(events.size(), 3u);
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    EXPECT_EQ(events[i].event, "event");
    EXPECT_EQ(events[i].id, absl::StrCat(i + 1));
  }
  EXPECT_EQ(events.back().event, "job");
  EXPECT_EQ(events.back().data["state"], "JOB_STATE_SUCCEEDED");

  // Whoever comes again gets what he had not.
  const auto again = Open(JobPath(job, "/events"), ada().secret(),
                          absl::StrCat("Connection: close\r\nLast-Event-ID: ",
                                       events.size() - 2, "\r\n"));
  const auto rest = ParseEvents(ParseReply(again->ReceiveAll()).body);
  ASSERT_EQ(rest.size(), 2u);
  EXPECT_EQ(rest[0].id, absl::StrCat(events.size() - 1));
  EXPECT_EQ(ParseReply(Open(JobPath(job, "/events"), ada().secret(),
                            "Connection: close\r\nLast-Event-ID: x\r\n")
                           ->ReceiveAll())
                .code,
            400);
}

TEST_F(DashboardStreamsTest, ChangesFollowTheFirstEventsUntilTheTokenEnds) {
  const auto doomed = ada().NewToken(v1::SCOPE_RUN);
  ASSERT_TRUE(doomed.ok()) << doomed.status();
  const auto stream = Open(kEventsPath, doomed->secret());
  EXPECT_THAT(stream->ReceiveUntil("\n\n\r\n"),
              AllOf(HasSubstr("event: server"), HasSubstr("event: jobs"),
                    HasSubstr("event: models"), HasSubstr("event: users")));
  const std::string job = CreateJobOf(ada());
  std::string news;
  while (!absl::StrContains(news, job)) {
    const std::string piece = stream->ReceiveUntil("\n\n\r\n");
    ASSERT_THAT(piece, Not(IsEmpty()));
    // What has not changed is not told again.
    EXPECT_THAT(piece, Not(HasSubstr("event: server")));
    news += piece;
  }
  ASSERT_TRUE(ada().Revoke(doomed->token()).ok());
  EXPECT_THAT(stream->ReceiveUntil("0\r\n\r\n"),
              AllOf(HasSubstr("event: error"), HasSubstr("UNAUTHENTICATED")));
}

TEST_F(DashboardStreamsTest, AUserHasSoManyStreamsAndOthersHaveTheirOwn) {
  const std::string job = CreateJobOf(ada());
  std::vector<std::unique_ptr<HttpConnection>> streams;
  for (int i = 0; i < 8; ++i) {
    streams.push_back(Open(i % 2 == 0 ? kEventsPath : JobPath(job, "/events"),
                           ada().secret()));
    ASSERT_THAT(streams.back()->ReceiveUntil("\n\n\r\n"),
                StartsWith("HTTP/1.1 200 "));
  }
  for (const std::string& path :
       {std::string(kEventsPath), JobPath(job, "/events")}) {
    const HttpReply refused = Get(path, ada().secret());
    EXPECT_EQ(refused.code, 429) << path;
    EXPECT_THAT(refused.body, HasSubstr("users/ada has 8 streams")) << path;
  }
  EXPECT_EQ(Get(kOverviewPath, ada().secret()).code, 200);
  EXPECT_THAT(Open(kEventsPath, bob().secret())->ReceiveUntil("\n\n\r\n"),
              StartsWith("HTTP/1.1 200 "));
  // A client that goes away leaves nothing behind.
  streams.clear();
  std::string answer;
  while (!absl::StartsWith(answer, "HTTP/1.1 200 ")) {
    answer =
        Open(kEventsPath, ada().secret(), kClose)->ReceiveUntil("\n\n\r\n");
  }
}

TEST_F(DashboardStreamsTest, AReaderThatDoesNotReadHoldsLittleAndNobodyUp) {
  constexpr int64_t kFileBytes = 64 << 20;
  const auto artifact = bob().Write(std::string(kFileBytes, 'x'));
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  const int64_t before = server_->Info().resident_bytes();
  std::vector<std::unique_ptr<HttpConnection>> silent;
  for (int i = 0; i < 8; ++i) {
    silent.push_back(Open(absl::StrCat("/api/", *artifact), bob().secret()));
    while (!silent.back()->HasAnswer()) {
    }
  }
  // Others are answered, while as much goes out as the sockets take.
  for (int i = 0; i < 50; ++i) Overview(ada());
  EXPECT_LT(server_->Info().resident_bytes() - before, kFileBytes);
  silent.clear();
  std::string answer;
  while (!absl::StartsWith(answer, "HTTP/1.1 200 ")) {
    answer =
        Open(kEventsPath, bob().secret(), kClose)->ReceiveUntil("\n\n\r\n");
  }
}

TEST(DashboardDrainTest, StreamsEndWithAnErrorWhenTheServerDrains) {
  const TempFolder folder;
  ServerProcess server({.data_dir = folder.path(),
                        .config = "drain_seconds = 600\n"
                                  "http_listen = \"127.0.0.1:0\"\n"});
  ASSERT_TRUE(server.AwaitServing());
  ASSERT_TRUE(LoadTinyWorld(server).ok());
  // The job stays queued.
  ASSERT_TRUE(Client::Owner(server)
                  .Call(&v1::Admin::Stub::Drain, v1::DrainRequest())
                  .ok());
  const auto job = CreateJob(server, TinyWorldJob(2), "");
  ASSERT_TRUE(job.ok()) << job.status();
  // The server waits for it.
  v1::GenerateRequest endless;
  endless.add_variants()->set_model(kTinyModel);
  endless.add_inputs()->mutable_tokens()->add_ids(1);
  endless.mutable_options()->set_max_new_token_count(100);
  endless.mutable_options()->set_ignore_eos(true);
  endless.set_sample_count(2000);
  const auto context = server.NewContext();
  const auto inference = server.NewStub<v1::Inference>();
  const auto generating = inference->Generate(context.get(), endless);
  v1::GenerateResponse token;
  ASSERT_TRUE(generating->Read(&token));

  std::vector<std::unique_ptr<HttpConnection>> streams;
  for (const std::string& path :
       {std::string(kEventsPath), JobPath(job->name(), "/events")}) {
    streams.push_back(std::make_unique<HttpConnection>(HttpPortOf(server)));
    streams.back()->Send(absl::StrCat(
        "GET ", path, " HTTP/1.1\r\nHost: localhost\r\n", kClose,
        "Authorization: Bearer ", server.OwnerToken(), "\r\n\r\n"));
    ASSERT_THAT(streams.back()->ReceiveUntil("\n\n\r\n"),
                StartsWith("HTTP/1.1 200 "));
  }
  server.Signal(SIGTERM);
  for (const auto& stream : streams) {
    EXPECT_THAT(stream->ReceiveAll(),
                AllOf(HasSubstr("event: error"), HasSubstr("UNAVAILABLE"),
                      HasSubstr("again")));
  }
  context->TryCancel();
  EXPECT_EQ(server.AwaitExit(), 0);
}

}  // namespace
}  // namespace dissonance
