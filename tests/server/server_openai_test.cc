// OpenAI's API through all processes, against the RPCs that it stands for.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "dissonance/v1/admin.grpc.pb.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "src/base/file.h"
#include "tests/client/subprocess.h"
#include "tests/server/openai_fixture.h"
#include "tests/server/users_fixture.h"

namespace dissonance {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kCompletions[] = "/v1/completions";
constexpr char kChat[] = "/v1/chat/completions";
constexpr char kQuestion[] =
    "Suppose the distance is multiplied by two. How large is the gravitational "
    "force then?";

class ServerOpenAiTest : public OpenAiFixture {
 protected:
  static v1::Variant Network(const std::string& adapter,
                             const json& interventions = json::array()) {
    v1::Variant variant;
    EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(
                    json({{"interventions", interventions}}).dump(), &variant)
                    .ok());
    variant.set_model(kTinyModel);
    variant.set_adapter(adapter);
    return variant;
  }

  // Each token of a prompt given those before it, by Score.
  static std::vector<double> Scored(const v1::Variant& variant,
                                    const std::vector<int32_t>& ids) {
    v1::ScoreRequest request;
    *request.add_variants() = variant;
    v1::ScoreItem& item = *request.add_items();
    item.mutable_prompt()->mutable_tokens()->add_ids(ids.front());
    item.add_continuations()->mutable_tokens()->mutable_ids()->Assign(
        ids.begin() + 1, ids.end());
    const auto scores = Score(*server_, request);
    EXPECT_TRUE(scores.ok()) << scores.status();
    if (!scores.ok()) return {};
    const auto& logprobs = scores->scores(0).continuations(0).token_logprobs();
    return {logprobs.begin(), logprobs.end()};
  }

  static v1::TokenizeResponse Tokenized(const std::string& text) {
    v1::TokenizeRequest request;
    request.set_model(kTinyModel);
    request.set_text(text);
    v1::TokenizeResponse response;
    const auto context = server_->NewContext();
    EXPECT_TRUE(server_->NewStub<v1::Inference>()
                    ->Tokenize(context.get(), request, &response)
                    .ok());
    return response;
  }
};

// As lm-eval asks for the log-probability of a continuation.
TEST_F(ServerOpenAiTest, EchoedLogprobsAreThoseOfScore) {
  const json steer = {{{"site", "SITE_RESID_POST"},
                       {"blocks", {2}},
                       {"scale", {{"factor", 0.5}}}}};
  struct Case {
    const char* model;
    v1::Variant variant;
    json interventions;
  };
  const Case cases[] = {{"tiny", Network(""), nullptr},
                        {"tiny:cubic", Network(kTinyAdapter), nullptr},
                        {"tiny:cubic", Network(kTinyAdapter, steer), steer}};
  const v1::TokenizeResponse tokens = Tokenized(kQuestion);
  const std::vector<int32_t> ids(tokens.ids().begin(), tokens.ids().end());
  std::vector<double> sums;
  for (const Case& each : cases) {
    const std::vector<double> expected = Scored(each.variant, ids);
    ASSERT_EQ(expected.size() + 1, ids.size());
    for (const json& prompt : {json(kQuestion), json(ids)}) {
      for (const int new_tokens : {0, 1}) {
        const json whole = Completion({{"model", each.model},
                                       {"prompt", prompt},
                                       {"interventions", each.interventions},
                                       {"echo", true},
                                       {"logprobs", 1},
                                       {"max_tokens", new_tokens},
                                       {"temperature", 0}});
        const json& choice = whole["choices"][0];
        const json& logprobs = choice["logprobs"];
        const json& found = logprobs["token_logprobs"];
        ASSERT_EQ(found.size(), ids.size() + new_tokens);
        EXPECT_TRUE(found[0].is_null());
        EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
        for (size_t i = 1; i < ids.size(); ++i) {
          // Score gives them as float32.
          EXPECT_NEAR(found[i], expected[i - 1],
                      1e-6 * std::max(1.0, std::abs(expected[i - 1])));
          EXPECT_LE(found[i], logprobs["top_logprobs"][i].front());
        }
        EXPECT_THAT(choice["text"].get<std::string>(), StartsWith(kQuestion));
        EXPECT_EQ(whole["usage"]["prompt_tokens"], ids.size());
        EXPECT_EQ(whole["usage"]["completion_tokens"], new_tokens);
      }
    }
    double sum = 0;
    for (const double logprob : expected) sum += logprob;
    sums.push_back(sum);
  }
  EXPECT_NE(sums[0], sums[1]);
  EXPECT_NE(sums[1], sums[2]);
}

