// The client against a real HTTP server that answers as each test wants.
#include "src/lab/llm/chat_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "tests/testing/scripted_endpoint.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using testing::HasSubstr;
using testing::Not;
using Fault = ScriptedAnswer::Fault;

ChatEndpoint Quick(const ScriptedEndpoint& server) {
  return {.base_url = server.base_url(),
          .key = Secret("sk-secret"),
          .timeout = absl::Seconds(20),
          .first_backoff = absl::Milliseconds(1),
          .longest_backoff = absl::Milliseconds(4)};
}

ChatRequest Asks(const std::string& text) {
  return {.model = "m", .messages = {{"user", text}}};
}

// Calls and what came of them, in the order of their ends.
class Calls {
 public:
  explicit Calls(ChatEndpoint endpoint) {
    auto client = ChatClient::Create(std::move(endpoint));
    EXPECT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }

  int64_t Ask(const std::string& text) { return Submit(Asks(text)); }
  int64_t Submit(const ChatRequest& request) {
    return client_->Submit(request, [this](auto reply) {
      const absl::MutexLock lock(&mutex_);
      ended_.push_back(std::move(reply));
    });
  }
  absl::StatusOr<ChatReply> Next() {
    const absl::MutexLock lock(
        &mutex_, absl::Condition(
                     +[](std::deque<absl::StatusOr<ChatReply>>* ended) {
                       return !ended->empty();
                     },
                     &ended_));
    absl::StatusOr<ChatReply> next = std::move(ended_.front());
    ended_.pop_front();
    return next;
  }
  absl::StatusOr<ChatReply> Answer(const std::string& text) {
    Ask(text);
    return Next();
  }
  ChatClient& client() { return *client_; }
  void EndClient() { client_.reset(); }

 private:
  absl::Mutex mutex_;
  std::deque<absl::StatusOr<ChatReply>> ended_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<ChatClient> client_;
};

TEST(ChatClient, SendsTheRequestWithKeyAndHeaders) {
  ScriptedEndpoint server(
      [](const ScriptedRequest&) { return ScriptedAnswer::Says("eight"); });
  ChatEndpoint endpoint = Quick(server);
  endpoint.headers["X-Title"] = "Lab";
  Calls calls(std::move(endpoint));
  const auto reply = calls.Answer("two cubed?");
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->content, "eight");
  EXPECT_EQ(reply->usage.prompt_tokens, 7);
  const ScriptedRequest seen = server.requests().at(0);
  EXPECT_EQ(seen.path, "/v1/chat/completions");
  EXPECT_EQ(seen.headers.at("authorization"), "Bearer sk-secret");
  EXPECT_EQ(seen.headers.at("x-title"), "Lab");
  EXPECT_EQ(seen.Prompt(), "two cubed?");
}

TEST(ChatClient, AsksForJsonOnlyWhereTheEndpointKnowsHow) {
  ScriptedEndpoint server(
      [](const ScriptedRequest&) { return ScriptedAnswer::Says("{}"); });
  for (const bool json_mode : {true, false}) {
    ChatEndpoint endpoint = Quick(server);
    endpoint.json_mode = json_mode;
    Calls calls(std::move(endpoint));
    ChatRequest request = Asks("an object, please");
    request.json_object = true;
    calls.Submit(request);
    ASSERT_TRUE(calls.Next().ok());
    EXPECT_EQ(server.requests().back().json.contains("response_format"),
              json_mode);
  }
}

TEST(ChatClient, KeepsAsManyInFlightAsItMayAndNoMore) {
  constexpr int kCalls = 60;
  std::atomic<int> arrived = 0;
  absl::Mutex mutex;
  // Nobody is answered before twenty are there together.
  ScriptedEndpoint server([&](const ScriptedRequest&) {
    const absl::MutexLock lock(&mutex);
    ++arrived;
    const auto enough = [&] { return arrived >= 20; };
    mutex.Await(absl::Condition(&enough));
    return ScriptedAnswer::Says("x");
  });
  Calls calls(Quick(server));
  for (int i = 0; i < kCalls; ++i) calls.Ask(absl::StrCat(i));
  for (int i = 0; i < kCalls; ++i) EXPECT_TRUE(calls.Next().ok());
  EXPECT_EQ(server.most_at_once(), 20);
  EXPECT_EQ(calls.client().stats().most_in_flight, 20);
}

