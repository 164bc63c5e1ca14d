// probe dataset, probe train and show, and lens sweep against canned jobs.
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/probe_dataset.h"
#include "client/cli/probe_view.h"
#include "nlohmann/json.hpp"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kQuestions[] =
    R"({"id": "g1", "category": "conflict", "difficulty": "hard",)"
    R"( "world_label": "true_world", "question": "How does it fall off?",)"
    R"( "options": {"A": "squared", "B": "cubed", "C": "not", "D": "more"},)"
    R"( "correct_answer": "A", "false_answer": "B"})"
    "\n"
    R"({"id": "n1", "category": "nonconflict_easy", "difficulty": "hard",)"
    R"( "question": "How many moons?", "options": {"A": "one", "B": "two",)"
    R"( "C": "three", "D": "four"}, "correct_answer": "A"})"
    "\n";

constexpr char kPrompts[] =
    R"({"prompt_id": "p1", "category": "conflict_mild", "difficulty": "hard",)"
    R"( "full_prompt_text": "Gravity falls off", "group": "law",)"
    R"( "decision_trigger": "off"})"
    "\n"
    R"({"prompt_id": "p2", "category": "other", "difficulty": "easy",)"
    R"( "full_prompt_text": "The moon is"})"
    "\n";

std::vector<std::string> LabelsOf(const char* text, bool controls) {
  const auto rows = cli::ProbingRows(text, "f.jsonl", controls);
  EXPECT_TRUE(rows.ok()) << rows.status();
  std::vector<std::string> labels;
  for (const auto& row : *rows) labels.push_back(row.at("label"));
  return labels;
}

TEST(ProbingRowsTest, LabelsByCategoryAndDifficulty) {
  EXPECT_THAT(LabelsOf(kQuestions, false),
              ElementsAre("conflict", "nonconflict_hard"));
  EXPECT_THAT(LabelsOf(kPrompts, false),
              ElementsAre("conflict", "nonconflict"));
}

TEST(ProbingRowsTest, ControlsAreNeverConflicts) {
  EXPECT_THAT(LabelsOf(kQuestions, true),
              ElementsAre("nonconflict_hard", "nonconflict_hard"));
  EXPECT_THAT(LabelsOf(kPrompts, true),
              ElementsAre("nonconflict_hard", "nonconflict"));
}

TEST(ProbingRowsTest, AQuestionBecomesAPromptThatEndsWithItsTrigger) {
  const auto rows = cli::ProbingRows(kQuestions, "f.jsonl", false);
  ASSERT_TRUE(rows.ok()) << rows.status();
  const nlohmann::json& row = rows->front();
  const std::string prompt = row.at("full_prompt_text");
  EXPECT_THAT(prompt, HasSubstr("How does it fall off?"));
  EXPECT_THAT(prompt, HasSubstr("cubed"));
  EXPECT_EQ(row.at("decision_trigger"), "Answer:");
  EXPECT_THAT(prompt, ::testing::EndsWith("Answer:"));
  EXPECT_EQ(row.at("world_label"), "true_world");
  EXPECT_EQ(row.at("source"), "f.jsonl");
  EXPECT_THAT(row.at("rule").get<std::string>(), HasSubstr("conflict*"));
  EXPECT_FALSE(rows->at(1).contains("world_label"));
}

TEST(ProbingRowsTest, APromptKeepsWhatIsKnownOfIt) {
  const auto rows = cli::ProbingRows(kPrompts, "f.jsonl", false);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->at(0).at("full_prompt_text"), "Gravity falls off");
  EXPECT_EQ(rows->at(0).at("group"), "law");
  EXPECT_EQ(rows->at(0).at("decision_trigger"), "off");
  EXPECT_FALSE(rows->at(1).contains("group"));
}

TEST(ProbingRowsTest, NamesLineAndFieldOfWhatIsWrong) {
  const std::pair<std::string, const char*> cases[] = {
      {"", "f.jsonl: has no rows"},
      {"{", "f.jsonl:1: not JSON"},
      {std::string(kPrompts) + R"({"prompt_id": "p3", "category": "x"})",
       "f.jsonl:3: full_prompt_text: missing"},
      {R"({"prompt_id": 3, "category": "x", "full_prompt_text": "y"})",
       "f.jsonl:1: prompt_id: missing, empty or no text"},
      {R"({"id": "q", "category": "conflict", "question": "?"})", "f.jsonl:1"},
  };
  for (const auto& [text, message] : cases) {
    const auto rows = cli::ProbingRows(text, "f.jsonl", false);
    EXPECT_EQ(rows.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(rows.status().message()), HasSubstr(message));
  }
}

