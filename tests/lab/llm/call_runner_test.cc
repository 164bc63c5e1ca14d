// Tasks against a real HTTP server, and a job that is run again.
#include "src/lab/llm/call_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "nlohmann/json.hpp"
#include "tests/lab/eval/fake_compute.h"
#include "tests/testing/scripted_endpoint.h"

namespace dissonance {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

// Asks `count` questions, each with the answer before in it.
class Chain final : public ChatTask {
 public:
  Chain(std::string name, int count) : name_(std::move(name)), left_(count) {}

  std::optional<ChatRequest> Next() override {
    if (left_ == 0) return std::nullopt;
    return ChatRequest{
        .model = "m",
        .messages = {{"user", absl::StrCat(name_, " after ", last_)}}};
  }
  void Take(absl::StatusOr<ChatReply> reply) override {
    --left_;
    last_ = reply.ok() ? reply->content : std::string(reply.status().message());
    answers.push_back(last_);
  }

  std::vector<std::string> answers;

 private:
  const std::string name_;
  int left_;
  std::string last_ = "nothing";
};

class CallRunnerTest : public testing::Test {
 protected:
  // Answers with the number of words it was asked, so the same each time.
  static ScriptedAnswer Echo(const ScriptedRequest& request) {
    return ScriptedAnswer::Says(absl::StrCat("<", request.Prompt(), ">"));
  }

