// Over real sockets.
#include "server/control/http_server.h"

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/http_client.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest() {
    auto server = HttpServer::Start(
        "http_listen", "127.0.0.1:0",
        {.gets = {{"/hello",
                   [](const HttpRequest& request) {
                     return HttpResponse{
                         .content_type = "text/x-test",
                         .body = "hello from " + request.path + "\n"};
                   }},
                  {"/of/*/all",
                   [](const HttpRequest& request) {
                     return HttpResponse{
                         .body = absl::StrCat("all of ", request.name, ", ",
                                              request.header("X-Own"), "\n"),
                         .headers = {{"Cache-Control", "no-cache"}}};
                   }},
                  {"/pieces",
                   [](const HttpRequest&) {
                     return HttpResponse{
                         .next_piece =
                             [count = 0]() mutable {
                               return ++count == 1 ? std::string("12345") : "";
                             },
                         .size_bytes = 10};
                   }},
                  {"/throws", [](const HttpRequest&) -> HttpResponse {
                     throw std::runtime_error("a secret reason");
                   }}}});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::string Answer(const std::string& request_line,
                     const std::string& headers = "") {
    return HttpAnswer(
        server_->port(),
        absl::StrCat(request_line, " HTTP/1.1\r\nHost: localhost\r\n", headers,
                     "Connection: close\r\n\r\n"));
  }

  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersAGetOfARoute) {
  EXPECT_THAT(Answer("GET /hello"),
              AllOf(StartsWith("HTTP/1.1 200 "),
                    HasSubstr("Content-Type: text/x-test\r\n"),
                    HasSubstr("Content-Length: 18\r\n"),
                    HasSubstr("X-Content-Type-Options: nosniff\r\n"),
                    EndsWith("\r\n\r\nhello from /hello\n")));
  EXPECT_THAT(Answer("GET /hello?a=b"), EndsWith("hello from /hello\n"));
}

TEST_F(HttpServerTest, AnswersAHeadWithoutTheBody) {
  EXPECT_THAT(Answer("HEAD /hello"),
              AllOf(StartsWith("HTTP/1.1 200 "),
                    HasSubstr("Content-Length: 18\r\n"), EndsWith("\r\n\r\n")));
}

TEST_F(HttpServerTest, AConnectionTakesFurtherRequests) {
  HttpConnection connection(server_->port());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(
        connection.Send("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    EXPECT_THAT(connection.ReceiveUntil("/hello\n"),
                StartsWith("HTTP/1.1 200 "));
  }
}

TEST_F(HttpServerTest, OtherPathsAreNotThere) {
  for (const char* path : {"/", "/hello/", "/hell", "/../hello", "//hello"}) {
    EXPECT_THAT(Answer(absl::StrCat("GET ", path)), StartsWith("HTTP/1.1 404 "))
        << path;
  }
}

TEST_F(HttpServerTest, ARouteMayHaveANameInIt) {
  EXPECT_THAT(
      Answer("GET /of/a%20b/all", "X-Own: mine\r\n"),
      AllOf(StartsWith("HTTP/1.1 200 "), EndsWith("all of a b, mine\n")));
  EXPECT_THAT(Answer("GET /of/*/all"), EndsWith("all of *, \n"));
  for (const char* path : {"/of//all", "/of/a/b/all", "/of/a%2Fb/all",
                           "/of/all", "/of/a/all/", "/of/%ff/all"}) {
    EXPECT_THAT(Answer(absl::StrCat("GET ", path)), StartsWith("HTTP/1.1 404 "))
        << path;
  }
}

TEST_F(HttpServerTest, NothingIsKeptByCachesUnlessTheAnswerSaysSo) {
  EXPECT_THAT(Answer("GET /hello"), HasSubstr("Cache-Control: no-store\r\n"));
  EXPECT_THAT(Answer("GET /of/a/all"),
              AllOf(HasSubstr("Cache-Control: no-cache\r\n"),
                    Not(HasSubstr("no-store"))));
}

