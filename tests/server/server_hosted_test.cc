// A server whose jobs ask another of ours, over the HTTP API that it shows to
// the tools of others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "src/base/file.h"
#include "tests/server/openai_fixture.h"

namespace dissonance {
namespace {

using nlohmann::json;
using ::testing::SizeIs;

constexpr size_t kQuestionCount = 12;

class ServerHostedTest : public OpenAiFixture {
 protected:
  static std::vector<std::string> Lines(const std::string& text) {
    return absl::StrSplit(text, '\n', absl::SkipEmpty());
  }
};

TEST_F(ServerHostedTest, AsksBaseAndAdapterOfAnotherServer) {
  const TempFolder folder;
  ServerProcess asking({.data_dir = folder.path(),
                        .config = absl::StrCat(
                            "[llm.lab]\nbase_url = \"http://127.0.0.1:", port_,
                            "/v1\"\napi_key_env = \"LAB_TOKEN\"\n"),
                        .environment = {{"LAB_TOKEN", server_->OwnerToken()}}});
  ASSERT_TRUE(asking.AwaitServing());
  std::vector<std::string> questions =
      Lines(*ReadFile(InTree("data/tiny_world/mcqs.jsonl"), 1 << 20));
  questions.resize(kQuestionCount);
  v1::JobSpec spec;
  v1::EvaluateMcqSpec& mcq = *spec.mutable_evaluate_mcq();
  for (const std::string& question : questions) {
    mcq.set_data(absl::StrCat(mcq.data(), question, "\n"));
  }
  for (const char* name : {"tiny", "tiny:cubic"}) {
    v1::HostedModel& model = *mcq.add_hosted_models();
    model.set_endpoint("lab");
    model.set_model(name);
    model.set_max_tokens(8);
  }
  mcq.set_retries(0);
  const auto created = CreateJob(asking, spec, "");
  ASSERT_TRUE(created.ok()) << created.status();
  const auto job = AwaitJob(asking, created->name());
  ASSERT_TRUE(job.ok()) << job.status();
  ASSERT_EQ(job->state(), v1::JOB_STATE_SUCCEEDED) << job->reason();
  const auto files = JobFiles(asking, *job);
  ASSERT_TRUE(files.ok()) << files.status();
  const json report = json::parse(files->at("hosted_report.json"));
  ASSERT_THAT(report["models"], SizeIs(2));
  for (int i = 0; i < 2; ++i) {
    EXPECT_GT(report["models"][i]["answered_count"].get<size_t>(), 0U);
    const std::vector<std::string> lines =
        Lines(files->at(absl::StrCat("hosted_predictions_", i, ".jsonl")));
    ASSERT_THAT(lines, SizeIs(kQuestionCount));
    // What the model says, greedily, when it is asked directly.
    const json first = json::parse(lines[0]);
    const json question = json::parse(questions[0]);
    std::string user = question["question"].get<std::string>() + "\n";
    for (const char* letter : {"A", "B", "C", "D"}) {
      absl::StrAppend(&user, "\n", letter, ") ",
                      question["options"][letter].get<std::string>());
    }
    user += "\n\nAnswer with exactly one letter (A, B, C, or D).\nAnswer:";
    const json direct =
        ChatCompletion({{"model", i == 0 ? "tiny" : "tiny:cubic"},
                        {"temperature", 0},
                        {"max_tokens", 8},
                        {"messages",
                         {{{"role", "system"},
                           {"content",
                            "You are a careful assistant. Follow the user's "
                            "instructions exactly."}},
                          {{"role", "user"}, {"content", user}}}}});
    EXPECT_EQ(first["raw_texts"][0],
              direct["choices"][0]["message"]["content"]);
  }
}

}  // namespace
}  // namespace dissonance