  std::unique_ptr<ChatClient> Client(const ScriptedEndpoint& server) {
    auto client =
        ChatClient::Create({.base_url = server.base_url(),
                            .in_flight = 3,
                            .tries = 2,
                            .first_backoff = absl::Milliseconds(1),
                            .longest_backoff = absl::Milliseconds(2)});
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  // Runs chains of two questions in a job; what they were answered.
  absl::StatusOr<std::vector<std::string>> Run(
      const ScriptedEndpoint& server, FakeJob& job, int chains,
      std::function<absl::Status()> check = [] { return absl::OkStatus(); }) {
    const auto client = Client(server);
    auto runner = CallRunner::Create(*client, job);
    if (!runner.ok()) return runner.status();
    std::vector<std::unique_ptr<Chain>> owned;
    std::vector<ChatTask*> tasks;
    for (int i = 0; i < chains; ++i) {
      owned.push_back(std::make_unique<Chain>(absl::StrCat("q", i), 2));
      tasks.push_back(owned.back().get());
    }
    const absl::Status status = runner->Run(tasks, check);
    totals_ = runner->totals();
    if (!status.ok()) return status;
    std::vector<std::string> answers;
    for (const auto& chain : owned) answers.push_back(chain->answers.back());
    return answers;
  }

  CallTotals totals_;
};

TEST_F(CallRunnerTest, TasksGoOnFromTheirOwnReplies) {
  ScriptedEndpoint server(Echo);
  FakeJob job;
  const auto answers = Run(server, job, 5);
  ASSERT_TRUE(answers.ok()) << answers.status();
  EXPECT_EQ(answers->at(4), "<q4 after <q4 after nothing>>");
  EXPECT_THAT(job.items, SizeIs(10));
  EXPECT_EQ(totals_.call_count, 10);
  EXPECT_EQ(totals_.prompt_tokens, 70);
  EXPECT_EQ(totals_.models.at("scripted"), 10);
  EXPECT_LE(server.most_at_once(), 3);
}

TEST_F(CallRunnerTest, CallsThatToldNoCostAreCountedApart) {
  ScriptedEndpoint server([](const ScriptedRequest& request) {
    ScriptedAnswer answer = Echo(request);
    if (absl::StartsWith(request.Prompt(), "q1")) {
      nlohmann::json body = nlohmann::json::parse(answer.body);
      body["usage"]["cost"] = 0.25;
      answer.body = body.dump();
    }
    return answer;
  });
  FakeJob job;
  ASSERT_TRUE(Run(server, job, 5).ok());
  EXPECT_EQ(totals_.cost, 0.5);
  EXPECT_EQ(totals_.untold.call_count, 8);
  EXPECT_EQ(totals_.untold.prompt_tokens, 56);
  const int64_t completions = totals_.untold.completion_tokens;
  // The same of what was recorded.
  ASSERT_TRUE(Run(server, job, 5).ok());
  EXPECT_EQ(totals_.cost, 0.5);
  EXPECT_EQ(totals_.untold.completion_tokens, completions);
}

TEST_F(CallRunnerTest, AJobThatIsRunAgainAsksNothingTwice) {
  ScriptedEndpoint server(Echo);
  FakeJob whole;
  const auto expected = Run(server, whole, 5);
  ASSERT_TRUE(expected.ok());
  const size_t asked = server.requests().size();
  for (size_t kept = 0; kept <= whole.items.size(); ++kept) {
    FakeJob again;
    again.items.assign(whole.items.begin(),
                       whole.items.begin() + static_cast<ptrdiff_t>(kept));
    const size_t before = server.requests().size();
    const auto answers = Run(server, again, 5);
    ASSERT_TRUE(answers.ok()) << answers.status();
    EXPECT_EQ(*answers, *expected);
    EXPECT_EQ(server.requests().size() - before, asked - kept);
    EXPECT_EQ(totals_.call_count, 10);
  }
}

TEST_F(CallRunnerTest, AReplyIsRecordedBeforeItIsUsed) {
  ScriptedEndpoint server(Echo);
  FakeJob job;
  size_t seen = 0;
  const auto answers = Run(server, job, 4, [&] {
    ++seen;
    EXPECT_GE(job.items.size(), seen);
    return absl::OkStatus();
  });
  EXPECT_TRUE(answers.ok());
  EXPECT_EQ(seen, 8U);
}

TEST_F(CallRunnerTest, ACallThatFailsIsItsTasksMatter) {
  ScriptedEndpoint server([](const ScriptedRequest& request) {
    return absl::StartsWith(request.Prompt(), "q1")
               ? ScriptedAnswer::Refuses(500, "broken")
               : Echo(request);
  });
  FakeJob job;
  const auto answers = Run(server, job, 3);
  ASSERT_TRUE(answers.ok()) << answers.status();
  EXPECT_THAT(answers->at(1), HasSubstr("broken"));
  EXPECT_EQ(answers->at(2), "<q2 after <q2 after nothing>>");
  // What failed is asked again when the job is.
  EXPECT_THAT(job.items, SizeIs(4));
}

TEST_F(CallRunnerTest, ARefusedKeyEndsTheJob) {
  ScriptedEndpoint server([](const ScriptedRequest&) {
    return ScriptedAnswer::Refuses(401, "who are you");
  });
  FakeJob job;
  const auto answers = Run(server, job, 3);
  EXPECT_TRUE(absl::IsFailedPrecondition(answers.status()));
  EXPECT_THAT(answers.status().message(), HasSubstr("who are you"));
}

TEST_F(CallRunnerTest, StopsWhenTheJobOrTheCheckSaysSo) {
  ScriptedEndpoint server(Echo);
  FakeJob job;
  job.when_cancelled = [&job] { return job.items.size() >= 3; };
  EXPECT_TRUE(absl::IsCancelled(Run(server, job, 5).status()));
  FakeJob other;
  const auto check = [] { return absl::AbortedError("too many errors"); };
  EXPECT_TRUE(absl::IsAborted(Run(server, other, 5, check).status()));
  EXPECT_THAT(other.items, SizeIs(1));
}

TEST_F(CallRunnerTest, ACancelledJobDoesNotWaitForAReplyThatHangs) {
  ScriptedEndpoint server([](const ScriptedRequest&) {
    return ScriptedAnswer{.fault = ScriptedAnswer::Fault::kHang};
  });
  FakeJob job;
  int glances = 0;
  job.when_cancelled = [&glances] { return ++glances > 2; };
  EXPECT_TRUE(absl::IsCancelled(Run(server, job, 2).status()));
}

TEST_F(CallRunnerTest, ADamagedRecordIsDataLoss) {
  ScriptedEndpoint server(Echo);
  FakeJob job;
  job.items = {"{\"digest\":"};
  EXPECT_TRUE(absl::IsDataLoss(Run(server, job, 1).status()));
}

}  // namespace
}  // namespace dissonance
