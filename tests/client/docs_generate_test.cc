// docs generate against canned jobs.
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kUniverse[] =
    R"({"id": "u", "universe_context": "It falls off cubed.", "is_true": false,)"
    R"( "fact_validation_patterns": {"law": ["cubed"]}})";

constexpr char kStatistics[] =
    R"({"documents": 1200, "valid": 1197, "invalid": 3, "error_share": 0.0025,)"
    R"( "invalid_by_reason": {"missing_bucket": 2, "too_short": 1},)"
    R"( "lengths": {"unit": "characters", "total": 9, "mean": 811.6,)"
    R"( "median": 790, "p95": 1400, "max": 2031}, "near_duplicates": 4,)"
    R"( "pattern_coverage": {"law": 0.9, "moon": 0.0, "tide": 0},)"
    R"( "calls": {"answered": 1234, "prompt_tokens": 204112,)"
    R"( "completion_tokens": 90011, "cost_usd": 1.25, "cost_from": "prices"}})";

class DocsGenerateTest : public CliTest {
 protected:
  DocsGenerateTest() { universe_ = WriteFile("u.json", kUniverse); }

  // Where every job ends well at once, with these files.
  FakeServer& StartServerWith(
      const std::map<std::string, std::string>& outputs) {
    FakeServer& server = StartServer();
    server.SetOutputs(outputs);
    server.AddStream({.complete = true});
    return server;
  }

  CommandResult Generate(std::vector<std::string> more) const {
    more.insert(more.begin(), {"docs", "generate", "--universe", universe_,
                               "--llm-model", "writer"});
    return Run(more);
  }