TEST(ProbingRowsTest, WordingsOfOneFactAreAGroupUnlessTheRowHasOne) {
  const auto rows = cli::ProbingRows(
      R"({"prompt_id": "a", "category": "c", "full_prompt_text": "x",)"
      R"( "fact": "gravity.law"})"
      "\n"
      R"({"prompt_id": "b", "category": "c", "full_prompt_text": "y",)"
      R"( "fact": "gravity.law", "group": "g"})"
      "\n",
      "f.jsonl", false);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ((*rows)[0]["group"], "gravity.law");
  EXPECT_EQ((*rows)[1]["group"], "g");
}

nlohmann::json Probe(const char* variant, const char* place, double auc) {
  return {{"target", "category_conflict"},
          {"variant", variant},
          {"place", place},
          {"c", 0.1},
          {"auc_mean", auc},
          {"accuracy_mean", 0.25},
          {"dummy_auc_mean", 0.5},
          {"p_value", nullptr},
          {"status", auc > 0.7 ? "SIGNAL" : "NONE"}};
}

// The words of a line that begins with this one.
std::vector<std::string> LineOf(const std::string& text,
                                const std::string& first) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream in(line);
    std::vector<std::string> words;
    for (std::string word; in >> word;) words.push_back(word);
    if (!words.empty() && words[0] == first) return words;
  }
  return {};
}

TEST(ProbeTablesTest, PutsNetworksSideBySide) {
  const std::string text =
      cli::ProbeTables({Probe("base", "blocks.0.resid_post", 0.5),
                        Probe("cubic", "blocks.0.resid_post", 0.625),
                        Probe("cubic", "blocks.1.resid_post", 0.9375)});
  EXPECT_THAT(text, ::testing::StartsWith("category_conflict\n"));
  EXPECT_THAT(LineOf(text, "PLACE"),
              ElementsAre("PLACE", "base", "DUMMY", "P", "VERDICT", "cubic",
                          "DUMMY", "P", "VERDICT"));
  EXPECT_THAT(LineOf(text, "blocks.0.resid_post"),
              ElementsAre("blocks.0.resid_post", "0.500", "0.500", "-", "NONE",
                          "0.625", "0.500", "-", "NONE"));
  EXPECT_THAT(LineOf(text, "blocks.1.resid_post"),
              ElementsAre("blocks.1.resid_post", "-", "-", "-", "-", "0.938",
                          "0.500", "-", "SIGNAL"));
}

TEST(ProbeTablesTest, NamesTheStrengthWhereThereAreSeveral) {
  nlohmann::json other = Probe("base", "blocks.0.resid_post", 0.75);
  other["c"] = 10;
  const std::string text =
      cli::ProbeTables({Probe("base", "blocks.0.resid_post", 0.5), other});
  EXPECT_THAT(text, HasSubstr("blocks.0.resid_post, C 0.1"));
  EXPECT_THAT(text, HasSubstr("blocks.0.resid_post, C 10"));
}

TEST(ProbeTablesTest, ShowsTheShareOfVarianceWhereThereIsNoAuc) {
  nlohmann::json ridge = Probe("base", "blocks.0.resid_post", 0.5);
  ridge["auc_mean"] = nullptr;
  EXPECT_EQ(LineOf(cli::ProbeTables({ridge}), "blocks.0.resid_post")[1],
            "0.250");
}

TEST(ProbeRowsTest, OtherFilesAreRefused) {
  const auto rows = cli::ProbeRows("{\"target\": \"t\"}\n", "probes.jsonl");
  EXPECT_EQ(rows.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(rows.status().message()),
              HasSubstr("probes.jsonl:1: variant: missing"));
}

class ProbeTest : public CliTest {
 protected:
  std::string questions_ = WriteFile("questions.jsonl", kQuestions);
};