TEST_F(HttpServerTest, AClientSeesThatPiecesAreMissing) {
  EXPECT_THAT(Answer("GET /pieces"), AllOf(HasSubstr("Content-Length: 10\r\n"),
                                           EndsWith("\r\n\r\n12345")));
}

TEST_F(HttpServerTest, OtherMethodsAreRefusedWithTheOnesThereAre) {
  for (const char* method : {"DELETE", "PUT", "OPTIONS", "BREW"}) {
    EXPECT_THAT(
        Answer(absl::StrCat(method, " /hello")),
        AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: GET, HEAD\r\n")))
        << method;
  }
}

TEST_F(HttpServerTest, ABodyIsRefusedBeforeItComes) {
  EXPECT_THAT(Answer("POST /hello", "Content-Length: 1000000000\r\n"),
              StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(Answer("GET /hello", "Content-Length: 1000000000\r\n"),
              StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(Answer("GET /hello", "Transfer-Encoding: chunked\r\n"),
              StartsWith("HTTP/1.1 413 "));
}

TEST_F(HttpServerTest, AHandlerThatThrowsIsAnsweredWithoutItsReason) {
  EXPECT_THAT(Answer("GET /throws"),
              AllOf(StartsWith("HTTP/1.1 500 "), Not(HasSubstr("secret"))));
  EXPECT_THAT(Answer("GET /hello"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, HeadersAreBounded) {
  EXPECT_THAT(
      Answer("GET /hello",
             absl::StrCat("X-Filler: ", std::string(20'000, 'x'), "\r\n")),
      StartsWith("HTTP/1.1 4"));
  HttpConnection connection(server_->port());
  connection.Send("GET /hello HTTP/1.1\r\n");
  // The server answers and closes long before it has all of this.
  const std::string header =
      absl::StrCat("X-Filler: ", std::string(1000, 'x'), "\r\n");
  bool refused = false;
  for (int i = 0; i < 100'000 && !refused; ++i) {
    refused = !connection.Send(header);
  }
  EXPECT_TRUE(refused);
  EXPECT_THAT(HttpGet(server_->port(), "/hello"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, WhatIsNotHttpIsRefused) {
  EXPECT_THAT(HttpAnswer(server_->port(), "\x16\x03\x01 hello\r\n\r\n"),
              Not(HasSubstr(" 200 ")));
  EXPECT_THAT(HttpGet(server_->port(), "/hello"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, ConnectionsBeyondTheLimitAreClosedUntilOneEnds) {
  std::vector<std::unique_ptr<HttpConnection>> held;
  for (unsigned int i = 0; i < HttpServer::kConnectionLimit; ++i) {
    held.push_back(std::make_unique<HttpConnection>(server_->port()));
    ASSERT_TRUE(
        held.back()->Send("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    ASSERT_THAT(held.back()->ReceiveUntil("/hello\n"),
                StartsWith("HTTP/1.1 200 "));
  }
  EXPECT_EQ(HttpGet(server_->port(), "/hello"), "");
  held.pop_back();
  // The server learns of the end a little later.
  std::string answer;
  while (answer.empty()) answer = HttpGet(server_->port(), "/hello");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 "));
}

TEST(HttpServerStartTest, RefusesWhatOthersCouldReach) {
  for (const char* address :
       {"0.0.0.0:0", "[::]:0", "9464", "example.org:80", "10.0.0.1:80",
        "127.example.org:80", "127.0.0.1", "127.0.0.1:x", ""}) {
    const auto server = HttpServer::Start("http_listen", address, {});
    EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument)
        << address;
    EXPECT_THAT(server.status().message(),
                AllOf(HasSubstr("http_listen"),
                      HasSubstr("is not HOST:PORT of this machine")))
        << address;
  }
}

TEST(HttpServerStartTest, RefusesAPortThatIsTaken) {
  const auto first = HttpServer::Start("http_listen", "127.0.0.1:0", {});
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = HttpServer::Start(
      "http_listen", absl::StrCat("127.0.0.1:", (*first)->port()), {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(second.status().message(), HasSubstr("in use"));
}

TEST(HttpServerStartTest, ServesNamesOfThisMachine) {
  for (const char* address : {"localhost:0", "127.1.2.3:0"}) {
    const auto server = HttpServer::Start("http_listen", address, {});
    ASSERT_TRUE(server.ok()) << address << server.status();
    EXPECT_GT((*server)->port(), 0);
  }
}

// Routes that take bodies and their time.
class HttpPostTest : public ::testing::Test {
 protected:
  static constexpr size_t kBodyLimit = 2 << 20;

  HttpPostTest() {
    auto server =
        HttpServer::Start("http_listen", "127.0.0.1:0",
                          {.gets = {{"/hello",
                                     [](const HttpRequest&) {
                                       return HttpResponse{.body = "hello\n"};
                                     }}},
                           .posts = {{"/post", Route()}}});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  HttpPost Route() {
    return {.body_limit_bytes = kBodyLimit,
            .refuse =
                [](const HttpRequest& request) -> std::optional<HttpResponse> {
              if (request.authorization == "Bearer me") return std::nullopt;
              return HttpResponse{.code = 401, .body = "who?\n"};
            },
            .handler = [this](const HttpRequest& r) { return handler_(r); },
            .error =
                [](int code, const std::string& why) {
                  return HttpResponse{.code = code, .body = "own: " + why};
                }};
  }

  static std::string Request(const std::string& headers,
                             const std::string& body = "") {
    return absl::StrCat("POST /post HTTP/1.1\r\nHost: localhost\r\n", headers,
                        "Authorization: Bearer me\r\n\r\n", body);
  }
  static std::string WithBody(const std::string& body) {
    return Request(absl::StrCat("Connection: close\r\nContent-Length: ",
                                body.size(), "\r\n"),
                   body);
  }
  std::string Answer(const std::string& request) {
    return HttpAnswer(server_->port(), request);
  }

  HttpHandler handler_ = [](const HttpRequest& request) {
    return HttpResponse{.body = absl::StrCat(request.body.size(), " bytes\n"),
                        .headers = {{"X-Own", "1"}}};
  };
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpPostTest, TakesABodyUpToTheLimit) {
  for (const size_t size : {size_t{0}, size_t{5}, kBodyLimit}) {
    EXPECT_THAT(Answer(WithBody(std::string(size, 'x'))),
                AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("X-Own: 1\r\n"),
                      EndsWith(absl::StrCat("\r\n\r\n", size, " bytes\n"))));
  }
}

TEST_F(HttpPostTest, ALongerBodyIsRefusedBeforeItComes) {
  EXPECT_THAT(
      Answer(Request(absl::StrCat("Content-Length: ", kBodyLimit + 1, "\r\n"))),
      AllOf(StartsWith("HTTP/1.1 413 "), HasSubstr("own: the body has")));
}

TEST_F(HttpPostTest, ABodyOfUnknownLengthIsRefused) {
  EXPECT_THAT(Answer(Request("Transfer-Encoding: chunked\r\n")),
              StartsWith("HTTP/1.1 411 "));
  EXPECT_THAT(Answer(Request("")), StartsWith("HTTP/1.1 411 "));
}

TEST_F(HttpPostTest, WhoIsRefusedMayStillSendASmallBody) {
  HttpConnection connection(server_->port());
  ASSERT_TRUE(connection.Send(
      "POST /post HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"));
  EXPECT_FALSE(connection.HasAnswer());
  ASSERT_TRUE(connection.Send("12345"));
  EXPECT_THAT(connection.ReceiveUntil("who?\n"), StartsWith("HTTP/1.1 401 "));
  // A large one is not waited for.
  EXPECT_THAT(Answer("POST /post HTTP/1.1\r\nHost: localhost\r\n"
                     "Content-Length: 2000000\r\n\r\n"),
              StartsWith("HTTP/1.1 401 "));
}

TEST_F(HttpPostTest, OtherMethodsAreRefused) {
  EXPECT_THAT(HttpGet(server_->port(), "/post"),
              AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: POST\r\n")));
}

TEST_F(HttpPostTest, SendsPiecesAsTheyCome) {
  absl::Notification seen;
  handler_ = [&seen](const HttpRequest&) {
    return HttpResponse{.next_piece = [&seen, count = 0]() mutable {
      if (count == 1) seen.WaitForNotification();
      return ++count <= 2 ? absl::StrCat("piece ", count, "\n") : "";
    }};
  };
  HttpConnection connection(server_->port());
  connection.Send(WithBody("x"));
  EXPECT_THAT(connection.ReceiveUntil("piece 1\n\r\n"),
              StartsWith("HTTP/1.1 200 "));
  seen.Notify();
  EXPECT_THAT(connection.ReceiveAll(), HasSubstr("piece 2\n"));
}

TEST_F(HttpPostTest, AHandlerHoldsUpNobodyElse) {
  absl::Notification go_on;
  handler_ = [&go_on](const HttpRequest&) {
    go_on.WaitForNotification();
    return HttpResponse{.body = "done\n"};
  };
  HttpConnection connection(server_->port());
  connection.Send(WithBody("x"));
  EXPECT_THAT(HttpGet(server_->port(), "/hello"), EndsWith("hello\n"));
  go_on.Notify();
  EXPECT_THAT(connection.ReceiveAll(), EndsWith("done\n"));
}

TEST_F(HttpPostTest, AHandlerLearnsThatItsClientWentAway) {
  absl::Notification begun;
  absl::Notification gone;
  handler_ = [&](const HttpRequest& request) {
    EXPECT_FALSE(request.is_gone());
    begun.Notify();
    while (!request.is_gone()) std::this_thread::yield();
    gone.Notify();
    return HttpResponse{};
  };
  auto connection = std::make_unique<HttpConnection>(server_->port());
  connection->Send(WithBody("x"));
  begun.WaitForNotification();
  connection.reset();
  gone.WaitForNotification();
}

TEST_F(HttpPostTest, AStreamIsDestroyedWhenItsClientWentAway) {
  absl::Notification destroyed;
  const auto notify = [&destroyed](int*) { destroyed.Notify(); };
  handler_ = [&notify](const HttpRequest&) {
    return HttpResponse{
        .next_piece = [alive = std::shared_ptr<int>(nullptr, notify)] {
          return std::string(1000, 'x');
        }};
  };
  auto connection = std::make_unique<HttpConnection>(server_->port());
  connection->Send(WithBody("x"));
  EXPECT_THAT(connection->ReceiveUntil("xxx"), StartsWith("HTTP/1.1 200 "));
  connection.reset();
  destroyed.WaitForNotification();
}

TEST_F(HttpPostTest, TheEndOfTheServerWaitsForAnswersOnTheirWay) {
  absl::Notification begun;
  handler_ = [&](const HttpRequest&) {
    begun.Notify();
    return HttpResponse{.body = std::string(8 << 20, 'x') + "end\n"};
  };
  HttpConnection connection(server_->port());
  connection.Send(WithBody("x"));
  begun.WaitForNotification();
  std::thread end([this] { server_.reset(); });
  EXPECT_THAT(connection.ReceiveAll(), EndsWith("xend\n"));
  end.join();
}

TEST_F(HttpPostTest, PostsBeyondTheLimitAreRefused) {
  absl::Notification go_on;
  absl::BlockingCounter begun(HttpServer::kPostLimit);
  handler_ = [&](const HttpRequest&) {
    begun.DecrementCount();
    go_on.WaitForNotification();
    return HttpResponse{.body = "done\n"};
  };
  std::vector<std::unique_ptr<HttpConnection>> held;
  for (int i = 0; i < HttpServer::kPostLimit; ++i) {
    held.push_back(std::make_unique<HttpConnection>(server_->port()));
    held.back()->Send(WithBody("x"));
  }
  begun.Wait();
  EXPECT_THAT(Answer(WithBody("x")),
              AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("own: ")));
  EXPECT_THAT(HttpGet(server_->port(), "/hello"), EndsWith("hello\n"));
  go_on.Notify();
  for (const auto& each : held) {
    EXPECT_THAT(each->ReceiveAll(), EndsWith("done\n"));
  }
}

}  // namespace
}  // namespace dissonance