TEST(ChatClient, TriesAgainWhatFailsInPassing) {
  const std::vector<ScriptedAnswer> faults = {
      ScriptedAnswer::Refuses(500, "oops"),
      {.body = "{\"choices\":[", .fault = Fault::kNone},
      {.body = std::string(100, ' '), .fault = Fault::kHalf},
      {.fault = Fault::kNothing}};
  ScriptedEndpoint server([&](const ScriptedRequest& request) {
    const auto number = static_cast<size_t>(request.number);
    return number < faults.size() ? faults[number]
                                  : ScriptedAnswer::Says("well");
  });
  Calls calls(Quick(server));
  const auto reply = calls.Answer("hi");
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->content, "well");
  EXPECT_EQ(calls.client().stats().failed_count, 4);
  std::set<std::string> names;
  for (const ScriptedRequest& request : server.requests()) {
    names.insert(request.headers.at("idempotency-key"));
  }
  EXPECT_EQ(names.size(), 1U);
}

TEST(ChatClient, GivesUpAfterItsTries) {
  ScriptedEndpoint server([](const ScriptedRequest&) {
    return ScriptedAnswer::Refuses(502, "bad gateway");
  });
  ChatEndpoint endpoint = Quick(server);
  endpoint.tries = 3;
  Calls calls(std::move(endpoint));
  const auto reply = calls.Answer("hi");
  EXPECT_TRUE(absl::IsUnavailable(reply.status())) << reply.status();
  EXPECT_THAT(reply.status().message(), HasSubstr("3 tries"));
  EXPECT_THAT(reply.status().message(), HasSubstr("bad gateway"));
  EXPECT_EQ(server.requests().size(), 3U);
}

TEST(ChatClient, HangingAndStallingCallsEndAtTheTimeOut) {
  for (const Fault fault : {Fault::kHang, Fault::kStall}) {
    ScriptedEndpoint server([fault](const ScriptedRequest&) {
      ScriptedAnswer answer = ScriptedAnswer::Says(std::string(1000, 'x'));
      answer.fault = fault;
      return answer;
    });
    ChatEndpoint endpoint = Quick(server);
    endpoint.tries = 2;
    endpoint.timeout = absl::Milliseconds(100);
    Calls calls(std::move(endpoint));
    const auto reply = calls.Answer("hi");
    EXPECT_TRUE(absl::IsUnavailable(reply.status())) << reply.status();
    server.Release();
  }
}

TEST(ChatClient, StormsOfBeingToldToWaitLoseNothing) {
  constexpr int kCalls = 100;
  absl::Mutex mutex;
  std::map<std::string, int> seen;
  // Each call is told to wait more often than it has tries.
  ScriptedEndpoint server([&](const ScriptedRequest& request) {
    const absl::MutexLock lock(&mutex);
    if (++seen[request.Prompt()] <= 7) {
      ScriptedAnswer answer = ScriptedAnswer::Refuses(429, "slow down");
      if (request.number % 2 == 0) answer.headers["Retry-After"] = "0";
      return answer;
    }
    return ScriptedAnswer::Says(request.Prompt());
  });
  Calls calls(Quick(server));
  for (int i = 0; i < kCalls; ++i) calls.Ask(absl::StrCat(i));
  std::set<std::string> answers;
  for (int i = 0; i < kCalls; ++i) {
    const auto reply = calls.Next();
    ASSERT_TRUE(reply.ok()) << reply.status();
    answers.insert(reply->content);
  }
  EXPECT_EQ(answers.size(), static_cast<size_t>(kCalls));
  EXPECT_EQ(calls.client().stats().told_to_wait, 7 * kCalls);
}

