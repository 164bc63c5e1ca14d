// dissonance activations and direction make, through the program.
#include <csignal>

#include "nlohmann/json.hpp"
#include "src/base/sha256.h"
#include "src/lab/tensors/safetensors_reader.h"
#include "tests/client/cli_fixture.h"
#include "tests/client/safetensors_file.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ActivationsTest : public CliTest {
 protected:
  // Three inputs.
  std::vector<std::string> Command(const std::string& out,
                                   std::vector<std::string> more = {}) {
    const std::string rows = WriteFile(
        "rows.jsonl",
        "{\"id\": \"a\", \"prompt\": \"x\", \"labels\": {\"k\": \"v\"}}\n"
        "{\"id\": 7, \"prompt\": \"y\"}\n{\"prompt\": \"z\"}\n");
    std::vector<std::string> command = {"activations", "--model", "m",
                                        "--input",     rows,      "--out",
                                        Path(out),     "--sites", "resid_post"};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }

  FakeServer& StartWithModel() {
    FakeServer& server = StartServer();
    server.AddModel("m", 1);
    return server;
  }

  nlohmann::json Manifest(const std::string& folder) {
    return nlohmann::json::parse(ReadFile(folder + "/manifest.json"));
  }
};

TEST_F(ActivationsTest, WritesShardMetadataAndManifest) {
  StartWithModel();
  const CommandResult result = Run(Command("acts"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto tensor = ReadTensor(Path("acts/activations-00000.safetensors"),
                                 "blocks.1.resid_post");
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_THAT(tensor->shape(), ElementsAre(6, 3));
  EXPECT_EQ(tensor->data().substr(24, 12),
            BytesOf(std::vector<float>{110, 110.125, 110.25}));
  EXPECT_THAT(
      ReadFile("acts/metadata.jsonl"),
      StartsWith(
          R"({"generated":false,"id":"a","labels":{"k":"v"},"position":0,)"
          R"("request":0,"row":0,"token_id":97})"
          "\n"
          R"({"generated":false,"id":"a","labels":{"k":"v"},"position":1,)"
          R"("request":0,"row":1,"token_id":98})"
          "\n"
          R"({"generated":false,"id":7,)"));
  const nlohmann::json manifest = Manifest("acts");
  EXPECT_EQ(manifest["row_count"], 6);
  EXPECT_EQ(manifest["dtype"], "float32");
  EXPECT_EQ(manifest["provenance"]["model_digest"], "sha256:abc");
  EXPECT_EQ(manifest["shards"][0]["row_count"], 6);
  EXPECT_EQ(manifest["shards"][0]["sha256"],
            Sha256Of(ReadFile("acts/activations-00000.safetensors")));
  // The fake model has six blocks.
  EXPECT_EQ(manifest["places"][0]["name"], "blocks.0.resid_post");
  EXPECT_EQ(manifest["places"][0]["hf_hidden_states_index"], 1);
}

TEST_F(ActivationsTest, TheLastBlocksStreamIsNoneOfHuggingFacesHiddenStates) {
  StartWithModel();
  ASSERT_EQ(Run(Command("acts", {"--blocks", "5"})).exit_code, 0);
  const nlohmann::json place = Manifest("acts")["places"][0];
  EXPECT_TRUE(place["hf_hidden_states_index"].is_null());
}

TEST_F(ActivationsTest, SendsWhatTheOptionsSay) {
  FakeServer& server = StartWithModel();
  ASSERT_EQ(Run(Command("acts", {"--blocks", "0-1", "--positions", "1-3",
                                 "--mean", "--dtype", "bfloat16",
                                 "--max-new-tokens", "4", "--adapter", "c"}))
                .exit_code,
            0);
  const v1::StreamActivationsRequest request =
      server.interpretability().last_activations();
  EXPECT_EQ(request.variants(0).adapter(), "models/m/adapters/c");
  EXPECT_THAT(request.capture().blocks(), ElementsAre(0, 1));
  EXPECT_EQ(request.capture().positions().range().end(), 3);
  EXPECT_EQ(request.capture().reduction(), v1::REDUCTION_MEAN);
  EXPECT_EQ(request.capture().dtype(), v1::DTYPE_BFLOAT16);
  EXPECT_EQ(request.generation().max_new_token_count(), 4);
}

TEST_F(ActivationsTest, GoesOnBehindTheLastInputWhenTheConnectionDrops) {
  FakeServer& server = StartWithModel();
  ASSERT_EQ(Run(Command("whole")).exit_code, 0);
  // An input is seven messages: the drops come inside the second and the
  // third one, the second of them before anything was complete.
  server.interpretability().BreakAfter({9, 3, 8});
  const CommandResult result = Run(Command("resumed"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(server.interpretability().cursors(),
              ElementsAre("", "", "1", "1", "2"));
  EXPECT_THAT(result.err, HasSubstr("lost the server; connecting again"));
  for (const std::string file :
       {"activations-00000.safetensors", "metadata.jsonl", "manifest.json"}) {
    EXPECT_EQ(ReadFile("resumed/" + file), ReadFile("whole/" + file)) << file;
  }
}

TEST_F(ActivationsTest, ShardsEndAtTheSizeThatIsAskedFor) {
  StartWithModel();
  // An input has two rows at two places: 48 bytes.
  ASSERT_EQ(Run(Command("acts", {"--shard-size", "50B"})).exit_code, 0);
  const nlohmann::json shards = Manifest("acts")["shards"];
  ASSERT_EQ(shards.size(), 2U);
  EXPECT_EQ(shards[0]["row_count"], 4);
  EXPECT_EQ(shards[1]["first_row"], 4);
  EXPECT_EQ(shards[1]["row_count"], 2);
}

TEST_F(ActivationsTest, RefusesAFolderWithFilesBeforeAnythingIsComputed) {
  FakeServer& server = StartWithModel();
  std::filesystem::create_directory(Path("acts"));
  WriteFile("acts/notes.txt", "mine");
  const CommandResult result = Run(Command("acts"));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr(Path("acts") + " is not empty"));
  EXPECT_TRUE(server.interpretability().cursors().empty());
  EXPECT_EQ(ReadFile("acts/notes.txt"), "mine");
}

TEST_F(ActivationsTest, CtrlCLeavesNothing) {
  StartWithModel().interpretability().Hang();
  // Small shards, so that some are in place when the stream is left.
  const auto process = Begin(Command("acts", {"--shard-size", "1"}));
  process->WaitForError("3/3 inputs");
  process->Signal(SIGINT);
  const CommandResult result = process->Finish();
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_THAT(result.err, HasSubstr("error: stopped"));
  EXPECT_FALSE(std::filesystem::exists(Path("acts")));
}

TEST_F(ActivationsTest, AnErrorLeavesAnEmptyFolderAsItWas) {
  FakeServer& server = StartWithModel();
  std::filesystem::create_directory(Path("acts"));
  server.FailWith({grpc::StatusCode::NOT_FOUND, "no such adapter"});
  EXPECT_EQ(Run(Command("acts")).exit_code, 3);
  EXPECT_TRUE(std::filesystem::is_empty(Path("acts")));
}

TEST_F(ActivationsTest, SaysWhenTheServerHadKeptTheAnswer) {
  StartWithModel();
  const std::string rows =
      WriteFile("kept.jsonl", "{\"id\": \"stored\", \"prompt\": \"x\"}\n");
  const CommandResult result =
      Run({"activations", "--model", "m", "--input", rows, "--sites", "logits",
           "--out", Path("acts"), "-o", "json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("nothing was computed again"));
  EXPECT_EQ(nlohmann::json::parse(result.out)["from_store"], true);
}

TEST_F(ActivationsTest, ADirectionIsTheUnitDifferenceOfMeans) {
  StartWithModel();
  ASSERT_EQ(Run(Command("a")).exit_code, 0);
  ASSERT_EQ(Run({"activations", "--model", "m", "--prompt", "x", "--sites",
                 "resid_post", "--out", Path("b"), "--shard-size", "1"})
                .exit_code,
            0);
  const CommandResult result =
      Run({"direction", "make", "--from", Path("a"), "--minus", Path("b"),
           "--place", "resid_post.1", "--out", Path("d.safetensors"), "-o",
           "json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json record = nlohmann::json::parse(result.out);
  EXPECT_EQ(record["place"], "blocks.1.resid_post");
  // Inputs 0, 1 and 2 against input 0: 100 more in each of three numbers.
  EXPECT_NEAR(record["difference_norm"].get<double>(), 100 * std::sqrt(3.0),
              1e-9);
  EXPECT_EQ(record["from_row_count"], 6);
  EXPECT_EQ(record["minus_row_count"], 2);
  const auto tensor = ReadTensor(Path("d.safetensors"), "");
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  const auto unit = static_cast<float>(1 / std::sqrt(3.0));
  EXPECT_EQ(tensor->data(), BytesOf(std::vector<float>{unit, unit, unit}));
  const std::string file = ReadFile("d.safetensors");
  EXPECT_THAT(file, HasSubstr("\"site\":\"resid_post\""));
  EXPECT_THAT(file, HasSubstr("\"block\":\"1\""));
}

TEST_F(ActivationsTest, ADirectionNamesWhatItCannotUse) {
  StartWithModel();
  ASSERT_EQ(Run(Command("a")).exit_code, 0);
  const auto error = [&](const std::string& from, const std::string& minus,
                         const std::string& place) {
    const CommandResult result =
        Run({"direction", "make", "--from", Path(from), "--minus", Path(minus),
             "--place", place, "--out", Path("d.safetensors")});
    EXPECT_NE(result.exit_code, 0);
    return result.err;
  };
  EXPECT_THAT(error("a", "absent", "resid_post.1"),
              HasSubstr("absent is no complete folder of activations"));
  EXPECT_THAT(error("a", "a", "resid_post.1"), HasSubstr("means are equal"));
  EXPECT_THAT(error("a", "a", "resid_post.4"), HasSubstr("no such tensor"));
  EXPECT_THAT(error("a", "a", "resid_post.0-1"), HasSubstr("one site in one"));
  EXPECT_FALSE(std::filesystem::exists(Path("d.safetensors")));
}

}  // namespace
}  // namespace dissonance
