// Storing files on the server, sharing, pinning and giving them up.
#include "nlohmann/json.hpp"
#include "src/base/sha256.h"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kMiB = 1 << 20;

class UploadTest : public CliTest {
 protected:
  // Three and a half pieces that all differ.
  UploadTest() {
    for (int i = 0; i < 7 * kMiB / 2; ++i) {
      contents_ += static_cast<char>(i * 31 + i / kMiB);
    }
    path_ = WriteFile("weights.bin", contents_);
    name_ = "artifacts/" + Sha256Of(contents_);
  }

  // Where each upload began.
  std::vector<int64_t> Offsets() {
    std::vector<int64_t> offsets;
    for (const v1::WriteArtifactRequest& first :
         server_->artifacts().log().All<v1::WriteArtifactRequest>()) {
      offsets.push_back(first.offset_bytes());
    }
    return offsets;
  }

  std::string contents_;
  std::string path_;
  std::string name_;
};

TEST_F(UploadTest, StoresAFileInPiecesAndPrintsItsName) {
  FakeServer& server = StartServer();
  const CommandResult result = Run({"artifacts", "put", path_});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, name_ + "\n");
  EXPECT_THAT(result.err, HasSubstr("progress: 4/4 MiB"));
  EXPECT_EQ(server.artifacts().contents(name_), contents_);
  EXPECT_EQ(server.artifacts().largest_piece(), size_t{kMiB});
  const auto first = server.artifacts().log().Last<v1::WriteArtifactRequest>();
  EXPECT_EQ(first.size_bytes(), static_cast<int64_t>(contents_.size()));
  EXPECT_EQ(first.media_type(), "application/octet-stream");
}

TEST_F(UploadTest, TakesTheMediaTypeFromTheNameOrTheOption) {
  FakeServer& server = StartServer();
  const std::string rows = WriteFile("rows.jsonl", "{}\n");
  EXPECT_EQ(Run({"artifacts", "put", rows}).err, "");
  EXPECT_EQ(
      server.artifacts().log().Last<v1::WriteArtifactRequest>().media_type(),
      "application/jsonl");
  const std::string other = WriteFile("other.jsonl", "[]\n");
  Run({"artifacts", "put", other, "--media-type", "text/x"});
  EXPECT_EQ(
      server.artifacts().log().Last<v1::WriteArtifactRequest>().media_type(),
      "text/x");
}

TEST_F(UploadTest, GoesOnWhereALostConnectionLeftIt) {
  FakeServer& server = StartServer();
  server.artifacts().BreakUploads(2, kMiB);
  const CommandResult result = Run({"artifacts", "put", path_});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(server.artifacts().contents(name_), contents_);
  EXPECT_THAT(Offsets(), ElementsAre(0, kMiB, 2 * kMiB));
  EXPECT_THAT(result.err, HasSubstr("sending on from what it has"));
}

TEST_F(UploadTest, GivesUpAfterAFewTriesThatBringNothing) {
  FakeServer& server = StartServer();
  server.artifacts().BreakUploads(1000, 0);
  server.artifacts().ForgetUploads();
  const CommandResult result = Run({"artifacts", "put", path_});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("the same command goes on from there"));
  EXPECT_EQ(Offsets().size(), 5U);
}

TEST_F(UploadTest, SendsNothingThatTheServerHas) {
  FakeServer& server = StartServer();
  server.artifacts().Add(contents_);
  const CommandResult result = Run({"artifacts", "put", path_});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, name_ + "\n");
  EXPECT_THAT(Offsets(), ElementsAre());
}

TEST_F(UploadTest, StoresAFileWithoutBytes) {
  FakeServer& server = StartServer();
  const CommandResult result =
      Run({"artifacts", "put", WriteFile("empty", "")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "artifacts/" + Sha256Of("") + "\n");
  EXPECT_THAT(Offsets(), ElementsAre(0));
  EXPECT_EQ(server.artifacts().contents("artifacts/" + Sha256Of("")), "");
}

TEST_F(UploadTest, SharesWhatItStores) {
  StartServer();
  const CommandResult result =
      Run({"artifacts", "put", path_, "--share", "-o", "json"});
  EXPECT_EQ(nlohmann::json::parse(result.out)["visibility"], "lab");
}

TEST_F(UploadTest, ARefusalIsNotTriedAgain) {
  FakeServer& server = StartServer();
  server.artifacts().RefuseUploads(
      {grpc::StatusCode::RESOURCE_EXHAUSTED, "users/ann: 1 GiB of 1 GiB"});
  const CommandResult result = Run({"artifacts", "put", path_});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("error: users/ann: 1 GiB of 1 GiB\n"));
  EXPECT_EQ(server.artifacts().log().All<v1::GetUploadRequest>().size(), 1U);
}

TEST_F(UploadTest, WhatIsNoFileIsNamed) {
  StartServer();
  EXPECT_EQ(Run({"artifacts", "put", Path("absent")}).exit_code, 3);
  const CommandResult folder = Run({"artifacts", "put", directory_});
  EXPECT_EQ(folder.exit_code, 1);
  EXPECT_THAT(folder.err, HasSubstr(directory_ + " is not a regular file"));
  EXPECT_EQ(Run({"artifacts", "put"}).exit_code, 2);
}