TEST(ChatClient, WaitsNoLongerThanItsPatience) {
  ScriptedEndpoint server([](const ScriptedRequest&) {
    ScriptedAnswer answer = ScriptedAnswer::Refuses(429, "tomorrow");
    answer.headers["Retry-After"] = "86400";
    return answer;
  });
  Calls calls(Quick(server));
  const auto reply = calls.Answer("hi");
  EXPECT_TRUE(absl::IsResourceExhausted(reply.status())) << reply.status();
  EXPECT_THAT(reply.status().message(), HasSubstr("tomorrow"));
}

TEST(ChatClient, RefusalsAreNotTriedAgain) {
  ScriptedEndpoint server([](const ScriptedRequest&) {
    return ScriptedAnswer::Refuses(404, "no model m");
  });
  Calls calls(Quick(server));
  const auto reply = calls.Answer("hi");
  EXPECT_TRUE(absl::IsNotFound(reply.status())) << reply.status();
  EXPECT_THAT(reply.status().message(), HasSubstr("no model m"));
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST(ChatClient, AKeyThatIsRepeatedToItIsNotShown) {
  ScriptedEndpoint server([](const ScriptedRequest& request) {
    return ScriptedAnswer::Refuses(401, request.headers.at("authorization"));
  });
  Calls calls(Quick(server));
  const auto reply = calls.Answer("hi");
  EXPECT_TRUE(absl::IsUnauthenticated(reply.status()));
  EXPECT_THAT(reply.status().message(), Not(HasSubstr("sk-secret")));
}

TEST(ChatClient, CancelledAndLeftCallsSaySo) {
  ScriptedEndpoint server([](const ScriptedRequest&) {
    return ScriptedAnswer{.fault = Fault::kHang};
  });
  ChatEndpoint endpoint = Quick(server);
  endpoint.in_flight = 1;
  Calls calls(std::move(endpoint));
  const int64_t first = calls.Ask("flies");
  const int64_t second = calls.Ask("waits");
  calls.Ask("is left");
  calls.client().Cancel(second);
  EXPECT_TRUE(absl::IsCancelled(calls.Next().status()));
  calls.client().Cancel(first);
  EXPECT_TRUE(absl::IsCancelled(calls.Next().status()));
  calls.EndClient();
  EXPECT_TRUE(absl::IsCancelled(calls.Next().status()));
}

TEST(ChatClient, TrustsNobodyWhomItsAuthoritiesDoNot) {
  const TempFolder folder;
  const auto make = [&folder](const std::string& name) {
    const std::string command = absl::StrCat(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
        "-days 2 -subj /CN=",
        name,
        " -addext subjectAltName=IP:127.0.0.1 "
        "-keyout ",
        folder.path(), "/", name, ".key -out ", folder.path(), "/", name,
        ".pem 2>/dev/null");
    EXPECT_EQ(std::system(command.c_str()), 0);
  };
  make("ours");
  make("theirs");
  const auto read = [&folder](const std::string& name) {
    std::ifstream file(absl::StrCat(folder.path(), "/", name));
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  ScriptedEndpoint server(
      [](const ScriptedRequest&) { return ScriptedAnswer::Says("well"); },
      {.certificate = read("ours.pem"), .key = read("ours.key")});
  ChatEndpoint endpoint = Quick(server);
  endpoint.ca_file = absl::StrCat(folder.path(), "/ours.pem");
  EXPECT_TRUE(Calls(endpoint).Answer("hi").ok());
  endpoint.ca_file = absl::StrCat(folder.path(), "/theirs.pem");
  const auto reply = Calls(endpoint).Answer("hi");
  EXPECT_TRUE(absl::IsFailedPrecondition(reply.status())) << reply.status();
  EXPECT_EQ(server.requests().size(), 1U);
}

}  // namespace
}  // namespace dissonance
