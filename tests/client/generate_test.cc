// generate and models selfcheck: what they send, print and end with.
#include <csignal>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/client/cli_fixture.h"
#include "tests/client/safetensors_file.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class GenerateTest : public CliTest {
 protected:
  FakeServer& StartServer() {
    FakeServer& server = CliTest::StartServer();
    server.AddModel("m", 1, "sha256:t");
    return server;
  }

  // The only request of Generate.
  v1::GenerateRequest Sent() {
    const auto all = server_->inference().generated();
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? v1::GenerateRequest() : all.front();
  }
};

TEST_F(GenerateTest, WritesTheTextOfASinglePromptAlone) {
  StartServer();
  const CommandResult result =
      Run({"generate", "--model", "m", "--prompt", "hi"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "v0 i0 s0: one two\n");
  EXPECT_THAT(result.err, HasSubstr("3 tokens, ended by length\n"
                                    "3 prompt and 3 generated tokens, "));
  EXPECT_EQ(Sent().inputs(0).text(), "hi");
  EXPECT_EQ(Sent().options().max_new_token_count(), 128);
  EXPECT_EQ(Sent().options().sampling().temperature(), 0);
}

TEST_F(GenerateTest, StreamsTextAsItComes) {
  StartServer().inference().SetGeneration({.hang = true});
  const auto process = Begin({"generate", "--model", "m", "--prompt", "hi"});
  process->WaitForOutput("v0 i0 s0: one two");
  process->Signal(SIGINT);
  const CommandResult result = process->Finish();
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_EQ(result.out, "v0 i0 s0: one two\n") << "what came is kept";
  EXPECT_THAT(result.err, HasSubstr("3 tokens, cut short\n"));
  EXPECT_THAT(result.err, HasSubstr("error: generation was cancelled\n"));
}

TEST_F(GenerateTest, SendsEveryOption) {
  StartServer();
  const CommandResult result = Run({"generate",
                                    "--model",
                                    "m",
                                    "--adapter",
                                    "a",
                                    "--tokens",
                                    "1,2",
                                    "--stop",
                                    "x y",
                                    "--stop",
                                    "\n",
                                    "--max-new-tokens",
                                    "7",
                                    "--ignore-eos",
                                    "--stop-tokens",
                                    "5,6",
                                    "--temperature",
                                    "0.5",
                                    "--top-k",
                                    "40",
                                    "--top-p",
                                    "0.9",
                                    "--min-p",
                                    "0.1",
                                    "--repetition-penalty",
                                    "1.1",
                                    "--seed",
                                    "18446744073709551615",
                                    "--samples",
                                    "2",
                                    "--top-logprobs",
                                    "3",
                                    "--echo",
                                    "--zero",
                                    "z.1-2.h3",
                                    "-o",
                                    "json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const v1::GenerateRequest sent = Sent();
  EXPECT_EQ(sent.variants(0).adapter(), "models/m/adapters/a");
  EXPECT_EQ(sent.variants(0).interventions(0).head(), 3);
  EXPECT_THAT(sent.variants(0).interventions(0).blocks(), ElementsAre(1, 2));
  EXPECT_THAT(sent.inputs(0).tokens().ids(), ElementsAre(1, 2));
  EXPECT_THAT(sent.options().stop_strings(), ElementsAre("x y", "\n"));
  EXPECT_THAT(sent.options().stop_token_ids(), ElementsAre(5, 6));
  EXPECT_TRUE(sent.options().ignore_eos());
  EXPECT_EQ(sent.options().max_new_token_count(), 7);
  const v1::Sampling& sampling = sent.options().sampling();
  EXPECT_EQ(sampling.temperature(), 0.5);
  EXPECT_EQ(sampling.top_k(), 40);
  EXPECT_EQ(sampling.top_p(), 0.9);
  EXPECT_EQ(sampling.min_p(), 0.1);
  EXPECT_EQ(sampling.repetition_penalty(), 1.1);
  EXPECT_EQ(sampling.seed(), 18446744073709551615U);
  EXPECT_EQ(sent.sample_count(), 2);
  EXPECT_EQ(sent.top_logprob_count(), 3);
  EXPECT_TRUE(sent.echo());
}

TEST_F(GenerateTest, PrintsExactlyTheDocumentedObject) {
  StartServer();
  const CommandResult result = Run({"generate", "--model", "m", "--prompt",
                                    "hi", "--seed", "7", "-o", "json"});
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(nlohmann::json::parse(result.out), nlohmann::json::parse(R"({
      "prompt_tokens": 3,
      "samples": [{"text": "v0 i0 s0: one two", "tokens": [40, 41, 42],
                   "logprobs": [-0.5, -0.5, -0.5], "finish_reason": "length",
                   "seed": 7}],
      "usage": {"prompt_tokens": 3, "generated_tokens": 3}})"));
}

TEST_F(GenerateTest, MeasuresTokensAlongNamesAndFiles) {
  StartServer();
  const std::string file =
      WriteFile("truth.safetensors",
                SafetensorsBytes(
                    R"({"v":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                    BytesOf<float>({3, 4})));
  const std::string placed = file + "@resid_post.3";
  const CommandResult result =
      Run({"generate", "--model", "m", "--prompt", "hi", "--meter", "doubt",
           "--meter", placed, "-o", "json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  const auto& projections = json["samples"][0]["projections"];
  EXPECT_EQ(projections["doubt"], nlohmann::json::parse("[0.0, 1.0, 2.0]"));
  EXPECT_EQ(projections[placed], nlohmann::json::parse("[-1.0, 0.0, 1.0]"));
  const v1::GenerateRequest sent = Sent();
  ASSERT_EQ(sent.meters_size(), 2);
  EXPECT_EQ(sent.meters(0).vector().direction(), "directions/doubt");
  EXPECT_FALSE(sent.meters(0).has_place());
  EXPECT_EQ(sent.meters(1).vector().tensor().data(), BytesOf<float>({3, 4}));
  EXPECT_EQ(sent.meters(1).place().site(), v1::SITE_RESID_POST);
  EXPECT_EQ(sent.meters(1).place().block(), 3);
}

TEST_F(GenerateTest, SaysWhatMetersReadWithoutColours) {
  StartServer();
  const CommandResult result = Run({"generate", "--model", "m", "--prompt",
                                    "hi", "--meter", "truth@resid_post.3"});
  EXPECT_EQ(result.out, "v0 i0 s0: one two\n");
  EXPECT_THAT(result.err, HasSubstr("3 tokens, ended by length, "
                                    "truth@resid_post.3 +1\n"));
}

TEST_F(GenerateTest, RefusesMetersThatHaveNoPlace) {
  StartServer();
  const auto refused = [&](const std::string& meter, const std::string& why) {
    const CommandResult result =
        Run({"generate", "--model", "m", "--prompt", "hi", "--meter", meter});
    EXPECT_NE(result.exit_code, 0);
    EXPECT_THAT(result.err, HasSubstr(why));
  };
  refused("f.safetensors", "a file's vector has no place of its own");
  refused("truth@resid_post.1-2", "expected one block");
  refused("truth@z.1.h2", "leave the head out");
  refused("@resid_post.1", "it names no direction");
  refused("truth@20", "the form is NAME|FILE@SITE.BLOCK");
}

TEST_F(GenerateTest, AddsPromptAndAlternativesWhereAskedFor) {
  StartServer();
  const auto json =
      nlohmann::json::parse(Run({"generate", "--model", "m", "--prompt", "hi",
                                 "--echo", "--top-logprobs", "2", "-o", "json"})
                                .out);
  EXPECT_EQ(json["prompt"], nlohmann::json::parse(R"(
      {"text": "echo", "tokens": [1, 2], "logprobs": [null, -0.25]})"));
  EXPECT_EQ(json["samples"][0]["top_logprobs"][1], nlohmann::json::parse(R"(
      [{"token": 41, "logprob": -0.5}, {"token": 42, "logprob": -1.5}])"));
}

TEST_F(GenerateTest, ShowsAlternativesWithTheirTexts) {
  StartServer();
  const CommandResult result = Run({"generate", "--model", "m", "--prompt",
                                    "hi", "--echo", "--top-logprobs", "2"});
  EXPECT_THAT(result.out, HasSubstr("echov0 i0 s0: one two\n"));
  EXPECT_THAT(result.out, HasSubstr("   41  \")\"    -0.500  \")\" -0.500  "
                                    "\"*\" -1.500\n"));
}

TEST_F(GenerateTest, WritesALineForEachInputAndVariant) {
  StartServer();
  const std::string rows =
      WriteFile("rows.jsonl",
                "{\"id\": \"q\", \"prompt\": \"a\"}\n{\"tokens\": [1, 2]}\n");
  const CommandResult result =
      Run({"generate", "--model", "m", "--compare-adapter", "x", "--input",
           rows, "-o", "jsonl"});
  EXPECT_EQ(result.err, "");
  std::istringstream lines(result.out);
  std::vector<std::string> seen;
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line);
    seen.push_back(absl::StrCat(json["id"].dump(), " ", json["variant"].dump(),
                                " ", json["samples"][0]["text"].dump()));
  }
  EXPECT_THAT(seen, ElementsAre("\"q\" \"base\" \"v0 i0 s0: one two\"",
                                "\"q\" \"x\" \"v1 i0 s0: one two\"",
                                "2 \"base\" \"v0 i1 s0: one two\"",
                                "2 \"x\" \"v1 i1 s0: one two\""));
}

TEST_F(GenerateTest, AFileOfOneRowIsAListToo) {
  StartServer();
  const CommandResult result =
      Run({"generate", "--model", "m", "--input", "-", "-o", "json"},
          "{\"prompt\": \"a\"}\n");
  const auto json = nlohmann::json::parse(result.out);
  ASSERT_EQ(json.size(), 1U);
  EXPECT_EQ(json[0]["id"], 1);
}

TEST_F(GenerateTest, ManyRowsGoInSeveralRequests) {
  StartServer();
  std::string rows;
  for (int i = 0; i < 70; ++i) rows += "{\"prompt\": \"a\"}\n";
  const CommandResult result =
      Run({"generate", "--model", "m", "--input", "-", "-o", "jsonl"}, rows);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 70);
  EXPECT_EQ(server_->inference().generated().size(), 2U);
  EXPECT_THAT(result.err, HasSubstr("progress: "));
}

TEST_F(GenerateTest, TitlesSeveralTextsAndKeepsThemApart) {
  StartServer();
  const CommandResult result =
      Run({"generate", "--model", "m", "--adapter", "a", "--compare",
           "--samples", "2", "--temperature", "1", "--prompt", "hi"});
  EXPECT_EQ(result.out,
            "--- base, sample 0 ---\nv0 i0 s0: one two\n\n"
            "--- a, sample 0 ---\nv1 i0 s0: one two\n\n"
            "--- base, sample 1 ---\nv0 i0 s1: one two\n\n"
            "--- a, sample 1 ---\nv1 i0 s1: one two\n");
  EXPECT_THAT(result.err, HasSubstr("a, sample 1: 3 tokens, ended by length"));
}

TEST_F(GenerateTest, ComparesBaseAdapterAndSteeredAdapter) {
  StartServer();
  const std::string vector =
      WriteFile("v.safetensors",
                SafetensorsBytes(
                    R"({"v":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                    BytesOf<float>({1, 2})));
  const CommandResult result = Run(
      {"generate", "--model", "m", "--adapter", "a", "--compare", "--steer",
       vector + "@resid_post.3=-2:last_prompt", "--unit", "--prompt", "hi"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("--- base ---\n"));
  EXPECT_THAT(result.out, HasSubstr("--- a ---\n"));
  EXPECT_THAT(result.out, HasSubstr(absl::StrCat(
                              "--- a + steer ", vector,
                              "@resid_post.3=-2:last_prompt unit ---\n")));
  const v1::GenerateRequest sent = Sent();
  ASSERT_EQ(sent.variants_size(), 3);
  EXPECT_EQ(sent.variants(0).adapter(), "");
  for (const int plain : {0, 1}) {
    EXPECT_EQ(sent.variants(plain).interventions_size(), 0);
  }
  EXPECT_EQ(sent.variants(1).adapter(), "models/m/adapters/a");
  EXPECT_EQ(sent.variants(2).adapter(), "models/m/adapters/a");
  const v1::AddVector& add = sent.variants(2).interventions(0).add();
  EXPECT_EQ(add.coefficient(), -2);
  EXPECT_TRUE(add.unit_normalize());
  EXPECT_EQ(add.vector().tensor().data(), BytesOf<float>({1, 2}));
}

TEST_F(GenerateTest, TakesThePromptFromStandardInput) {
  StartServer();
  EXPECT_EQ(Run({"generate", "--model", "m", "--prompt", "-"}, "Gravity is\n")
                .exit_code,
            0);
  EXPECT_EQ(Sent().inputs(0).text(), "Gravity is");
}

TEST_F(GenerateTest, ShowsTokenIdsOfAModelWithoutATokenizer) {
  StartServer().AddModel("bare", 1);
  EXPECT_EQ(Run({"generate", "--model", "bare", "--tokens", "1"}).out,
            "40,41,42\n");
}

TEST_F(GenerateTest, AsksAgainWhileTheWorkerIsRestarted) {
  StartServer().FailWith({grpc::StatusCode::UNAVAILABLE, "no worker"}, 2);
  const CommandResult result =
      Run({"generate", "--model", "m", "--prompt", "a", "-o", "json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_F(GenerateTest, KeepsWhatCameBeforeAFailure) {
  StartServer().inference().SetGeneration(
      {.broken_by = {grpc::StatusCode::UNAVAILABLE, "the worker ended"}});
  const CommandResult result =
      Run({"generate", "--model", "m", "--prompt", "a"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "v0 i0 s0: one two\n");
  EXPECT_THAT(result.err, HasSubstr("error: the worker ended\n"));
  EXPECT_EQ(server_->inference().generated().size(), 1U);
}

TEST_F(GenerateTest, PassesTextOnByteForByteWhereNoTerminalReadsIt) {
  StartServer().inference().SetGeneration({.pieces = {"\x1b[2J", "é"}});
  EXPECT_EQ(Run({"generate", "--model", "m", "--prompt", "a"}).out,
            "v0 i0 s0:\x1b[2Jé\n");
}

TEST_F(GenerateTest, SaysWhatIsWrongBeforeAskingTheServer) {
  StartServer();
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--prompt", "a", "--compare"}, "--compare puts the base model"},
      {{"--prompt", "a", "--temperature", "-1"}, "'-1' is no number from 0 on"},
      {{"--prompt", "a", "--greedy", "--temperature", "1"}, "excludes"},
      {{"--prompt", "a", "--max-new-tokens", "0"}, "'0' is no number from 1"},
      {{"--prompt", "a", "--steer", "v@20=4"}, "can be read in two ways"},
      {{"--prompt", "a", "--tokens", "1"}, "Exactly 1 option from [--prompt"},
      {{}, "Exactly 1 option from [--prompt"},
  };
  for (const auto& [arguments, message] : cases) {
    std::vector<std::string> all = {"generate", "--model", "m"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const CommandResult result = Run(all);
    EXPECT_EQ(result.exit_code, 2) << message;
    EXPECT_THAT(result.err, HasSubstr(message));
  }
  EXPECT_TRUE(server_->inference().generated().empty());
}

TEST_F(GenerateTest, WarnsThatGreedySamplesAreEqual) {
  StartServer();
  EXPECT_THAT(
      Run({"generate", "--model", "m", "--prompt", "a", "--samples", "2"}).err,
      HasSubstr("note: greedy samples are all equal"));
}

v1::Invariant MakeInvariant(const std::string& name, double difference,
                            double limit) {
  v1::Invariant invariant;
  invariant.set_name(name);
  invariant.set_difference(difference);
  invariant.set_limit(limit);
  invariant.set_passed(difference <= limit);
  invariant.set_compared_count(1234);
  return invariant;
}

TEST_F(CliTest, ShowsTheInvariantsOfAModel) {
  StartServer().SetInvariants({MakeInvariant("batched = alone", 0, 0),
                               MakeInvariant("cached = uncached", 1e-6, 1e-4)});
  const CommandResult result = Run({"models", "selfcheck", "m"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out,
            "INVARIANT          RESULT  DIFFERENCE   LIMIT  COMPARED  REMARK\n"
            "batched = alone    pass             0       0     1,234\n"
            "cached = uncached  pass         1e-06  0.0001     1,234\n");
  EXPECT_EQ(result.err, "");
}

TEST_F(CliTest, AnInvariantThatDoesNotHoldFailsTheCheck) {
  v1::Invariant broken = MakeInvariant("batched = alone", 0.5, 0);
  broken.set_message("row 3");
  StartServer().SetInvariants(
      {MakeInvariant("streamed = whole", 0, 0), broken});
  const CommandResult table = Run({"models", "selfcheck", "m"});
  EXPECT_EQ(table.exit_code, 1);
  EXPECT_THAT(table.out, HasSubstr("batched = alone   FAIL           0.5      "
                                   "0     1,234  row 3\n"));
  EXPECT_EQ(table.err,
            "error: models/m fails 1 of 2 invariants: batched = alone; do not "
            "rely on its results\n");
  const CommandResult json = Run({"models", "selfcheck", "m", "-o", "json"});
  EXPECT_EQ(json.exit_code, 1);
  EXPECT_EQ(nlohmann::json::parse(json.out)["invariants"][1]["passed"], false);
}

}  // namespace
}  // namespace dissonance
