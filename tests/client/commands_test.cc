// Every command but the long ones: what it sends, prints and ends with.
#include "nlohmann/json.hpp"
#include "src/base/sha256.h"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(CliTest, ListsModelsOfAllPagesAsAnAlignedTable) {
  FakeServer& server = StartServer();
  server.AddModel("big", 8'030'000'000);
  server.AddModel("tiny", 12'345);
  const CommandResult result = Run({"models", "list"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(
      result.out,
      "NAME  ARCHITECTURE      DTYPE    DEVICE  PARAMETERS  BLOCKS  RESIDENT"
      "  OWNER  VISIBILITY\n"
      "big   LlamaForCausalLM  float32  cpu         8.03 B       6  29.9 GiB"
      "  ann    lab\n"
      "tiny  LlamaForCausalLM  float32  cpu         12,345       6  48.2 KiB"
      "  ann    lab\n");
}

TEST_F(CliTest, PrintsExactNumbersInJson) {
  StartServer().AddModel("big", 8'030'261'248);
  const CommandResult json = Run({"models", "list", "-o", "json"});
  const auto list = nlohmann::json::parse(json.out);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0]["name"], "models/big");
  EXPECT_EQ(list[0]["parameter_count"], 8'030'261'248);
  EXPECT_EQ(list[0]["dtype"], "float32");
  EXPECT_EQ(list[0]["tokenizer_digest"], "");
  const CommandResult lines = Run({"-o", "jsonl", "models", "list"});
  EXPECT_EQ(nlohmann::json::parse(lines.out), list[0]);
  EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), 1);
}

TEST_F(CliTest, TakesShortAndFullNames) {
  FakeServer& server = StartServer();
  server.AddModel("tiny", 1);
  server.AddAdapter("tiny", "cubic");
  EXPECT_EQ(Run({"models", "show", "tiny"}).exit_code, 0);
  EXPECT_EQ(Run({"models", "show", "models/tiny"}).exit_code, 0);
  EXPECT_THAT(Run({"adapters", "show", "cubic", "--model", "tiny"}).out,
              HasSubstr("models/tiny/adapters/cubic"));
  EXPECT_EQ(Run({"adapters", "show", "models/tiny/adapters/cubic"}).exit_code,
            0);
  const CommandResult bare = Run({"adapters", "show", "cubic"});
  EXPECT_EQ(bare.exit_code, 2);
  EXPECT_THAT(bare.err, HasSubstr("add --model MODEL"));
}

TEST_F(CliTest, ListsTheAdaptersOfEveryModel) {
  FakeServer& server = StartServer();
  server.AddModel("a", 1);
  server.AddModel("b", 1);
  server.AddAdapter("a", "one");
  server.AddAdapter("b", "two");
  EXPECT_EQ(Run({"adapters", "list"}).out,
            "MODEL  NAME  RANK  MODULES  TARGETS  RESIDENT  OWNER  "
            "VISIBILITY\n"
            "a      one      8        0  q_proj    2.0 KiB  ann    private\n"
            "b      two      8        0  q_proj    2.0 KiB  ann    private\n");
  EXPECT_THAT(Run({"adapters", "list", "--model", "b"}).out,
              Not(HasSubstr("one")));
}

TEST_F(CliTest, SendsAbsolutePaths) {
  FakeServer& server = StartServer();
  const std::string here = std::filesystem::current_path();
  EXPECT_EQ(Run({"models", "load", "weights/../m/", "--name", "tiny", "--dtype",
                 "bfloat16"})
                .exit_code,
            0);
  EXPECT_EQ(server.log().Last<v1::LoadModelRequest>().path(), here + "/m");
  EXPECT_EQ(server.log().Last<v1::LoadModelRequest>().name(), "models/tiny");
  EXPECT_EQ(server.log().Last<v1::LoadModelRequest>().dtype(),
            v1::DTYPE_BFLOAT16);
}

TEST_F(CliTest, SaysHowToStartAServerWhenNoneAnswers) {
  const CommandResult result = Run({"models", "list"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, StartsWith("error: no server answers at unix:" +
                                     directory_ + "/dissonance.sock\n"));
  EXPECT_THAT(result.err, HasSubstr("dissonance server start"));
}

TEST_F(CliTest, AWrongServerAddressIsNamed) {
  EXPECT_THAT(Run({"--server", "127.0.0.1:1", "models", "list"}).err,
              HasSubstr("no server answers at 127.0.0.1:1"));
  const CommandResult bad = Run({"models", "list", "--server", "nowhere"});
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_THAT(bad.err, HasSubstr("neither HOST:PORT nor unix:/PATH"));
}

TEST_F(CliTest, AnUnknownObjectEndsWithThree) {
  StartServer();
  const CommandResult result = Run({"models", "show", "ghost"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.err, "error: models/ghost does not exist\n");
}

TEST_F(CliTest, AWrongOrMissingTokenEndsWithFour) {
  StartServer();
  environment_["DISSONANCE_TOKEN"] = "wrong";
  const CommandResult wrong = Run({"models", "list"});
  EXPECT_EQ(wrong.exit_code, 4);
  EXPECT_THAT(wrong.err, HasSubstr("it came from DISSONANCE_TOKEN"));
  environment_.erase("DISSONANCE_TOKEN");
  std::filesystem::remove(Path("owner.token"));
  const CommandResult missing = Run({"models", "list"});
  EXPECT_EQ(missing.exit_code, 4);
  EXPECT_THAT(missing.err, HasSubstr("no token was found"));
}

TEST_F(CliTest, FindsTheTokenInAFileThatIsNamed) {
  StartServer();
  std::filesystem::remove(Path("owner.token"));
  const std::string token = WriteFile("my.token", "secret\n");
  EXPECT_EQ(Run({"models", "list", "--token-file", token}).exit_code, 0);
  const CommandResult absent =
      Run({"models", "list", "--token-file", Path("absent")});
  EXPECT_EQ(absent.exit_code, 3);
  EXPECT_THAT(absent.err, HasSubstr(Path("absent")));
}

TEST_F(CliTest, TakesServerAndTokenFromAProfile) {
  StartServer();
  const std::string token = WriteFile("lab.token", "secret");
  std::filesystem::create_directories(Path("home/.config/dissonance"));
  WriteFile("home/.config/dissonance/config.toml",
            "[profiles.lab]\nserver = \"unix:" + Path("dissonance.sock") +
                "\"\ntoken_file = \"" + token + "\"\n");
  environment_.erase("DISSONANCE_DATA_DIR");
  EXPECT_EQ(Run({"models", "list", "--profile", "lab"}).exit_code, 0);
  const CommandResult unknown = Run({"models", "list", "--profile", "home"});
  EXPECT_EQ(unknown.exit_code, 3);
  EXPECT_THAT(unknown.err, HasSubstr("no table [profiles.home] in"));
}

TEST_F(CliTest, ADataDirectoryThatIsNamedOutranksTheDefaultProfile) {
  StartServer();
  std::filesystem::create_directories(Path("home/.config/dissonance"));
  WriteFile("home/.config/dissonance/config.toml",
            "default_profile = \"lab\"\n[profiles.lab]\n"
            "server = \"127.0.0.1:1\"\ntoken_file = \"/absent\"\n");
  EXPECT_EQ(Run({"models", "list"}).exit_code, 0);
  environment_.erase("DISSONANCE_DATA_DIR");
  EXPECT_EQ(Run({"models", "list", "--data-dir", directory_}).exit_code, 0);
  EXPECT_THAT(Run({"models", "list"}).err,
              HasSubstr("no server answers at 127.0.0.1:1"));
}

TEST_F(CliTest, ABadProfileIsNamedWithItsLine) {
  std::filesystem::create_directories(Path("home/.config/dissonance"));
  WriteFile("home/.config/dissonance/config.toml",
            "default_profile = \"lab\"\n[profiles.lab]\nsevrer = \"x:1\"\n");
  const CommandResult result = Run({"models", "list"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("config.toml:3: sevrer is not a key"));
}

TEST_F(CliTest, AProfilesCertificateAndKeyComeTogether) {
  std::filesystem::create_directories(Path("home/.config/dissonance"));
  const std::string head = "default_profile = \"lab\"\n[profiles.lab]\n";
  WriteFile("home/.config/dissonance/config.toml",
            head + "tls_certificate_file = \"a.pem\"\n");
  const CommandResult no_key = Run({"models", "list"});
  EXPECT_EQ(no_key.exit_code, 1);
  EXPECT_THAT(no_key.err, HasSubstr("config.toml:2: this profile has "
                                    "tls_certificate_file and no "
                                    "tls_key_file"));
  WriteFile("home/.config/dissonance/config.toml",
            head + "tls_key_file = \"a.key\"\n");
  EXPECT_THAT(Run({"models", "list"}).err,
              HasSubstr("tls_key_file and no tls_certificate_file"));
}

TEST_F(CliTest, UsageErrorsEndWithTwoAndNameTheHelp) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{
           {},
           {"modles"},
           {"models"},
           {"models", "show"},
           {"models", "load", "d", "--name", "m", "--dtype", "int3"},
           {"models", "list", "-o", "xml"}}) {
    const CommandResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 2) << ::testing::PrintToString(arguments);
    EXPECT_THAT(result.err, HasSubstr("--help'"));
    EXPECT_EQ(result.out, "");
  }
  EXPECT_THAT(Run({"models", "show"}).err,
              HasSubstr("see 'dissonance models show --help'"));
}

TEST_F(CliTest, HelpAndVersionGoToStandardOutput) {
  const CommandResult help = Run({"eval", "mcq", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("--mc-dropout"));
  const CommandResult version = Run({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.out, StartsWith("dissonance 0."));
}

TEST_F(CliTest, ServerErrorsEndWithOneAndShowTheirDetails) {
  FakeServer& server = StartServer();
  // google.rpc.Status{details: Any{BadRequest{field_violations:
  // {"variants[0].model", "must be set"}}}}, in its wire form.
  const std::string violation = "\x0A\x11variants[0].model\x12\x0Bmust be set";
  const std::string bad_request =
      "\x0A" + std::string(1, static_cast<char>(violation.size())) + violation;
  const std::string url = "type.googleapis.com/google.rpc.BadRequest";
  const std::string any =
      "\x0A" + std::string(1, static_cast<char>(url.size())) + url + "\x12" +
      std::string(1, static_cast<char>(bad_request.size())) + bad_request;
  const std::string details =
      "\x1A" + std::string(1, static_cast<char>(any.size())) + any;
  server.FailWith({grpc::StatusCode::INVALID_ARGUMENT, "bad request", details});
  const CommandResult result = Run({"models", "list"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.err,
            "error: bad request\n  variants[0].model: must be set\n");
}

TEST_F(CliTest, ShowsTheServersState) {
  StartServer();
  const CommandResult result = Run({"server", "status"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("workers/local  ready  cpu  process 42"));
  EXPECT_THAT(result.out, HasSubstr("waits for: Resources"));
  EXPECT_EQ(
      nlohmann::json::parse(
          Run({"server", "status", "-o", "json"}).out)["workers"][0]["pid"],
      42);
}

TEST_F(CliTest, TokenizesTextFilesAndStandardInput) {
  StartServer();
  EXPECT_EQ(Run({"tokenize", "--model", "m", "hi"}).out,
            "INDEX   ID  PIECE\n"
            "    0    1  <s>\n"
            "    1  104  h\n"
            "    2  105  i\n");
  const std::string file = WriteFile("text", "h");
  EXPECT_EQ(Run({"tokenize", "--model", "m", "--file", file, "-o", "jsonl",
                 "--no-special-tokens"})
                .out,
            "{\"ids\":[104],\"pieces\":[\"h\"]}\n");
  EXPECT_THAT(
      Run({"tokenize", "--model", "m", "--file", "-", "-o", "jsonl"}, "h").out,
      HasSubstr("[1,104]"));
  EXPECT_EQ(Run({"tokenize", "--model", "m"}).exit_code, 2);
}

TEST_F(CliTest, DetokenizesIds) {
  StartServer();
  EXPECT_EQ(Run({"detokenize", "--model", "m", "104,105"}).out, "hi\n");
  EXPECT_EQ(Run({"detokenize", "--model", "m", "--tokens", "104"}).out, "h\n");
  EXPECT_EQ(Run({"detokenize", "--model", "m", "x"}).exit_code, 2);
}

TEST_F(CliTest, RendersAChat) {
  StartServer();
  const std::string chat =
      WriteFile("chat.json", R"([{"role": "user", "content": "hi"}])");
  EXPECT_EQ(Run({"chat", "render", "--model", "m", "--chat", chat,
                 "--add-generation-prompt"})
                .out,
            "<user>hi\n<assistant>\n");
  const std::string wrong = WriteFile("bad.json", R"([{"role": "user"}])");
  const CommandResult bad =
      Run({"chat", "render", "--model", "m", "--chat", wrong});
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_THAT(bad.err, HasSubstr("bad.json[0].content: missing"));
}

TEST_F(CliTest, ScoresRowsAsJsonLines) {
  FakeServer& server = StartServer();
  server.AddModel("m", 1);
  const std::string rows = WriteFile(
      "rows.jsonl",
      R"({"id": "q1", "prompt": "The sky is", "continuations": [" blue", " é"]})"
      "\n\n"
      R"({"id": 7, "tokens": [1, 2], "continuations": [{"tokens": [9]}]})"
      "\n");
  const CommandResult result =
      Run({"score", "--model", "m", "--adapter", "a", "--input", rows});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(
      result.out,
      R"({"continuations":[{"bytes":5,"logprob":-0.5,"text":" blue",)"
      R"("token_logprobs":[-0.5],"tokens":[40]},)"
      R"({"bytes":3,"logprob":-1.5,"text":" é","token_logprobs":[-1.5],)"
      R"("tokens":[41]}],"id":"q1","prompt_tokens":3})"
      "\n"
      R"({"continuations":[{"bytes":null,"logprob":-0.5,"text":null,)"
      R"("token_logprobs":[-0.5],"tokens":[40]}],"id":7,"prompt_tokens":3})"
      "\n");
  EXPECT_EQ(server.inference().last_score().variants(0).adapter(),
            "models/m/adapters/a");
  EXPECT_EQ(server.inference().last_score().items(1).prompt().tokens().ids(1),
            2);
}

TEST_F(CliTest, ScoresWithInterventions) {
  FakeServer& server = StartServer();
  const CommandResult result = Run(
      {"score", "--model", "m", "--zero", "z.0.h1:last_prompt", "--input", "-"},
      R"({"prompt": "a", "continuations": ["b"]})");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(server.inference().last_score().variants(0).interventions(0).head(),
            1);
}

TEST_F(CliTest, ScoreAsksAgainWhileTheWorkerIsRestarted) {
  StartServer().FailWith({grpc::StatusCode::UNAVAILABLE, "no worker"}, 2);
  const CommandResult result =
      Run({"score", "--model", "m", "--input", "-"},
          R"({"prompt": "a", "continuations": ["b"]})");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("\"logprob\":-0.5"));
}

TEST_F(CliTest, ScoreNamesFileAndLineOfABadRow) {
  StartServer();
  const std::string rows = WriteFile(
      "rows.jsonl",
      "{\"prompt\": \"a\", \"continuations\": [\"b\"]}\n"
      "{\"prompt\": \"a\", \"tokens\": [1], \"continuations\": [\"b\"]}\n");
  const CommandResult result = Run({"score", "--model", "m", "--input", rows});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err,
              HasSubstr("rows.jsonl:2: has both prompt and tokens"));
  EXPECT_EQ(result.out, "");
}

TEST_F(CliTest, FetchesAnArtifactWholeAndChecked) {
  FakeServer& server = StartServer();
  const std::string contents(1000, 'x');
  const std::string name = server.artifacts().Add(contents);
  EXPECT_EQ(Run({"artifacts", "get", name}).out, contents);
  EXPECT_EQ(Run({"artifacts", "get", name.substr(name.find(':') + 1), "--out",
                 Path("copy")})
                .exit_code,
            0);
  EXPECT_EQ(ReadFile("copy"), contents);
  EXPECT_EQ(Run({"artifacts", "get", "sha256:00"}).exit_code, 3);
}

TEST_F(CliTest, RefusesAnArtifactWhoseBytesChanged) {
  FakeServer& server = StartServer();
  const std::string name = server.artifacts().Add("right");
  server.artifacts().Damage(name, "wrong");
  const CommandResult result =
      Run({"artifacts", "get", name, "--out", Path("copy")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("have the digest " + Sha256Of("wrong")));
  EXPECT_FALSE(std::filesystem::exists(Path("copy")));
}

TEST_F(CliTest, CompletionScriptsCompleteNounsVerbsAndOptions) {
  const CommandResult script = Run({"completion", "bash"});
  EXPECT_EQ(script.exit_code, 0);
  const std::string file = WriteFile("completion.bash", script.out);
  const auto complete = [&](const std::string& words, int index) {
    return Subprocess({"/bin/bash", "-c",
                       "source " + file + "; COMP_WORDS=(" + words +
                           "); COMP_CWORD=" + std::to_string(index) +
                           "; _dissonance; echo ${COMPREPLY[@]}"},
                      environment_)
        .Finish()
        .out;
  };
  EXPECT_EQ(complete("dissonance mod", 1), "models\n");
  EXPECT_EQ(complete("dissonance models l", 2), "load list\n");
  EXPECT_EQ(complete("dissonance models load --dt", 3), "--dtype\n");
  EXPECT_EQ(complete("dissonance models list -o j", 4), "json jsonl\n");
  EXPECT_THAT(Run({"completion", "zsh"}).out, StartsWith("#compdef"));
  EXPECT_THAT(Run({"completion", "fish"}).out,
              HasSubstr("complete -c dissonance"));
}

TEST_F(CliTest, NamesAnUnknownCommandAndTheOnesThereAre) {
  const CommandResult top = Run({"modles"});
  EXPECT_EQ(top.exit_code, 2);
  EXPECT_THAT(top.err, HasSubstr("there is no command 'dissonance modles'; "
                                 "choose from "));
  EXPECT_THAT(top.err, HasSubstr("models"));
  const CommandResult nested = Run({"eval", "mqc"});
  EXPECT_EQ(nested.exit_code, 2);
  EXPECT_THAT(nested.err,
              HasSubstr("there is no command 'dissonance eval mqc'; "
                        "choose from mcq, open, hosted, compare, judge\n"
                        "  see 'dissonance eval --help'"));
  const CommandResult none = Run({"eval"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("'dissonance eval' needs a command"));
}

TEST_F(CliTest, OutputThatCannotBeWrittenIsAFailure) {
  StartServer().AddModel("m", 1);
  const CommandResult result =
      Subprocess({"/bin/bash", "-c", program_ + " models list > /dev/full"},
                 environment_)
          .Finish();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("cannot write all of the output"));
}

}  // namespace
}  // namespace dissonance