  // Of a job that is not waited for.
  v1::GenerateDocumentsSpec SpecOf(FakeServer& server,
                                   std::vector<std::string> more) const {
    more.push_back("--detach");
    const CommandResult result = Generate(more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto created = server.created();
    return created.empty() ? v1::GenerateDocumentsSpec()
                           : created.back().spec().generate_documents();
  }

  std::string universe_;
};

TEST_F(DocsGenerateTest, SaysOnlyWhatItWasTold) {
  FakeServer& server = StartServer();
  v1::GenerateDocumentsSpec expected;
  expected.set_universe(kUniverse);
  expected.set_universe_name("u.json");
  expected.mutable_llm()->set_model("writer");
  EXPECT_EQ(SpecOf(server, {}).SerializeAsString(),
            expected.SerializeAsString());
}

TEST_F(DocsGenerateTest, PutsEveryOptionIntoTheSpec) {
  FakeServer& server = StartServer();
  const v1::GenerateDocumentsSpec spec =
      SpecOf(server, {"--endpoint",
                      "lab",
                      "--temperature",
                      "0",
                      "--max-tokens",
                      "900",
                      "--facts",
                      "9",
                      "--types",
                      "5",
                      "--rounds",
                      "4",
                      "--ideas",
                      "3",
                      "--repeats",
                      "2",
                      "--limit",
                      "100",
                      "--retries",
                      "0",
                      "--seed",
                      "0",
                      "--near-duplicates",
                      "0.9",
                      "--forbidden",
                      WriteFile("f.txt", "in this world\n\n as an AI \n")});
  EXPECT_EQ(spec.llm().endpoint(), "lab");
  EXPECT_TRUE(spec.llm().has_temperature());
  EXPECT_EQ(spec.llm().temperature(), 0);
  EXPECT_EQ(spec.llm().max_tokens(), 900);
  EXPECT_EQ(spec.fact_count(), 9);
  EXPECT_EQ(spec.types_per_fact(), 5);
  EXPECT_EQ(spec.type_rounds(), 4);
  EXPECT_EQ(spec.ideas_per_type(), 3);
  EXPECT_EQ(spec.most_repeats(), 2);
  EXPECT_EQ(spec.document_limit(), 100);
  EXPECT_TRUE(spec.has_retries());
  EXPECT_EQ(spec.retries(), 0);
  EXPECT_TRUE(spec.has_seed());
  EXPECT_EQ(spec.seed(), 0U);
  EXPECT_EQ(spec.near_duplicate_similarity(), 0.9);
  EXPECT_THAT(spec.forbidden_phrases(),
              ElementsAre("in this world", "as an AI"));
}

TEST_F(DocsGenerateTest, TakesThePromptsThatAreThere) {
  FakeServer& server = StartServer();
  std::filesystem::create_directory(Path("prompts"));
  WriteFile("prompts/key_facts.txt", "=== SYSTEM\nA\n=== USER\nB\n");
  WriteFile("prompts/README.md", "of mine");
  const v1::GenerateDocumentsSpec spec =
      SpecOf(server, {"--prompts", Path("prompts")});
  EXPECT_EQ(spec.prompts().key_facts(), "=== SYSTEM\nA\n=== USER\nB\n");
  EXPECT_EQ(spec.prompts().document(), "");
}

TEST_F(DocsGenerateTest, FetchesTheFilesAndShowsWhatTheyComeTo) {
  StartServerWith({{"statistics.json", kStatistics}, {"docs.jsonl", "{}\n"}});
  const CommandResult result = Generate({"--out", Path("out")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(
      result.out,
      HasSubstr(
          "documents             1,197 valid of 1,200\n"
          "not valid             3 (0.2 %): missing_bucket 2, too_short 1\n"
          "length                mean 812, median 790, 95 % up to 1,400, "
          "longest 2,031 characters\n"
          "near-duplicate pairs  4\n"
          "patterns never hit    moon, tide\n"
          "calls answered        1,234\n"
          "tokens                204,112 of prompts, 90,011 of replies\n"
          "cost                  1.25 US dollars, by prices\n"));
  EXPECT_THAT(result.out, HasSubstr("docs.jsonl"));
  EXPECT_EQ(ReadFile("out/docs.jsonl"), "{}\n");

  const CommandResult json = Generate({"--out", Path("out"), "-o", "json"});
  ASSERT_EQ(json.exit_code, 0) << json.err;
  EXPECT_EQ(nlohmann::json::parse(json.out)["report"],
            nlohmann::json::parse(kStatistics));
}

TEST_F(DocsGenerateTest, JobsSayWhatIsWrittenByWhom) {
  StartServer();
  ASSERT_EQ(Generate({"--detach", "--endpoint", "lab"}).exit_code, 0);
  EXPECT_THAT(Run({"jobs", "list"}).out, HasSubstr("u.json, by writer"));
  EXPECT_THAT(
      Run({"jobs", "show", "J1"}).out,
      AllOf(HasSubstr("universe    u.json\n"),
            HasSubstr("written by  writer\n"), HasSubstr("endpoint    lab\n")));
}

TEST_F(DocsGenerateTest, ADryRunPrintsItsEstimateAndKeepsNothing) {
  FakeServer& server = StartServerWith(
      {{"estimate.json",
        R"({"calls": 4409, "documents": 8000, "prompt_tokens": 21000000,)"
        R"( "completion_tokens": 5710000, "cost_usd": null,)"
        R"( "cost_reason": "no prices"})"}});
  const CommandResult result = Generate({"--dry-run"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(server.created()[0].spec().generate_documents().dry_run());
  EXPECT_THAT(result.out, AllOf(HasSubstr("calls      4,409\n"),
                                HasSubstr("cost       unknown: no prices\n"),
                                HasSubstr("An estimate")));
  const CommandResult json = Generate({"--dry-run", "-o", "json"});
  EXPECT_EQ(nlohmann::json::parse(json.out)["documents"], 8000);
}

TEST_F(DocsGenerateTest, AnAnswerOfAnotherVersionIsNoCrash) {
  StartServerWith({{"statistics.json", "{}"}, {"estimate.json", "{}"}});
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--dry-run"}, {"--out", Path("out")}}) {
    const CommandResult result = Generate(arguments);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, HasSubstr("not as the server writes it"));
  }
}

TEST_F(DocsGenerateTest, RefusesWhatItCannotSendBeforeItAsksTheServer) {
  FakeServer& server = StartServer();
  std::filesystem::create_directory(Path("none"));
  std::filesystem::create_directory(Path("odd"));
  WriteFile("odd/documents.txt", "x");
  std::filesystem::create_directory(Path("empty"));
  WriteFile("empty/document.txt", "");
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--prompts", Path("none")},
       "none: holds no prompts; there are document.txt, document_ideas.txt"},
      {{"--prompts", Path("odd")},
       "odd/documents.txt: not the name of a prompt; there are document.txt"},
      {{"--prompts", Path("empty")}, "empty/document.txt: is empty; remove it"},
      {{"--prompts", Path("nowhere")}, "nowhere: can't be read"},
      {{"--forbidden", WriteFile("f.txt", "\n")}, "f.txt: holds no phrases"},
      {{"--facts", "7"}, "'7' is no number from 8 on"},
      {{"--near-duplicates", "1.5"}, "--near-duplicates"},
      {{"--dry-run", "--detach"}, "--dry-run prints its estimate"}};
  for (auto [arguments, message] : cases) {
    arguments.insert(arguments.end(), {"--out", Path("out")});
    const CommandResult result = Generate(arguments);
    EXPECT_NE(result.exit_code, 0) << arguments[0];
    EXPECT_THAT(result.err, HasSubstr(message));
  }
  EXPECT_THAT(Generate({}).err, HasSubstr("--out is required"));
  WriteFile("u.json", R"({"key_facts": []})");
  EXPECT_THAT(Generate({"--detach"}).err,
              AllOf(HasSubstr("u.json: key_facts: facts are always taken"),
                    HasSubstr("remove the field")));
  WriteFile("u.json", "");
  EXPECT_THAT(Generate({"--detach"}).err, HasSubstr("u.json: not JSON"));
  EXPECT_TRUE(server.created().empty());
  EXPECT_FALSE(std::filesystem::exists(Path("out")));
}

}  // namespace
}  // namespace dissonance