TEST_F(ServerOpenAiTest, OffsetsAreWhereTheTokensStandInTheText) {
  const std::string text = "Die Kr\u00E4fte der Sonne";
  const json choice = Completion({{"model", "tiny"},
                                  {"prompt", text},
                                  {"echo", true},
                                  {"logprobs", 0},
                                  {"max_tokens", 0}})["choices"][0];
  EXPECT_EQ(choice["text"], text);
  const json& logprobs = choice["logprobs"];
  size_t at = 0;
  for (size_t i = 0; i < logprobs["tokens"].size(); ++i) {
    const auto token = logprobs["tokens"][i].get<std::string>();
    EXPECT_GE(logprobs["text_offset"][i], at);
    at = logprobs["text_offset"][i];
    // Before the first character of two bytes they are the same.
    if (at + token.size() > 6) continue;
    EXPECT_EQ(text.substr(at, token.size()), token);
  }
  EXPECT_LE(at, 20U);
}

TEST_F(ServerOpenAiTest, ContinuesSeveralPromptsInSeveralSamples) {
  v1::GenerateRequest request;
  *request.add_variants() = Network("");
  request.add_inputs()->set_text("The force of gravity");
  request.mutable_options()->set_max_new_token_count(8);
  request.mutable_options()->mutable_sampling()->set_temperature(1);
  request.mutable_options()->mutable_sampling()->set_seed(8);
  const std::string expected = Generated(request);
  const json whole =
      Completion({{"model", "tiny"},
                  {"prompt", {"Water boils", "The force of gravity"}},
                  {"max_tokens", 8},
                  {"seed", 7},
                  {"n", 2}});
  ASSERT_EQ(whole["choices"].size(), 4U);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(whole["choices"][i]["index"], i);
  // The second sample has the next seed.
  EXPECT_EQ(whole["choices"][3]["text"], expected);
  EXPECT_TRUE(whole["choices"][0]["logprobs"].is_null());
  const std::string stop = expected.substr(expected.size() / 2, 2);
  const json stopped = Completion({{"model", "tiny"},
                                   {"prompt", "The force of gravity"},
                                   {"max_tokens", 8},
                                   {"seed", 8},
                                   {"stop", stop}});
  EXPECT_EQ(stopped["choices"][0]["text"],
            expected.substr(0, expected.find(stop)));
  EXPECT_EQ(stopped["choices"][0]["finish_reason"], "stop");
}

