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
  UserStore users_{*database_};

  void AddAda() {
    ASSERT_TRUE(users_.Create("ada", v1::Quota(), clock_.now).ok());
  }
  CreatedToken Make(const NewToken& wanted) {
    auto created = tokens_.Create(wanted);
    EXPECT_TRUE(created.ok()) << created.status();
    return *created;
  }
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
  EXPECT_EQ(owner->scope, v1::SCOPE_ADMIN);
  EXPECT_EQ("sha256:" + owner->token.substr(7), Sha256Of(first));
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
  AddAda();
  const CreatedToken created =
      Make({.user = "ada", .expiry = clock_.now + absl::Hours(1)});
  ASSERT_TRUE(tokens_.Authenticate(created.secret).ok());
  const absl::Status unknown =
      tokens_.Authenticate(created.secret + "x").status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(unknown.message(), Not(HasSubstr(created.secret)));
  clock_.now += absl::Hours(1);
  EXPECT_THAT(tokens_.Authenticate(created.secret).status().message(),
              HasSubstr("expired"));
  EXPECT_EQ(tokens_.CheckValid(created.token.name()).code(),
            absl::StatusCode::kUnauthenticated);
  const CreatedToken lasting = Make({.user = "ada", .scope = v1::SCOPE_READ});
  EXPECT_TRUE(tokens_.CheckValid(lasting.token.name()).ok());
  EXPECT_TRUE(tokens_.Revoke(lasting.token.name())->has_revoke_time());
  EXPECT_TRUE(tokens_.Revoke(lasting.token.name()).ok());
  EXPECT_THAT(tokens_.Authenticate(lasting.secret).status().message(),
              HasSubstr("revoked"));
  EXPECT_EQ(tokens_.Revoke("tokens/00").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(TokenStoreTest, RotatesATokenIntoOneOfTheSameRights) {
  AddAda();
  const CreatedToken old = Make({.user = "ada",
                                 .scope = v1::SCOPE_RUN,
                                 .calls_per_second = 5,
                                 .note = "laptop"});
  const auto next =
      tokens_.Rotate(old.token.name(), absl::Hours(2), absl::Hours(24));
  ASSERT_TRUE(next.ok()) << next.status();
  const auto principal = tokens_.Authenticate(next->secret);
  ASSERT_TRUE(principal.ok());
  EXPECT_EQ(principal->user, "ada");
  EXPECT_EQ(principal->scope, v1::SCOPE_RUN);
  EXPECT_EQ(principal->calls_per_second, 5);
  EXPECT_EQ(principal->expiry, clock_.now + absl::Hours(24));
  EXPECT_EQ(next->token.note(), "laptop");
  EXPECT_TRUE(tokens_.Authenticate(old.secret).ok());
  clock_.now += absl::Hours(2);
  EXPECT_FALSE(tokens_.Authenticate(old.secret).ok());
  EXPECT_EQ(tokens_.Rotate(old.token.name(), absl::Hours(2), absl::Hours(1))
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(tokens_.List("ada", 0, 10)->size(), 2U);
  EXPECT_EQ(tokens_.List("ada", 1, 10)->size(), 1U);
}

TEST_F(TokenStoreTest, KeepsNoSecretInTheDatabase) {
  AddAda();
  const CreatedToken created = Make({.user = "ada"});
  ASSERT_TRUE(database_
                  ->Read([&](Connection& connection) {
                    Query query(connection, "SELECT digest FROM tokens");
                    EXPECT_TRUE(query.Next());
                    EXPECT_EQ(query.Text(0), Sha256Of(created.secret));
                    return absl::OkStatus();
                  })
                  .ok());
}

TEST_F(TokenStoreTest, MakesNoTokenForAnUnknownUser) {
  EXPECT_EQ(tokens_.Create({.user = "nobody"}).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dissonance
