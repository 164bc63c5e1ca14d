// Tokens: where their secrets go, and that none is ever lost or replaced.
#include <sys/stat.h>

#include "nlohmann/json.hpp"
#include "tests/client/cli_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class TokenTest : public CliTest {
 protected:
  mode_t ModeOf(const std::string& path) const {
    struct stat info = {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 07777;
  }
};

TEST_F(TokenTest, ANewTokensSecretGoesIntoAFileOfItsOwnersAlone) {
  FakeServer& server = StartServer();
  const CommandResult result =
      Run({"admin", "token", "create", "--user", "bob", "--scope", "read",
           "--expires", "30d", "--rate", "2.5", "--note", "cluster", "--out",
           Path("bob.token")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(ReadFile("bob.token"), "new-secret\n");
  EXPECT_EQ(ModeOf(Path("bob.token")), 0600U);
  EXPECT_THAT(result.out + result.err, Not(HasSubstr("new-secret")));
  EXPECT_EQ(result.out, "file   " + Path("bob.token") +
                            "\n"
                            "token  tokens/new\n"
                            "user   users/bob\n"
                            "scope  read\n"
                            "ends   1970-01-31 00:00:00\n"
                            "rate   2.5/s\n"
                            "note   cluster\n");
  const auto request = server.admin().log().Last<v1::CreateTokenRequest>();
  EXPECT_EQ(request.user(), "users/bob");
  EXPECT_EQ(request.scope(), v1::SCOPE_READ);
  EXPECT_EQ(request.lifetime().seconds(), 30 * 86400);
  EXPECT_EQ(request.calls_per_second(), 2.5);
  EXPECT_EQ(request.note(), "cluster");
}

TEST_F(TokenTest, WithoutAFileTheSecretAloneIsPrintedOnce) {
  FakeServer& server = StartServer();
  const CommandResult result = Run({"admin", "token", "create"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "new-secret\n");
  EXPECT_THAT(result.err,
              HasSubstr("note: this is the secret of tokens/new (users/ann, "
                        "scope run, ends: never); it is shown this once\n"));
  const auto request = server.admin().log().Last<v1::CreateTokenRequest>();
  EXPECT_EQ(request.scope(), v1::SCOPE_UNSPECIFIED);
  EXPECT_FALSE(request.has_lifetime());
  const auto json = nlohmann::json::parse(
      Run({"admin", "token", "create", "-o", "json"}).out);
  EXPECT_EQ(json["secret"], "new-secret");
  EXPECT_EQ(json["token"]["name"], "tokens/new");
}

TEST_F(TokenTest, AFileThatIsThereIsNeverReplaced) {
  FakeServer& server = StartServer();
  WriteFile("precious", "old\n");
  const CommandResult result =
      Run({"admin", "token", "create", "--out", Path("precious")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("is there already and is not replaced"));
  EXPECT_EQ(ReadFile("precious"), "old\n");
  EXPECT_TRUE(server.admin().log().All<v1::CreateTokenRequest>().empty());
}

TEST_F(TokenTest, NoTokenIsMadeForAFileThatCannotBeWritten) {
  FakeServer& server = StartServer();
  const CommandResult result =
      Run({"admin", "token", "create", "--out", Path("absent/token")});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr(Path("absent/token")));
  EXPECT_TRUE(server.admin().log().All<v1::CreateTokenRequest>().empty());
}

TEST_F(TokenTest, ARefusedTokenLeavesNoFile) {
  StartServer().FailWith({grpc::StatusCode::NOT_FOUND, "no such user"});
  EXPECT_EQ(Run({"admin", "token", "create", "--user", "x", "--out",
                 Path("folder.token")})
                .exit_code,
            3);
  for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
    EXPECT_THAT(entry.path().filename().string(),
                Not(HasSubstr("folder.token")));
  }
}

TEST_F(TokenTest, ASecretWhoseFileFailsIsPrintedRatherThanLost) {
  FakeServer& server = StartServer();
  std::filesystem::create_directories(Path("folder"));
  server.admin().OnNewToken(
      [&] { std::filesystem::remove_all(Path("folder")); });
  const CommandResult result =
      Run({"admin", "token", "create", "--out", Path("folder/token")});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_EQ(result.out, "new-secret\n");
  EXPECT_THAT(result.err, HasSubstr("cannot replace " + Path("folder/token")));
  EXPECT_THAT(result.err, HasSubstr("admin token revoke new"));
}

TEST_F(TokenTest, WrongSpansScopesAndRatesAreUsageErrors) {
  FakeServer& server = StartServer();
  for (const std::vector<std::string>& more :
       std::vector<std::vector<std::string>>{{"--expires", "soon"},
                                             {"--expires", "0d"},
                                             {"--scope", "root"},
                                             {"--rate", "-1"}}) {
    std::vector<std::string> words = {"admin", "token", "create"};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_EQ(Run(words).exit_code, 2) << ::testing::PrintToString(more);
  }
  EXPECT_TRUE(server.admin().log().All<v1::CreateTokenRequest>().empty());
}

TEST_F(TokenTest, ListsTokensWithTheirState) {
  FakeServer& server = StartServer();
  v1::Token token;
  token.set_name("tokens/aa");
  token.set_scope(v1::SCOPE_RUN);
  server.admin().AddToken(token);
  token.set_note("cluster");
  token.mutable_expire_time()->set_seconds(86400);
  server.admin().AddToken(token);
  token.mutable_revoke_time()->set_seconds(5);
  token.set_calls_per_second(10);
  server.admin().AddToken(token);
  EXPECT_EQ(Run({"admin", "token", "list", "--user", "bob"}).out,
            "CREATED  SCOPE  STATE    ENDS                 RATE  NOTE     "
            "TOKEN\n"
            "-        run    valid    never                   -  -        aa\n"
            "-        run    expired  1970-01-02 00:00:00     -  cluster  aa\n"
            "-        run    revoked  1970-01-02 00:00:00  10/s  cluster  "
            "aa\n");
  EXPECT_EQ(server.admin().log().Last<v1::ListTokensRequest>().user(),
            "users/bob");
}

TEST_F(TokenTest, RotatingOnesOwnTokenReplacesTheTokenFileInUse) {
  FakeServer& server = StartServer();
  server.admin().OnNewToken([&] { server.SetToken("new-secret"); });
  const CommandResult result =
      Run({"admin", "token", "rotate", "--overlap", "1d"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(ReadFile("owner.token"), "new-secret\n");
  EXPECT_EQ(ModeOf(Path("owner.token")), 0600U);
  EXPECT_THAT(result.out + result.err, Not(HasSubstr("new-secret")));
  const auto request = server.admin().log().Last<v1::RotateTokenRequest>();
  EXPECT_EQ(request.name(), "");
  EXPECT_EQ(request.overlap().seconds(), 86400);
  EXPECT_EQ(Run({"models", "list"}).exit_code, 0);
}

TEST_F(TokenTest, RotatingKeepsALinkToTheTokenFile) {
  StartServer();
  const std::string kept = WriteFile("kept.token", "secret\n");
  std::filesystem::create_symlink(kept, Path("link.token"));
  EXPECT_EQ(
      Run({"admin", "token", "rotate", "--token-file", Path("link.token")})
          .exit_code,
      0);
  EXPECT_EQ(ReadFile("kept.token"), "new-secret\n");
  EXPECT_TRUE(std::filesystem::is_symlink(Path("link.token")));
}

TEST_F(TokenTest, RotatingATokenByItsNameKnowsOnesOwn) {
  FakeServer& server = StartServer();
  EXPECT_EQ(Run({"admin", "token", "rotate", "own"}).exit_code, 0);
  EXPECT_EQ(ReadFile("owner.token"), "new-secret\n");
  WriteFile("owner.token", "secret\n");
  const CommandResult other = Run({"admin", "token", "rotate", "other"});
  EXPECT_EQ(other.out, "new-secret\n");
  EXPECT_EQ(ReadFile("owner.token"), "secret\n");
  EXPECT_EQ(server.admin().log().Last<v1::RotateTokenRequest>().name(),
            "tokens/other");
}

TEST_F(TokenTest, ATokenOfTheEnvironmentIsRotatedOntoStandardOutput) {
  StartServer();
  WriteFile("owner.token", "another\n");
  environment_["DISSONANCE_TOKEN"] = "secret";
  EXPECT_EQ(Run({"admin", "token", "rotate"}).out, "new-secret\n");
  EXPECT_EQ(ReadFile("owner.token"), "another\n");
  EXPECT_EQ(Run({"admin", "token", "rotate", "--out", Path("new")}).exit_code,
            0);
  EXPECT_EQ(ReadFile("new"), "new-secret\n");
}

TEST_F(TokenTest, AFailedRotationLeavesTheTokenFileAsItWas) {
  StartServer().FailWith({grpc::StatusCode::INTERNAL, "no"});
  EXPECT_EQ(Run({"admin", "token", "rotate"}).exit_code, 1);
  EXPECT_EQ(ReadFile("owner.token"), "secret\n");
  std::filesystem::remove(Path("owner.token"));
  EXPECT_EQ(Run({"admin", "token", "rotate"}).exit_code, 4);
}

TEST_F(TokenTest, RevokesAToken) {
  FakeServer& server = StartServer();
  EXPECT_EQ(Run({"admin", "token", "revoke", "tokens/aa"}).out,
            "revoked tokens/aa\n");
  EXPECT_EQ(Run({"admin", "token", "revoke", "aa"}).exit_code, 0);
  EXPECT_EQ(server.admin().log().Last<v1::RevokeTokenRequest>().name(),
            "tokens/aa");
  EXPECT_EQ(Run({"admin", "token", "revoke"}).exit_code, 2);
}

}  // namespace
}  // namespace dissonance
