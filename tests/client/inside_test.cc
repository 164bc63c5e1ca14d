// dissonance lens, compare and patch, through the program.
#include "nlohmann/json.hpp"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using InsideTest = CliTest;

std::vector<nlohmann::json> Lines(const std::string& text) {
  std::vector<nlohmann::json> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    out.push_back(nlohmann::json::parse(line));
  }
  return out;
}

TEST_F(InsideTest, LensWritesJsonLines) {
  FakeServer& server = StartServer();
  const CommandResult result =
      Run({"lens", "--model", "m", "--prompt", "x", "--candidates", "A=s,B=#9",
           "--blocks", "0-1", "--top-k", "2"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::vector<nlohmann::json> lines = Lines(result.out);
  ASSERT_EQ(lines.size(), 1U);
  const nlohmann::json& line = lines.front();
  EXPECT_EQ(line["variant"], "base");
  EXPECT_EQ(line["token"], "a");
  EXPECT_EQ(line["breaking_block"], 1);
  ASSERT_EQ(line["layers"].size(), 3U);
  EXPECT_EQ(line["layers"][1]["block"], 1);
  EXPECT_EQ(line["layers"][1]["site"], "resid_post");
  EXPECT_EQ(line["layers"][1]["margin"], 1.0);
  EXPECT_EQ(line["layers"][1]["candidates"]["A"]["token_id"], 's');
  EXPECT_EQ(line["layers"][1]["top"][1]["text"], "y");
  EXPECT_TRUE(line["layers"][2]["block"].is_null());
  EXPECT_EQ(line["layers"][2]["site"], "final_norm");
  const v1::LogitLensRequest request = server.interpretability().last_lens();
  EXPECT_EQ(request.candidates(1).token_id(), 9);
  EXPECT_FALSE(request.has_positions());
}

TEST_F(InsideTest, LensShowsVariantsSideBySideWithTheBreakingBlock) {
  StartServer();
  const CommandResult result =
      Run({"lens", "--model", "m", "--adapter", "c", "--compare", "--tokens",
           "5", "--candidates", "A=s,B=t", "-o", "table"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(
      result.out,
      "1, position 0 \"a\"\n"
      "               base                          c\n"
      "LAYER             A      B  MARGIN  TOP      A      B  MARGIN  TOP\n"
      "0.resid_post  0.368  0.368   -1.00  \"x\"  0.368  0.368   -1.00  \"x\"\n"
      "1.resid_post  0.368  0.368   +1.00  \"x\"  0.368  0.368   -1.00  \"x\"\n"
      "output        0.368  0.368   +2.00  \"x\"  0.368  0.368   -2.00  \"x\"\n"
      "position 0, base: A leads from block 1 on (breaking block)\n"
      "position 0, c: B leads from block 0 on (breaking block)\n");
}

TEST_F(InsideTest, LensPutsSeveralPositionsIntoColumns) {
  StartServer();
  const CommandResult result = Run({"lens", "--model", "m", "--prompt", "x",
                                    "--positions", "all", "-o", "table"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out,
            "1, base\n"
            "LAYER         0 \"a\"  1 \"b\"\n"
            "0.resid_post    \"x\"    \"x\"\n"
            "1.resid_post    \"x\"    \"x\"\n"
            "output          \"x\"    \"x\"\n");
}

TEST_F(InsideTest, ColoursAreForTerminalsAlone) {
  StartServer();
  EXPECT_THAT(Run({"lens", "--model", "m", "--prompt", "x", "-o", "table"}).out,
              Not(HasSubstr("\x1b")));
}

TEST_F(InsideTest, ACandidateOfSeveralTokensIsRefusedWithItsTokens) {
  StartServer();
  const auto error = [&](const std::string& candidates) {
    const CommandResult result = Run(
        {"lens", "--model", "m", "--prompt", "x", "--candidates", candidates});
    EXPECT_NE(result.exit_code, 0);
    return result.err;
  };
  EXPECT_THAT(error("A=hi"),
              HasSubstr("'hi' is 2 tokens (#104 'h', #105 'i')"));
  EXPECT_THAT(error("A"), HasSubstr("not of the form NAME=TEXT"));
  EXPECT_THAT(error("A=#x"), HasSubstr("'#x' is no token id"));
  EXPECT_THAT(error("A=s,A=t"), HasSubstr("'A' appears twice"));
}

TEST_F(InsideTest, LensAsksAgainWhileTheWorkerIsRestarted) {
  StartServer().FailWith({grpc::StatusCode::UNAVAILABLE, "no worker"}, 2);
  const CommandResult result = Run({"lens", "--model", "m", "--prompt", "x"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(Lines(result.out).size(), 1U);
}

TEST_F(InsideTest, CompareTakesBaseAdapterAndSteeredAdapter) {
  FakeServer& server = StartServer();
  const CommandResult result =
      Run({"compare", "--model", "m", "--adapter", "c", "--zero", "z.3.h2",
           "--compare-adapter", "d", "--prompt", "xy"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const v1::CompareVariantsRequest request =
      server.interpretability().last_compare();
  ASSERT_EQ(request.variants_size(), 4);
  EXPECT_EQ(request.variants(0).adapter(), "");
  EXPECT_EQ(request.variants(1).interventions_size(), 0);
  EXPECT_EQ(request.variants(2).adapter(), "models/m/adapters/c");
  EXPECT_EQ(request.variants(2).interventions_size(), 1);
  EXPECT_EQ(request.variants(3).adapter(), "models/m/adapters/d");
  EXPECT_EQ(request.variants(3).interventions_size(), 1);
  const std::vector<nlohmann::json> lines = Lines(result.out);
  ASSERT_EQ(lines.size(), 2U);
  const nlohmann::json& reading = lines[1]["readings"][2];
  EXPECT_EQ(reading["variant"], "c + zero z.3.h2");
  EXPECT_TRUE(reading["next_token_logprob"].is_null());
  EXPECT_EQ(reading["kl"], 1.0);
  EXPECT_EQ(reading["top"][0]["text"], "z");
  EXPECT_TRUE(reading["residual"][0]["relative_distance"].is_null());
  EXPECT_EQ(reading["residual"][1]["relative_distance"], 0.5);
}

TEST_F(InsideTest, CompareShowsPositionsThenBlocks) {
  StartServer();
  const CommandResult result = Run({"compare", "--model", "m", "--adapter", "c",
                                    "--prompt", "xy", "-o", "table"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(
      result.out,
      HasSubstr(
          "                         base                  c\n"
          "POSITION  TOKEN  NEXT LOGPROB  TOP  NEXT LOGPROB  TOP      KL\n"
          "       0  \"a\"         -1.5000  \"x\"       -2.5000  \"y\"  "
          "0.5000\n"));
  EXPECT_THAT(
      result.out,
      HasSubstr("1, resid_post of c against base, mean over 2 positions\n"
                "BLOCK  RELATIVE DISTANCE  COSINE  LENS KL"));
}

TEST_F(InsideTest, CompareNeedsSomethingToCompare) {
  StartServer();
  const CommandResult result =
      Run({"compare", "--model", "m", "--prompt", "x"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("there is only the base model"));
}

TEST_F(InsideTest, PatchPutsTheBaseIntoTheAdapterInputByInput) {
  FakeServer& server = StartServer();
  const std::string rows = WriteFile("rows.jsonl",
                                     "{\"id\": \"a\", \"prompt\": \"xy\"}\n"
                                     "{\"id\": \"b\", \"prompt\": \"yz\"}\n");
  const CommandResult result =
      Run({"patch", "--model", "m", "--adapter", "c", "--input", rows,
           "--candidates", "A=s,B=t", "--positions", "all"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::vector<v1::PatchRequest> requests =
      server.interpretability().patches();
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(requests[0].source().adapter(), "");
  EXPECT_EQ(requests[0].target().adapter(), "models/m/adapters/c");
  EXPECT_THAT(requests[0].sites(), ElementsAre(v1::SITE_RESID_POST));
  const std::vector<nlohmann::json> lines = Lines(result.out);
  ASSERT_EQ(lines.size(), 8U);
  EXPECT_EQ(lines[3].dump(),
            R"({"block":1,"delta_after":1.0,"delta_before":-2.0,)"
            R"("delta_source":4.0,"flip":true,"head":null,"id":"a",)"
            R"("pair_prob_after":0.0,)"
            R"("pair_prob_before":0.0,"position":1,"site":"resid_post"})");
}

TEST_F(InsideTest, PatchMarksFlipsAndNamesTheStrongest) {
  StartServer();
  const CommandResult result =
      Run({"patch", "--model", "m", "--adapter", "c", "--prompt", "x",
           "--candidates", "A=s,B=t", "-o", "table"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(
      result.out,
      "1, delta = logit(A) - logit(B): +4.00 in base, -2.00 in c, which "
      "is patched\n"
      "resid_post, delta after each patch\n"
      "POSITION  TOKEN     BLOCK 0  BLOCK 1\n"
      "       0  \"\\u0001\"   -2.00    -2.00\n"
      "       1  \"x\"        -2.00    +1.00*\n"
      "1 of 4 patches flip the answer (*); furthest towards base: "
      "blocks.1.resid_post at position 1 \"x\", -2.00 to +1.00 (50.0 %)\n");
}

TEST_F(InsideTest, PatchRefusesWhatCannotDiffer) {
  StartServer();
  const CommandResult same = Run(
      {"patch", "--model", "m", "--prompt", "x", "--candidates", "A=s,B=t"});
  EXPECT_EQ(same.exit_code, 2);
  EXPECT_THAT(same.err, HasSubstr("source and target are the same network"));
  EXPECT_EQ(Run({"patch", "--model", "m", "--prompt", "x", "--source-prompt",
                 "y", "--candidates", "A=s,B=t"})
                .exit_code,
            0);
  const CommandResult one = Run({"patch", "--model", "m", "--adapter", "c",
                                 "--prompt", "x", "--candidates", "A=s"});
  EXPECT_EQ(one.exit_code, 2);
  EXPECT_THAT(one.err, HasSubstr("expected two, found 1"));
}

}  // namespace
}  // namespace dissonance