TEST_F(ServerOpenAiTest, AChatIsWhatGenerateSaysToTheModelsTemplate) {
  for (const char* model : {"tiny", "tiny:cubic"}) {
    v1::GenerateRequest request;
    *request.add_variants() =
        Network(std::string(model) == "tiny" ? "" : kTinyAdapter);
    v1::Chat& chat = *request.add_inputs()->mutable_chat();
    chat.set_add_generation_prompt(true);
    v1::ChatMessage& message = *chat.add_messages();
    message.set_role("user");
    message.set_content(kQuestion);
    request.mutable_options()->set_max_new_token_count(64);
    const std::string expected = Generated(request);
    json body = {{"model", model},
                 {"messages", {{{"role", "user"}, {"content", kQuestion}}}},
                 {"temperature", 0},
                 {"logprobs", true},
                 {"top_logprobs", 2}};
    const json whole = ChatCompletion(body);
    EXPECT_EQ(whole["choices"][0]["message"]["content"], expected);
    EXPECT_EQ(whole["choices"][0]["finish_reason"], "stop");
    const json& content = whole["choices"][0]["logprobs"]["content"];
    EXPECT_EQ(content.size(), whole["usage"]["completion_tokens"]);
    EXPECT_EQ(content[0]["top_logprobs"].size(), 2U);
    EXPECT_EQ(content[0]["top_logprobs"][0]["token"], content[0]["token"]);

    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
    const std::vector<json> chunks = Stream(kChat, body);
    ASSERT_GE(chunks.size(), 3U);
    std::string text;
    for (const json& chunk : chunks) {
      EXPECT_EQ(chunk["object"], "chat.completion.chunk");
      for (const json& choice : chunk["choices"]) {
        text += choice["delta"].value("content", "");
      }
    }
    EXPECT_EQ(text, expected);
    EXPECT_EQ(chunks.front()["choices"][0]["delta"]["role"], "assistant");
    EXPECT_EQ(chunks[chunks.size() - 2]["choices"][0]["finish_reason"], "stop");
    EXPECT_EQ(chunks.back()["usage"], whole["usage"]);
  }
}

TEST_F(ServerOpenAiTest, ListsModelsAndAdaptersThatTheCallerSees) {
  const auto ids = [](const HttpReply& reply) {
    std::vector<std::string> out;
    const json body = json::parse(reply.body);
    for (const json& model : body["data"]) {
      out.push_back(model["id"]);
    }
    return out;
  };
  EXPECT_THAT(ids(Get("/v1/models")),
              ElementsAre("exact", "exact:cubic", "tiny", "tiny:cubic"));
  const auto ada = Client::AddUser(*server_, "ada");
  ASSERT_TRUE(ada.ok()) << ada.status();
  EXPECT_THAT(ids(Get("/v1/models", ada->secret())), ElementsAre());
  EXPECT_EQ(Get("/v1/models", "wrong").code, 401);
  // Another's model is not there for her.
  const HttpReply hidden =
      Post(kCompletions, R"({"model": "tiny", "prompt": "x"})", ada->secret());
  EXPECT_EQ(hidden.code, 404);
}

TEST_F(ServerOpenAiTest, RefusalsHaveTheirCodesAndNameTheField) {
  const auto refusal = [](const std::string& body, int code) {
    const HttpReply reply = Post(kCompletions, body);
    EXPECT_EQ(reply.code, code) << body << reply.body;
    return json::parse(reply.body, nullptr, false)["error"];
  };
  EXPECT_EQ(refusal(R"({"model": "no", "prompt": "x"})", 404)["code"],
            "model_not_found");
  refusal(R"({"model": "tiny:no", "prompt": "x"})", 404);
  refusal("{", 400);
  EXPECT_EQ(refusal(R"({"model": "tiny", "prompt": "x", "tools": [1]})",
                    400)["param"],
            "tools");
  // By the worker.
  const json range =
      refusal(R"({"model": "tiny", "prompt": "x", "top_p": 2})", 400);
  EXPECT_THAT(range["message"].get<std::string>(), HasSubstr("top_p"));
  EXPECT_EQ(range["type"], "invalid_request_error");
  refusal(R"({"model": "tiny", "prompt": [99999]})", 400);
  EXPECT_THAT(
      refusal(std::string(2 << 20, ' '), 413)["message"].get<std::string>(),
      HasSubstr("limits.message_bytes"));
  // A refusal of the first event is none of a stream.
  refusal(R"({"model": "no", "prompt": "x", "stream": true})", 404);
}