TEST_F(CliTest, ArtifactsAreSharedPinnedAndGivenUp) {
  FakeServer& server = StartServer();
  const std::string name = server.artifacts().Add("abc");
  const std::string hex = name.substr(name.find(':') + 1);
  const auto show = [&] { return Run({"artifacts", "show", hex}).out; };
  EXPECT_EQ(show(), "name        " + name +
                        "\n"
                        "size        3 B\n"
                        "type        text/plain\n"
                        "created     -\n"
                        "visibility  private\n"
                        "pinned      no\n"
                        "owned       yes\n");
  EXPECT_EQ(Run({"artifacts", "share", hex}).exit_code, 0);
  EXPECT_EQ(Run({"artifacts", "pin", name}).exit_code, 0);
  EXPECT_THAT(show(), HasSubstr("visibility  lab\npinned      yes\n"));
  EXPECT_EQ(Run({"artifacts", "list"}).out,
            "CREATED  SIZE  TYPE        VISIBILITY  PINNED  OWNED  ARTIFACT\n"
            "-         3 B  text/plain  lab         yes     yes    sha256:" +
                hex + "\n");
  EXPECT_EQ(Run({"artifacts", "pin", name, "--off"}).exit_code, 0);
  EXPECT_THAT(show(), HasSubstr("visibility  lab\npinned      no\n"));
  EXPECT_EQ(Run({"artifacts", "share", name, "--private"}).exit_code, 0);
  EXPECT_THAT(show(), HasSubstr("visibility  private\n"));
  EXPECT_EQ(Run({"artifacts", "delete", hex}).out, "deleted " + name + "\n");
  EXPECT_EQ(Run({"artifacts", "show", hex}).exit_code, 3);
  for (const char* verb : {"share", "pin", "delete"}) {
    EXPECT_EQ(Run({"artifacts", verb, hex}).exit_code, 3) << verb;
    EXPECT_EQ(Run({"artifacts", verb}).exit_code, 2) << verb;
  }
}

TEST_F(CliTest, ModelsAndAdaptersAreSharedAndTakenBack) {
  FakeServer& server = StartServer();
  server.AddModel("m", 1);
  server.AddAdapter("m", "a");
  EXPECT_THAT(Run({"models", "share", "m", "--private"}).out,
              HasSubstr("visibility     private\n"));
  EXPECT_THAT(Run({"models", "share", "m"}).out,
              HasSubstr("owner          users/ann\nvisibility     lab\n"));
  EXPECT_THAT(Run({"adapters", "share", "a", "--model", "m"}).out,
              HasSubstr("visibility  lab\n"));
  EXPECT_THAT(
      Run({"adapters", "share", "models/m/adapters/a", "--private"}).out,
      HasSubstr("visibility  private\n"));
  EXPECT_EQ(Run({"adapters", "share", "a"}).exit_code, 2);
  EXPECT_EQ(Run({"models", "share", "ghost"}).exit_code, 3);
}

TEST_F(CliTest, LoadingAndRegisteringShareOnlyWhenAsked) {
  FakeServer& server = StartServer();
  Run({"models", "load", "d", "--name", "m"});
  EXPECT_EQ(server.log().Last<v1::LoadModelRequest>().visibility(),
            v1::VISIBILITY_UNSPECIFIED);
  Run({"models", "load", "d", "--name", "m", "--share"});
  EXPECT_EQ(server.log().Last<v1::LoadModelRequest>().visibility(),
            v1::VISIBILITY_LAB);
  Run({"adapters", "register", "d", "--model", "m", "--name", "a"});
  EXPECT_EQ(server.log().Last<v1::RegisterAdapterRequest>().visibility(),
            v1::VISIBILITY_UNSPECIFIED);
  Run({"adapters", "register", "d", "--model", "m", "--name", "a", "--share"});
  EXPECT_EQ(server.log().Last<v1::RegisterAdapterRequest>().visibility(),
            v1::VISIBILITY_LAB);
}

TEST_F(CliTest, AnAdapterIsUploadedForAServerElsewhere) {
  FakeServer& server = StartServer();
  std::filesystem::create_directories(Path("lora"));
  WriteFile("lora/adapter_config.json", "{}");
  WriteFile("lora/adapter_model.safetensors", "weights");
  const CommandResult result = Run({"adapters", "register", Path("lora"),
                                    "--model", "m", "--name", "a", "--upload"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto request = server.log().Last<v1::RegisterAdapterRequest>();
  EXPECT_EQ(request.path(), "");
  EXPECT_EQ(server.artifacts().contents(request.artifacts().config()), "{}");
  EXPECT_EQ(server.artifacts().contents(request.artifacts().weights()),
            "weights");
  EXPECT_THAT(result.out, HasSubstr("weights     artifacts/sha256:"));
}

TEST_F(CliTest, AnAdapterFolderWithoutSafetensorsIsNotUploaded) {
  FakeServer& server = StartServer();
  std::filesystem::create_directories(Path("lora"));
  WriteFile("lora/adapter_config.json", "{}");
  const CommandResult result = Run({"adapters", "register", Path("lora"),
                                    "--model", "m", "--name", "a", "--upload"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("lora/adapter_model.safetensors"));
  EXPECT_THAT(result.err, HasSubstr("safe_serialization=True"));
  EXPECT_TRUE(server.artifacts().log().All<v1::WriteArtifactRequest>().empty());
}

}  // namespace
}  // namespace dissonance
