// What users may do with tokens, and what administrators alone may.
#include "server/control/user_admin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/time/clock.h"
#include "google/protobuf/util/time_util.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::google::protobuf::util::TimeUtil;

class UserAdminTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto records = Records::Open(config_, DataFolder(dir_.path()));
    ASSERT_TRUE(records.ok()) << records.status();
    records_ = *std::move(records);
    quotas_ = std::make_unique<Quotas>(records_->users, QuotaConfig());
    admin_ = std::make_unique<UserAdmin>(*records_, *quotas_, Clock::Real());
    for (const char* user : {"ada", "bob"}) {
      ASSERT_TRUE(records_->users.Create(user, {}, absl::Now()).ok());
    }
  }
  Principal Make(const NewToken& wanted) {
    const auto created = records_->tokens.Create(wanted);
    EXPECT_TRUE(created.ok()) << created.status();
    return *records_->tokens.Authenticate(created->secret);
  }
  static v1::RotateTokenRequest RotationOf(const std::string& name) {
    v1::RotateTokenRequest request;
    request.set_name(name);
    return request;
  }

  const TempFolder dir_;
  const Config config_ = [this] {
    Config config;
    config.data_dir = dir_.path();
    return config;
  }();
  std::unique_ptr<Records> records_;
  std::unique_ptr<Quotas> quotas_;
  std::unique_ptr<UserAdmin> admin_;
};

TEST_F(UserAdminTest, ATokenMakesNoneThatMayMore) {
  const absl::Time expiry =
      absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now() + absl::Hours(1)));
  const Principal ada =
      Make({.user = "ada", .expiry = expiry, .calls_per_second = 5});
  v1::CreateTokenRequest request;
  request.set_scope(v1::SCOPE_ADMIN);
  EXPECT_TRUE(
      absl::IsPermissionDenied(admin_->CreateToken(ada, request).status()));
  request.set_scope(v1::SCOPE_RUN);
  request.set_calls_per_second(1);
  EXPECT_TRUE(
      absl::IsPermissionDenied(admin_->CreateToken(ada, request).status()));
  request.clear_calls_per_second();
  *request.mutable_lifetime() = TimeUtil::HoursToDuration(2);
  for (const bool has_lifetime : {true, false}) {
    if (!has_lifetime) request.clear_lifetime();
    const auto made = admin_->CreateToken(ada, request);
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(TimeUtil::TimestampToSeconds(made->token().expire_time()),
              absl::ToUnixSeconds(expiry));
    EXPECT_EQ(made->token().calls_per_second(), 5);
  }
  request.set_user("users/bob");
  EXPECT_TRUE(absl::IsNotFound(admin_->CreateToken(ada, request).status()));
}

TEST_F(UserAdminTest, ARotationOfAnotherTokenIsNoWayToMore) {
  const absl::Time soon = absl::Now() + absl::Hours(1);
  const Principal brief = Make({.user = "ada", .expiry = soon});
  const Principal lasting = Make({.user = "ada"});
  const auto made = admin_->RotateToken(brief, RotationOf(lasting.token));
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_TRUE(made->token().has_expire_time());
  EXPECT_LE(TimeUtil::TimestampToSeconds(made->token().expire_time()),
            absl::ToUnixSeconds(soon) + 1);

  const Principal slow = Make({.user = "ada", .calls_per_second = 1});
  const Principal fast = Make({.user = "ada", .calls_per_second = 100});
  const Principal unset = Make({.user = "ada"});
  const Principal admin = Make({.user = "ada", .scope = v1::SCOPE_ADMIN});
  for (const Principal& more : {fast, unset, admin}) {
    EXPECT_TRUE(absl::IsPermissionDenied(
        admin_->RotateToken(slow, RotationOf(more.token)).status()));
  }
  EXPECT_TRUE(admin_->RotateToken(fast, RotationOf(slow.token)).ok());
  EXPECT_TRUE(admin_->RotateToken(fast, RotationOf("")).ok());
  EXPECT_TRUE(admin_->RotateToken(admin, RotationOf(unset.token)).ok());
}

TEST_F(UserAdminTest, ARotatedTokenHasTheLifeOfTheOldOneAtMost) {
  const Principal ada =
      Make({.user = "ada", .expiry = absl::Now() + absl::Hours(1)});
  v1::RotateTokenRequest request;
  *request.mutable_lifetime() = TimeUtil::HoursToDuration(100);
  *request.mutable_overlap() = TimeUtil::MinutesToDuration(1);
  const auto made = admin_->RotateToken(ada, request);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_LE(TimeUtil::TimestampToSeconds(made->token().expire_time()) -
                TimeUtil::TimestampToSeconds(made->token().create_time()),
            3601);
  // The overlap of a minute is under way.
  EXPECT_TRUE(records_->tokens.CheckValid(ada.token).ok());
  EXPECT_EQ(records_->tokens.Authenticate(made->secret())->scope,
            v1::SCOPE_RUN);
  request.clear_overlap();
  ASSERT_TRUE(admin_->RotateToken(ada, request).ok());
  EXPECT_TRUE(absl::IsUnauthenticated(records_->tokens.CheckValid(ada.token)));
}

TEST_F(UserAdminTest, UsersSeeThemselvesAndAdministratorsEverybody) {
  const Principal ada = Make({.user = "ada"});
  const Principal bob = Make({.user = "bob"});
  const Principal root = Make({.user = "bob", .scope = v1::SCOPE_ADMIN});
  EXPECT_EQ(admin_->GetUser(ada, "")->name(), "users/ada");
  EXPECT_TRUE(absl::IsNotFound(admin_->GetUser(ada, "users/bob").status()));
  EXPECT_EQ(admin_->GetUser(root, "users/ada")->name(), "users/ada");
  const absl::Status hidden = admin_->RevokeToken(bob, ada.token).status();
  EXPECT_EQ(hidden, TokenStore::NoSuchToken(ada.token));
  v1::ListTokensRequest list;
  list.set_user("users/ada");
  EXPECT_TRUE(absl::IsNotFound(admin_->ListTokens(bob, list).status()));
  EXPECT_EQ(admin_->ListTokens(root, list)->tokens_size(), 1);
  EXPECT_TRUE(
      absl::IsPermissionDenied(admin_->RevokeToken(bob, root.token).status()));
  EXPECT_TRUE(admin_->RevokeToken(root, ada.token)->has_revoke_time());
}

}  // namespace
}  // namespace dissonance