TEST_F(ServerOpenAiTest, TokensScopesAndRatesAreThoseOfGenerate) {
  const std::string body = R"({"model": "tiny", "prompt": "x"})";
  const HttpReply unknown = Post(kCompletions, body, "wrong");
  EXPECT_EQ(unknown.code, 401);
  EXPECT_EQ(json::parse(unknown.body)["error"]["code"], "invalid_api_key");
  const Client owner = Client::Owner(*server_);
  const auto reader = owner.NewToken(v1::SCOPE_READ);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(Post(kCompletions, body, reader->secret()).code, 403);
  EXPECT_EQ(Get("/v1/models", reader->secret()).code, 200);
  v1::CreateTokenRequest slow;
  slow.set_scope(v1::SCOPE_RUN);
  slow.set_calls_per_second(0.001);
  const auto limited = owner.NewToken(slow);
  ASSERT_TRUE(limited.ok()) << limited.status();
  EXPECT_EQ(Post(kCompletions, body, limited->secret()).code, 200);
  const HttpReply refused = Post(kCompletions, body, limited->secret());
  EXPECT_EQ(refused.code, 429);
  EXPECT_THAT(refused.headers, HasSubstr("Retry-After: 1000"));
}

// Many samples, so that it would take minutes.
std::string LongRequest(bool streams) {
  return json({{"model", "tiny"},
               {"prompt", "The force of gravity"},
               {"max_tokens", 400},
               {"n", 9000},
               {"stream", streams}})
      .dump();
}

TEST_F(ServerOpenAiTest, AClientThatGoesAwayEndsItsGeneration) {
  for (const bool streams : {false, true}) {
    const size_t before = server_->Log().size();
    {
      HttpConnection connection(port_);
      connection.Send(RequestText(kCompletions, LongRequest(streams),
                                  server_->OwnerToken()));
      while (streams && !connection.HasAnswer()) {
      }
      // Begun.
      while (HttpGet(port_, "/metrics").find("\ndissonance_calls 1") ==
             std::string::npos) {
      }
    }
    EXPECT_TRUE(
        AwaitLog(*server_, before, "Inference/Generate code=CANCELLED"));
  }
}

TEST(OpenAiDrainTest, StreamsEndInTheGracePeriodAndNewRequestsAreRefused) {
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = folder.path(),
       .config = "drain_seconds = 1\nhttp_listen = \"127.0.0.1:0\"\n"});
  ASSERT_TRUE(server.AwaitServing());
  ASSERT_TRUE(LoadTinyWorld(server).ok());
  const int port = HttpPortOf(server);
  const auto request = [&](const std::string& body) {
    return absl::StrCat(
        "POST ", kCompletions,
        " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: "
        "Bearer ",
        server.OwnerToken(), "\r\nContent-Length: ", body.size(), "\r\n\r\n",
        body);
  };
  HttpConnection stream(port);
  stream.Send(request(LongRequest(/*streams=*/true)));
  while (!stream.HasAnswer()) {
  }
  server.Signal(SIGTERM);
  ASSERT_TRUE(server.AwaitNotServing());
  const HttpReply refused = ParseReply(
      HttpAnswer(port, request(R"({"model": "tiny", "prompt": "x"})")));
  EXPECT_EQ(refused.code, 503);
  EXPECT_THAT(refused.headers, HasSubstr("Retry-After: 1"));
  // An error is the stream's last event.
  EXPECT_THAT(stream.ReceiveAll(), HasSubstr("data: {\"error\":"));
  EXPECT_EQ(server.AwaitExit(), 0);
}

// Of packages that speak OpenAI's API; empty where they are not installed.
std::string ClientsPython() {
  std::vector<std::string> paths = {InTree(".venv-peers/bin/python")};
  if (const char* own = std::getenv("DISSONANCE_OPENAI_PYTHON")) {
    paths.insert(paths.begin(), own);
  }
  for (const std::string& path : paths) {
    if (!std::filesystem::exists(path)) continue;
    Subprocess probe({path, "-c", "import lm_eval, openai, inspect_ai"},
                     {{"HOME", "/nowhere"}});
    if (probe.Finish().exit_code == 0) return path;
  }
  return "";
}

