#include "tests/server/openai_fixture.h"

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"

namespace dissonance {
namespace {

std::string Dechunked(absl::string_view chunks) {
  std::string body;
  while (!chunks.empty()) {
    const size_t line = chunks.find("\r\n");
    uint32_t size = 0;
    if (line == absl::string_view::npos ||
        !absl::SimpleHexAtoi(chunks.substr(0, line), &size) || size == 0) {
      break;
    }
    absl::StrAppend(&body, chunks.substr(line + 2, size));
    chunks.remove_prefix(std::min(chunks.size(), line + 2 + size + 2));
  }
  return body;
}

}  // namespace

HttpReply ParseReply(const std::string& answer) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(answer, absl::MaxSplits("\r\n\r\n", 1));
  HttpReply reply = {.headers = parts.first, .body = parts.second};
  if (answer.size() > 12) reply.code = std::atoi(answer.c_str() + 9);
  if (absl::StrContains(reply.headers, "Transfer-Encoding: chunked")) {
    reply.body = Dechunked(reply.body);
  }
  return reply;
}

void OpenAiFixture::SetUpTestSuite() {
  folder_ = new TempFolder;
  server_ =
      new ServerProcess({.data_dir = folder_->path(),
                         .config = "http_listen = \"127.0.0.1:0\"\n"
                                   "[limits]\nmessage_bytes = 1048576\n"});
  ASSERT_TRUE(server_->AwaitServing());
  ASSERT_TRUE(LoadTinyWorld(*server_).ok());
  v1::LoadModelRequest exact;
  exact.set_name(kExactModel);
  exact.set_path(InTree("data/tiny_world/base"));
  exact.set_dtype(v1::DTYPE_FLOAT32);
  v1::LoadModelResponse loaded;
  const auto context = server_->NewContext();
  ASSERT_TRUE(server_->NewStub<v1::Models>()
                  ->LoadModel(context.get(), exact, &loaded)
                  .ok());
  ASSERT_TRUE(RegisterAdapter(*server_, kExactAdapter,
                              InTree("data/tiny_world/lora_cubic"))
                  .ok());
  port_ = HttpPortOf(*server_);
}

void OpenAiFixture::TearDownTestSuite() {
  EXPECT_EQ(server_->Stop(), 0);
  delete server_;
  delete folder_;
}

std::string OpenAiFixture::RequestText(absl::string_view path,
                                       const std::string& body,
                                       const std::string& token) {
  return absl::StrCat("POST ", path,
                      " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                      "Content-Type: application/json\r\n"
                      "Authorization: Bearer ",
                      token, "\r\nContent-Length: ", body.size(), "\r\n\r\n",
                      body);
}

HttpReply OpenAiFixture::Post(absl::string_view path, const std::string& body,
                              const std::string& token) {
  return ParseReply(HttpAnswer(port_, RequestText(path, body, token)));
}

HttpReply OpenAiFixture::Get(absl::string_view path, const std::string& token) {
  return ParseReply(HttpAnswer(
      port_, absl::StrCat("GET ", path,
                          " HTTP/1.1\r\nHost: localhost\r\nConnection: close"
                          "\r\nAuthorization: Bearer ",
                          token, "\r\n\r\n")));
}

OpenAiFixture::json OpenAiFixture::Completion(const json& request) {
  const HttpReply reply = Post("/v1/completions", request.dump());
  EXPECT_EQ(reply.code, 200) << reply.body;
  return json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
}

OpenAiFixture::json OpenAiFixture::ChatCompletion(const json& request) {
  const HttpReply reply = Post("/v1/chat/completions", request.dump());
  EXPECT_EQ(reply.code, 200) << reply.body;
  return json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
}

std::vector<OpenAiFixture::json> OpenAiFixture::Stream(absl::string_view path,
                                                       const json& request) {
  const HttpReply reply = Post(path, request.dump());
  EXPECT_EQ(reply.code, 200) << reply.body;
  EXPECT_TRUE(absl::StrContains(reply.headers, "text/event-stream"));
  EXPECT_TRUE(absl::EndsWith(reply.body, "data: [DONE]\n\n"));
  std::vector<json> events;
  for (absl::string_view event : absl::StrSplit(reply.body, "\n\n")) {
    if (!absl::ConsumePrefix(&event, "data: ") || event == "[DONE]") continue;
    events.push_back(json::parse(event, nullptr, false));
  }
  return events;
}

std::string OpenAiFixture::Generated(const v1::GenerateRequest& request) {
  const auto context = server_->NewContext();
  const auto stub = server_->NewStub<v1::Inference>();
  const auto reader = stub->Generate(context.get(), request);
  std::string text;
  for (v1::GenerateResponse event; reader->Read(&event);) {
    absl::StrAppend(&text, event.delta().text(), event.end().text());
  }
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  return text;
}

bool OpenAiFixture::AwaitLog(ServerProcess& server, size_t begin,
                             const std::string& text) {
  const absl::Time end = absl::Now() + ServerProcess::kPatience;
  while (absl::Now() < end) {
    if (server.Log().find(text, begin) != std::string::npos) return true;
    server.Info();
  }
  return false;
}

}  // namespace dissonance
