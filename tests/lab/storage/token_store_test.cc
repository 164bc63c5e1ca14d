#include "src/lab/storage/token_store.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/base/sha256.h"
#include "src/lab/storage/connection.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class FakeClock : public Clock {
 public:
  absl::Time Now() const override { return now; }
  absl::Duration Monotonic() const override { return absl::ZeroDuration(); }
  absl::Time now = absl::FromUnixSeconds(1'000'000);
};

class TokenStoreTest : public ::testing::Test {
 protected:
  TempFolder dir_;
  FakeClock clock_;
  std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  TokenStore tokens_{*database_, clock_};
};

TEST_F(TokenStoreTest, MakesTheOwnersTokenOnce) {
  std::string secret;
  const auto keep = [&](absl::string_view text) {
    secret = std::string(text);
    return absl::OkStatus();
  };
  ASSERT_TRUE(tokens_.EnsureOwner(keep).ok());
  EXPECT_GE(secret.size(), 64U);
  const std::string first = secret;
  ASSERT_TRUE(tokens_.EnsureOwner(keep).ok());
  EXPECT_EQ(secret, first);
  const auto owner = tokens_.Authenticate(first);
  ASSERT_TRUE(owner.ok()) << owner.status();
  EXPECT_EQ(owner->user, kOwnerUser);
  EXPECT_EQ(owner->scope, TokenScope::kAdmin);
  EXPECT_EQ(owner->token_digest, Sha256Of(first));
}

TEST_F(TokenStoreTest, MakesNoOwnerIfTheSecretCannotBeWritten) {
  std::string lost;
  EXPECT_EQ(tokens_
                .EnsureOwner([&](absl::string_view text) {
                  lost = std::string(text);
                  return absl::ResourceExhaustedError("disk full");
                })
                .code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(tokens_.Authenticate(lost).ok());
  bool written = false;
  EXPECT_TRUE(tokens_
                  .EnsureOwner([&](absl::string_view) {
                    written = true;
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_TRUE(written);
}

TEST_F(TokenStoreTest, RefusesUnknownExpiredAndRevokedTokens) {
  ASSERT_TRUE(tokens_.CreateUser("ada").ok());
  const auto secret =
      tokens_.CreateToken("ada", TokenScope::kRun, clock_.now + absl::Hours(1));
  ASSERT_TRUE(secret.ok()) << secret.status();
  ASSERT_TRUE(tokens_.Authenticate(*secret).ok());
  const absl::Status unknown = tokens_.Authenticate(*secret + "x").status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(unknown.message(), Not(HasSubstr(*secret)));
  clock_.now += absl::Hours(1);
  EXPECT_THAT(tokens_.Authenticate(*secret).status().message(),
              HasSubstr("expired"));
  const auto lasting =
      tokens_.CreateToken("ada", TokenScope::kRead, absl::InfiniteFuture());
  ASSERT_TRUE(lasting.ok());
  ASSERT_TRUE(tokens_.Revoke(Sha256Of(*lasting)).ok());
  EXPECT_TRUE(tokens_.Revoke(Sha256Of(*lasting)).ok());
  EXPECT_THAT(tokens_.Authenticate(*lasting).status().message(),
              HasSubstr("revoked"));
  EXPECT_EQ(tokens_.Revoke("sha256:00").code(), absl::StatusCode::kNotFound);
}

TEST_F(TokenStoreTest, KeepsNoSecretInTheDatabase) {
  ASSERT_TRUE(tokens_.CreateUser("ada").ok());
  const auto secret =
      tokens_.CreateToken("ada", TokenScope::kRun, absl::InfiniteFuture());
  ASSERT_TRUE(secret.ok());
  ASSERT_TRUE(database_
                  ->Read([&](Connection& connection) {
                    Query query(connection, "SELECT digest FROM tokens");
                    EXPECT_TRUE(query.Next());
                    EXPECT_EQ(query.Text(0), Sha256Of(*secret));
                    return absl::OkStatus();
                  })
                  .ok());
}

TEST_F(TokenStoreTest, ChecksUserNames) {
  EXPECT_TRUE(tokens_.CreateUser("a.b_c-9").ok());
  EXPECT_EQ(tokens_.CreateUser("a.b_c-9").code(),
            absl::StatusCode::kAlreadyExists);
  for (const std::string& name :
       {std::string(), std::string("Ada"), std::string("-a"),
        std::string("a b"), std::string("../a"), std::string(64, 'a'),
        std::string("a\0b", 3)}) {
    EXPECT_EQ(tokens_.CreateUser(name).code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
  EXPECT_EQ(
      tokens_.CreateToken("nobody", TokenScope::kRead, absl::InfiniteFuture())
          .status()
          .code(),
      absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dissonance
