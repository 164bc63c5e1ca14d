#include "src/lab/storage/user_store.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/storage/audit_log.h"
#include "src/lab/storage/settings_store.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

class UserStoreTest : public ::testing::Test {
 protected:
  TempFolder dir_;
  std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  UserStore users_{*database_};
};

TEST_F(UserStoreTest, KeepsUsersWithTheirQuotas) {
  v1::Quota quota;
  quota.set_queued_job_count(5);
  ASSERT_TRUE(users_.Create("bob", quota, kNow).ok());
  ASSERT_TRUE(users_.Create("ada", v1::Quota(), kNow).ok());
  EXPECT_EQ(users_.Create("bob", quota, kNow).code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(users_.Get("bob")->quota.queued_job_count(), 5);
  EXPECT_EQ(users_.Get("bob")->create_time, kNow);
  quota.set_running_job_count(2);
  ASSERT_TRUE(users_.SetQuota("ada", quota).ok());
  EXPECT_EQ(users_.Get("ada")->quota.running_job_count(), 2);
  EXPECT_EQ(users_.SetQuota("eve", quota).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(users_.Get("eve").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(users_.List("", 10)->front().name, "ada");
  EXPECT_EQ(users_.List("ada", 10)->front().name, "bob");
  EXPECT_THAT(*users_.List("bob", 10), IsEmpty());
}

TEST_F(UserStoreTest, AddsUpUseByTheHour) {
  ASSERT_TRUE(users_
                  .AddUse({{"ada", 5, 1.0, 10},
                           {"ada", 5, 2.0, 1},
                           {"ada", 6, 4.0, 0},
                           {"bob", 5, 8.0, 0}})
                  .ok());
  const auto hours = users_.UseSince(5);
  ASSERT_EQ(hours->size(), 3U);
  EXPECT_EQ((*hours)[0].device_seconds, 3.0);
  EXPECT_EQ((*hours)[0].token_count, 11);
  ASSERT_TRUE(users_.ForgetUseBefore(6).ok());
  EXPECT_EQ(users_.UseSince(0)->size(), 1U);
}

TEST(UserNames, AreCheckedAsPartsOfResourceNames) {
  EXPECT_EQ(*UserOfName("users/a.b_c-9"), "a.b_c-9");
  EXPECT_EQ(NameOfUser("ada"), "users/ada");
  for (const std::string& name :
       {std::string("users/"), std::string("ada"), std::string("users/Ada"),
        std::string("users/-a"), std::string("users/a b"),
        std::string("users/../a"), "users/" + std::string(64, 'a'),
        std::string("users/a\0b", 9)}) {
    EXPECT_EQ(UserOfName(name).status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
}

TEST_F(UserStoreTest, TheAuditLogGivesTheNewestFirst) {
  AuditLog audit(*database_);
  for (const char* user : {"users/ada", "users/bob", "users/ada"}) {
    v1::AuditEvent event;
    event.set_user(user);
    event.set_method("/dissonance.v1.Jobs/CreateJob");
    event.mutable_time()->set_seconds(7);
    ASSERT_TRUE(audit.Append(event).ok());
  }
  const auto numbers = [&audit](const std::string& user, int64_t before) {
    std::vector<int64_t> numbers;
    const auto events = audit.List(user, before, 2);
    for (const v1::AuditEvent& event : *events) {
      EXPECT_EQ(event.time().seconds(), 7);
      numbers.push_back(event.number());
    }
    return numbers;
  };
  EXPECT_THAT(numbers("", 0), ElementsAre(3, 2));
  EXPECT_THAT(numbers("", 2), ElementsAre(1));
  EXPECT_THAT(numbers("users/ada", 0), ElementsAre(3, 1));
}

TEST_F(UserStoreTest, SettingsAreEmptyUntilTheyAreSet) {
  SettingsStore settings(*database_);
  EXPECT_EQ(*settings.Get("maintenance"), "");
  ASSERT_TRUE(settings.Set("maintenance", "new disk").ok());
  ASSERT_TRUE(settings.Set("maintenance", "newer disk").ok());
  EXPECT_EQ(*settings.Get("maintenance"), "newer disk");
}

}  // namespace
}  // namespace dissonance