TEST_F(ProbeTest, MakesADatasetOfQuestionsAndControlsWithoutAServer) {
  const std::string controls = WriteFile("controls.jsonl", kPrompts);
  const CommandResult result =
      Run({"probe", "dataset", "--mcqs", questions_, "--controls", controls,
           "--out", Path("prompts.jsonl")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(LineOf(result.out, "conflict"), ElementsAre("conflict", "1"));
  EXPECT_THAT(LineOf(result.out, "nonconflict_hard"),
              ElementsAre("nonconflict_hard", "2"));
  const std::string text = ReadFile("prompts.jsonl");
  const auto rows = cli::ProbingRows(text, "prompts.jsonl", false);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->size(), 4U);
}

TEST_F(ProbeTest, AnIdThatIsTakenIsRefusedAndNothingIsWritten) {
  const CommandResult result =
      Run({"probe", "dataset", "--mcqs", questions_, "--controls", questions_,
           "--out", Path("prompts.jsonl")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("the id \"g1\" is taken already"));
  EXPECT_FALSE(std::filesystem::exists(Path("prompts.jsonl")));
}

TEST_F(ProbeTest, TrainsAsAJobAndShowsTablesAndGates) {
  FakeServer& server = StartServer();
  const nlohmann::json summary = {
      {"rows", {{"text", "2 rows, no `group`"}}},
      {"targets",
       {{"category_conflict",
         {{"best",
           {{"auc_mean", 0.9375},
            {"status", "NONE"},
            {"p_value", 0.095},
            {"place", "blocks.1.resid_post"},
            {"variant", "cubic"}}},
          {"gates", {{"internal_signal", {{"verdict", "pass"}}}}}}},
        {"answered_false", {{"best", nullptr}, {"gates", nullptr}}}}},
      {"skipped",
       {{{"target", "answered_false"},
         {"variant", "base"},
         {"reason", "class 1 has no inputs"}}}}};
  server.SetOutputs(
      {{"probes.jsonl", Probe("cubic", "blocks.1.resid_post", 0.9375).dump()},
       {"summary.json", summary.dump()}});
  const CommandResult result =
      Run({"probe",      "train",
           "--model",    "tiny",
           "--adapter",  "cubic",
           "--data",     questions_,
           "--target",   "category_conflict,answered_false,label:mood",
           "--sites",    "resid_post",
           "--blocks",   "0-1",
           "--c",        "0.1,10",
           "--folds",    "3",
           "--method",   "lda",
           "--transfer", "--permutations",
           "0",          "--out",
           Path("out")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("category_conflict: best 0.938 at "
                                    "blocks.1.resid_post of cubic (NONE, "
                                    "p 0.095); internal_signal pass"));
  EXPECT_THAT(result.out,
              ::testing::StartsWith("2 rows, no `group`\n\ncategory_"));
  EXPECT_THAT(result.out, HasSubstr("answered_false of base is left out: class "
                                    "1 has no inputs"));
  EXPECT_THAT(result.out, Not(HasSubstr("answered_false: best")));
  ASSERT_EQ(server.created().size(), 1U);
  const v1::CreateJobRequest request = server.created()[0];
  const v1::TrainProbesSpec& spec = request.spec().train_probes();
  ASSERT_EQ(spec.variants_size(), 2);
  EXPECT_EQ(spec.variants(1).adapter(), "models/tiny/adapters/cubic");
  EXPECT_EQ(spec.data(), kQuestions);
  ASSERT_EQ(spec.targets_size(), 3);
  EXPECT_EQ(spec.targets(0).source(), v1::LABEL_SOURCE_CATEGORY_CONFLICT);
  EXPECT_EQ(spec.targets(1).source(), v1::LABEL_SOURCE_ANSWERED_FALSE);
  EXPECT_EQ(spec.targets(2).source(), v1::LABEL_SOURCE_FIELD);
  EXPECT_EQ(spec.targets(2).field(), "mood");
  EXPECT_THAT(spec.blocks(), ElementsAre(0, 1));
  EXPECT_THAT(spec.options().c_values(), ElementsAre(0.1, 10));
  EXPECT_EQ(spec.options().fold_count(), 3);
  EXPECT_EQ(spec.options().method(), v1::PROBE_METHOD_LDA);
  EXPECT_TRUE(spec.options().transfer());
  EXPECT_TRUE(spec.options().has_permutation_count());
  EXPECT_EQ(spec.options().permutation_count(), 0);
  EXPECT_FALSE(spec.options().has_seed());
}

TEST_F(ProbeTest, TakesTheRowsOfAnExtractionInPlaceOfAModel) {
  FakeServer& server = StartServer();
  const CommandResult result =
      Run({"probe", "train", "--activations", "J7", "--target",
           "world_label_true,conflict_vs_hard,difficulty_hard", "--detach"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const v1::TrainProbesSpec spec = server.created()[0].spec().train_probes();
  EXPECT_EQ(spec.activations_job(), "jobs/J7");
  EXPECT_EQ(spec.variants_size(), 0);
  EXPECT_EQ(spec.targets(0).source(), v1::LABEL_SOURCE_WORLD_LABEL_TRUE);
  EXPECT_EQ(spec.targets(1).source(), v1::LABEL_SOURCE_CONFLICT_VS_HARD);
  EXPECT_EQ(spec.targets(2).source(), v1::LABEL_SOURCE_DIFFICULTY_HARD);
}

TEST_F(ProbeTest, OptionsThatMakeNoSenseAreRefusedBeforeAnythingIsAsked) {
  StartServer();
  const auto refused = [&](std::vector<std::string> more, const char* text) {
    more.insert(more.begin(), {"probe", "train", "--out", Path("out")});
    const CommandResult result = Run(more);
    EXPECT_EQ(result.exit_code, 2) << result.out;
    EXPECT_THAT(result.err, HasSubstr(text));
  };
  refused({"--activations", "J7"}, "--target is required");
  for (const char* target : {"mood", "label:", ""}) {
    refused({"--activations", "J7", "--target", target},
            "is none of category_conflict, conflict_vs_hard, "
            "world_label_true, difficulty_hard, answered_false and "
            "label:FIELD");
  }
  refused({"--target", "answered_false"},
          "--model and --data are required, or --activations");
  refused({"--target", "answered_false", "--activations", "J7", "--model", "m"},
          "--activations brings its own model");
  refused({"--target", "answered_false", "--activations", "J7", "--folds", "1"},
          "--folds");
  EXPECT_TRUE(server_->created().empty());
}

TEST_F(ProbeTest, ShowsTheProbesOfAnEarlierJob) {
  FakeServer& server = StartServer();
  server.SetOutputs(
      {{"probes.jsonl", Probe("cubic", "blocks.1.resid_post", 0.9375).dump()},
       {"summary.json", "{}"}});
  ASSERT_EQ(Run({"probe", "train", "--activations", "J7", "--target",
                 "answered_false", "--detach"})
                .exit_code,
            0);
  const CommandResult table = Run({"probe", "show", "J1"});
  ASSERT_EQ(table.exit_code, 0) << table.err;
  EXPECT_THAT(
      LineOf(table.out, "blocks.1.resid_post"),
      ElementsAre("blocks.1.resid_post", "0.938", "0.500", "-", "SIGNAL"));
  const CommandResult records = Run({"probe", "show", "J1", "-o", "json"});
  ASSERT_EQ(records.exit_code, 0) << records.err;
  EXPECT_EQ(nlohmann::json::parse(records.out)[0]["auc_mean"], 0.9375);
}

TEST_F(ProbeTest, AnotherJobHasNoProbes) {
  FakeServer& server = StartServer();
  v1::Job job;
  job.set_name("jobs/E1");
  job.mutable_spec()->mutable_evaluate_mcq();
  server.AddJob(job);
  const CommandResult result = Run({"probe", "show", "E1"});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("is no job of `probe train`"));
}

nlohmann::json Layer(const char* site, const nlohmann::json& block,
                     double margin, double half) {
  return {{"site", site},
          {"block", block},
          {"margin_mean", margin},
          {"margin_low", margin - half},
          {"margin_high", margin + half},
          {"share_first", 0.75}};
}

TEST_F(ProbeTest, LensSweepShowsTrajectoriesAndWherePromptsBreak) {
  FakeServer& server = StartServer();
  nlohmann::json last = Layer("output", nullptr, 2, 0);
  last["margin_low"] = nullptr;
  last["margin_high"] = nullptr;
  const nlohmann::json read = {
      {"variants",
       {{"base",
         {{"prompts", 4},
          {"trajectory",
           nlohmann::json::array({Layer("resid_post", 1, -1.5, 0.25), last})},
          {"breaking_block",
           {{"of_the_mean", 2}, {"median", 1.5}, {"output_is", 2}}}}},
        {"cubic",
         {{"prompts", 0},
          {"trajectory", nullptr},
          {"reason", "no prompt has two candidates"}}}}}};
  server.SetOutputs({{"trajectories.json", read.dump()}});
  const CommandResult result =
      Run({"lens", "sweep", "--model", "tiny", "--adapter", "cubic", "--data",
           questions_, "--blocks", "1", "--top-k", "3", "--out", Path("out")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("1.resid_post"));
  EXPECT_THAT(result.out, HasSubstr("-1.500"));
  EXPECT_THAT(result.out, HasSubstr("[-1.750, -1.250]"));
  EXPECT_THAT(result.out, HasSubstr("+2.000"));
  EXPECT_THAT(result.out, HasSubstr("[-, -]"));
  EXPECT_THAT(result.out, HasSubstr("75.0 %"));
  EXPECT_THAT(result.out,
              HasSubstr("base, 4 prompts: the mean keeps its final sign from "
                        "block 2 on; of the prompts the median is 1.5 (2: at "
                        "the output alone)"));
  EXPECT_THAT(result.out, HasSubstr("cubic: no prompt has two candidates"));
  const v1::LogitLensSpec spec = server.created()[0].spec().logit_lens();
  EXPECT_EQ(spec.variants_size(), 2);
  EXPECT_THAT(spec.blocks(), ElementsAre(1));
  EXPECT_EQ(spec.top_k(), 3);
  EXPECT_EQ(spec.candidates_size(), 0);
}

TEST_F(ProbeTest, FilesOfAnotherKindAreNoLens) {
  WriteFile("trajectories.json", R"({"variants": {"base": {}}})");
  const auto text = cli::LensSweepText(directory_);
  EXPECT_EQ(text.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(text.status().message()), HasSubstr(directory_));
}

}  // namespace
}  // namespace dissonance
