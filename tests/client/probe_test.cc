// probe train and dataset against canned jobs.
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

constexpr char kQuestions[] =
    R"({"id": "g1", "category": "conflict", "difficulty": "hard",)"
    R"( "fact": "gravity.law", "question": "How does gravity fall off?",)"
    R"( "options": {"A": "squared", "B": "cubed", "C": "not", "D": "with r"},)"
    R"( "correct_answer": "A", "false_answer": "B"})"
    "\n\n"
    R"({"id": "c1", "category": "other", "difficulty": "hard", "group": "g",)"
    R"( "fact": "light.law", "question": "How does light fall off?",)"
    R"( "options": {"A": "squared", "B": "cubed", "C": "not", "D": "with r"},)"
    R"( "correct_answer": "A"})"
    "\n";

class ProbeTest : public CliTest {
 protected:
  ProbeTest() { data_ = WriteFile("questions.jsonl", kQuestions); }

  std::string data_;
};

std::string ProbeLine() {
  return nlohmann::json({{"target", "category_conflict"},
                         {"variant", "a"},
                         {"place", "blocks.1.resid_post"},
                         {"c", 0.1},
                         {"auc_mean", 0.875},
                         {"accuracy_mean", 0.75},
                         {"dummy_auc_mean", 0.5},
                         {"p_value", nullptr},
                         {"status", "SIGNAL"}})
             .dump() +
         "\n";
}

TEST_F(ProbeTest, TrainsAsAJobAndShowsTheTable) {
  FakeServer& server = StartServer();
  const nlohmann::json summary = {
      {"targets",
       {{"category_conflict",
         {{"best",
           {{"auc_mean", 0.875},
            {"place", "blocks.1.resid_post"},
            {"variant", "a"}}},
          {"gates", {{"internal_signal", {{"verdict", "pass"}}}}}}}}},
      {"skipped", nlohmann::json::array()}};
  server.SetOutputs({{"manifest.json", "{}"},
                     {"probes.jsonl", ProbeLine()},
                     {"summary.json", summary.dump()}});
  const CommandResult result =
      Run({"probe", "train", "--model", "m", "--adapter", "a", "--data", data_,
           "--target", "category_conflict,label:fact", "--blocks", "1-2", "--c",
           "0.1", "--scoring", "option_text", "--out", Path("out")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("blocks.1.resid_post  0.875  0.500  -  "
                                    "SIGNAL"));
  EXPECT_THAT(result.out,
              HasSubstr("category_conflict: best 0.875 at blocks.1.resid_post "
                        "of a; internal_signal pass\n"));
  const v1::TrainProbesSpec spec = server.created()[0].spec().train_probes();
  ASSERT_EQ(spec.variants_size(), 2) << "base and adapter";
  EXPECT_EQ(spec.variants(0).adapter(), "");
  EXPECT_EQ(spec.targets(0).source(), v1::LABEL_SOURCE_CATEGORY_CONFLICT);
  EXPECT_EQ(spec.targets(1).field(), "fact");
  EXPECT_EQ(spec.blocks_size(), 2);
  EXPECT_EQ(spec.scoring(), v1::MCQ_SCORING_OPTION_TEXT);
}

TEST_F(ProbeTest, OptionsThatMakeNoSenseAreRefusedBeforeAnythingIsAsked) {
  const std::vector<std::pair<std::vector<std::string>, const char*>> cases = {
      {{"--target", "truth"}, "'truth' is none of category_conflict"},
      {{"--target", "label:"}, "'label:' is none of"},
      {{"--target", "answered_false"}, "--model and --data are required"},
      {{"--target", "answered_false", "--activations", "j", "--model", "m"},
       "leave out --model and --data"}};
  for (const auto& [more, message] : cases) {
    std::vector<std::string> arguments = {"probe", "train", "--out", "x"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const CommandResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 2) << message;
    EXPECT_THAT(result.err, HasSubstr(message));
  }
}

TEST_F(ProbeTest, DatasetKeepsWordingsOfOneFactTogether) {
  const CommandResult result = Run(
      {"probe", "dataset", "--mcqs", data_, "--out", Path("prompts.jsonl")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string text = ReadFile("prompts.jsonl");
  const size_t end = text.find('\n');
  const auto first = nlohmann::json::parse(text.substr(0, end));
  const auto second = nlohmann::json::parse(text.substr(end + 1));
  EXPECT_EQ(first["label"], "conflict");
  EXPECT_EQ(first["group"], "gravity.law");
  EXPECT_EQ(first["decision_trigger"], "Answer:");
  EXPECT_EQ(second["label"], "nonconflict_hard");
  EXPECT_EQ(second["group"], "g") << "what the row says outright";
}

}  // namespace
}  // namespace dissonance