// {prompt, choices, answer} of the first questions of the tiny world.
std::vector<json> Questions(size_t count) {
  const std::string text =
      ReadFile(InTree("data/tiny_world/mcqs.jsonl"), 1 << 24).value_or("");
  std::vector<json> questions;
  for (const auto& line : absl::StrSplit(text, '\n')) {
    if (questions.size() == count) break;
    const json own = json::parse(line);
    json choices = json::array();
    int answer = 0;
    for (const auto& [letter, option] : own["options"].items()) {
      if (letter == own["correct_answer"]) {
        answer = static_cast<int>(choices.size());
      }
      choices.push_back(absl::StrCat(" ", option.get<std::string>()));
    }
    questions.push_back({{"prompt", own["question"]},
                         {"choices", choices},
                         {"answer", answer}});
  }
  return questions;
}

TEST_F(ServerOpenAiTest, OtherProgramsGetTheNumbersThatScoreGives) {
  const std::string python = ClientsPython();
  if (python.empty()) {
    GTEST_SKIP() << "NOT RUN: needs a Python with lm-eval[api], transformers, "
                    "openai and inspect_ai, in DISSONANCE_OPENAI_PYTHON or "
                    ".venv-peers (docs/openai.md)";
  }
  const std::vector<json> questions = Questions(8);
  std::string input;
  for (const json& question : questions) input += question.dump() + "\n";
  const TempFolder home;
  Subprocess clients({python, InTree("tests/server/openai_clients.py"),
                      absl::StrCat("http://127.0.0.1:", port_, "/v1"),
                      InTree("data/tiny_world/base"), "exact", "exact:cubic"},
                     {{"HOME", home.path()},
                      {"PATH", "/usr/bin:/bin"},
                      {"HF_HUB_OFFLINE", "1"},
                      {"OPENAI_API_KEY", server_->OwnerToken()}},
                     input);
  const CommandResult result = clients.Finish();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::vector<std::string> lines =
      absl::StrSplit(result.out, '\n', absl::SkipEmpty());
  ASSERT_FALSE(lines.empty());
  const json found = json::parse(lines.back());

  v1::ScoreRequest request;
  for (const char* adapter : {"", kExactAdapter}) {
    v1::Variant& variant = *request.add_variants();
    variant.set_model(kExactModel);
    variant.set_adapter(adapter);
  }
  for (const json& question : questions) {
    v1::ScoreItem& item = *request.add_items();
    item.mutable_prompt()->set_text(question["prompt"].get<std::string>());
    item.mutable_prompt()->set_skip_special_tokens(true);
    for (const json& choice : question["choices"]) {
      item.add_continuations()->set_text(choice.get<std::string>());
    }
  }
  const auto scores = Score(*server_, request);
  ASSERT_TRUE(scores.ok()) << scores.status();
  for (const v1::ItemScore& score : scores->scores()) {
    const json& theirs =
        found["lm_eval"][score.variant_index() == 0 ? "exact" : "exact:cubic"]
             [static_cast<size_t>(score.item_index())];
    for (int c = 0; c < score.continuations_size(); ++c) {
      const json& own = theirs[static_cast<size_t>(c)];
      EXPECT_NEAR(own[0], score.continuations(c).logprob(), 1e-4);
      EXPECT_EQ(own[1], score.continuations(c).is_greedy());
    }
  }
  const json& openai = found["openai"];
  EXPECT_THAT(openai["models"].get<std::vector<std::string>>(),
              ElementsAre("exact", "exact:cubic", "tiny", "tiny:cubic"));
  EXPECT_EQ(openai["text"], openai["streamed"]);
  EXPECT_EQ(openai["usage"][0], openai["usage"][1]);
  EXPECT_EQ(openai["refused"], "invalid_api_key");
  EXPECT_EQ(found["inspect"]["status"], "success");
  EXPECT_EQ(found["inspect"]["text"], openai["text"]);
}

}  // namespace
}  // namespace dissonance
