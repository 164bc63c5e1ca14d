#include "src/lab/storage/artifact_index.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/base/clock.h"
#include "src/lab/storage/artifact_rows.h"
#include "src/lab/storage/user_store.h"
#include "tests/lab/storage/artifact_rows_fixture.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kJob[] = "jobs/01";

std::string NameOf(int number) {
  return absl::StrFormat("artifacts/sha256:%064x", number);
}

class ArtifactIndexTest : public ::testing::Test {
 protected:
  void SetUp() override {
    UserStore users(*database_);
    for (const char* user : {"ada", "bob", "root"}) {
      ASSERT_TRUE(users.Create(user, v1::Quota(), absl::Now()).ok());
    }
  }
  absl::StatusOr<v1::Artifact> TryAdd(int number, int64_t size,
                                      const ArtifactOwner& owner) {
    v1::Artifact artifact;
    artifact.set_name(NameOf(number));
    artifact.set_size_bytes(size);
    artifact.set_media_type("text/plain");
    artifact.mutable_create_time()->set_seconds(number);
    return index_.Add(artifact, owner);
  }
  v1::Artifact Add(int number, const std::string& user, int64_t size = 1) {
    const auto added = TryAdd(number, size, {.user = user});
    EXPECT_TRUE(added.ok()) << added.status();
    return *added;
  }
  void Share(int number, const std::string& user) {
    const auto shared = index_.Update(NameOf(number), {.user = user},
                                      {.visibility = v1::VISIBILITY_LAB});
    ASSERT_TRUE(shared.ok()) << shared.status();
  }
  absl::StatusCode CodeOfGet(int number, const Viewer& viewer) {
    return index_.Get(NameOf(number), viewer).status().code();
  }
  std::vector<std::string> Names(const Viewer& viewer, int64_t before = 0,
                                 int limit = 100) {
    const auto listed = index_.List(viewer, before, limit);
    EXPECT_TRUE(listed.ok()) << listed.status();
    std::vector<std::string> names;
    for (const IndexedArtifact& row : *listed) {
      names.push_back(row.artifact.name());
    }
    return names;
  }
  // The steps of SQLite's plan for `sql`, one a line.
  std::string Plan(const std::string& sql) {
    std::string plan;
    const absl::Status status = database_->Read([&](Connection& connection) {
      Query query(connection, "EXPLAIN QUERY PLAN " + sql);
      while (query.Next()) absl::StrAppend(&plan, query.Text(3), "\n");
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
    return plan;
  }

  const Viewer ada_ = {.user = "ada"};
  const Viewer bob_ = {.user = "bob"};
  const Viewer root_ = {.user = "root", .sees_all = true};
  TempFolder dir_;
  std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  ArtifactIndex index_{*database_};
};

TEST_F(ArtifactIndexTest, IsPrivateToItsOwnerUntilShared) {
  const v1::Artifact added = Add(1, "ada");
  EXPECT_TRUE(added.owned());
  EXPECT_EQ(added.visibility(), v1::VISIBILITY_PRIVATE);
  EXPECT_EQ(CodeOfGet(1, bob_), absl::StatusCode::kNotFound);
  EXPECT_THAT(Names(bob_), IsEmpty());
  EXPECT_FALSE(index_.Get(NameOf(1), root_)->owned());
  EXPECT_THAT(Names(root_), ElementsAre(NameOf(1)));
  Share(1, "ada");
  const auto seen = index_.Get(NameOf(1), bob_);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->visibility(), v1::VISIBILITY_LAB);
  EXPECT_FALSE(seen->owned());
  EXPECT_THAT(Names(bob_), ElementsAre(NameOf(1)));
}

TEST_F(ArtifactIndexTest, ARefusalDoesNotTellWhatOthersHave) {
  Add(1, "ada");
  const std::string hidden(index_.Get(NameOf(1), bob_).status().ToString());
  const std::string unknown(index_.Get(NameOf(2), bob_).status().ToString());
  EXPECT_EQ(hidden, absl::StrCat("NOT_FOUND: ", NameOf(1),
                                 unknown.substr(unknown.find(" does"))));
  for (const absl::Status& status :
       {index_.Update(NameOf(1), bob_, {.pinned = true}).status(),
        index_.GiveUp(NameOf(1), bob_).status()}) {
    EXPECT_EQ(status.ToString(), hidden);
  }
}

TEST_F(ArtifactIndexTest, WhatOneOwnerKeepsToHimselfIsNotShown) {
  Add(1, "ada");
  Add(1, "bob");
  ASSERT_TRUE(index_.Update(NameOf(1), ada_, {.pinned = true}).ok());
  EXPECT_TRUE(index_.Get(NameOf(1), ada_)->pinned());
  EXPECT_FALSE(index_.Get(NameOf(1), bob_)->pinned());
  EXPECT_TRUE(index_.Get(NameOf(1), root_)->pinned());
}

TEST_F(ArtifactIndexTest, ListsOwnAndSharedOnceNewestFirst) {
  for (int i = 1; i <= 9; ++i) Add(i, i % 3 == 0 ? "bob" : "ada");
  Share(2, "ada");
  Share(7, "ada");
  Add(2, "bob");  // owned and shared
  EXPECT_THAT(Names(bob_), ElementsAre(NameOf(9), NameOf(7), NameOf(6),
                                       NameOf(3), NameOf(2)));
  EXPECT_THAT(Names(bob_, 7, 2), ElementsAre(NameOf(6), NameOf(3)));
  EXPECT_THAT(Names(bob_, 3), ElementsAre(NameOf(2)));
}

TEST_F(ArtifactIndexTest, AListReadsNoRowsOfOthers) {
  const std::string plan = Plan(ListArtifactsSql(/*sees_all=*/false));
  EXPECT_THAT(plan,
              AllOf(HasSubstr("SEARCH artifact_owners USING PRIMARY KEY (user=?"
                              " AND sequence<?)"),
                    HasSubstr("artifact_owners_shared (sequence<?)"),
                    HasSubstr("SEARCH a USING INTEGER PRIMARY KEY (rowid=?)")))
      << plan;
  EXPECT_THAT(plan, Not(AnyOf(HasSubstr("SCAN artifact"), HasSubstr("SCAN a "),
                              HasSubstr("SCAN a\n"))))
      << plan;
  const std::string all = Plan(ListArtifactsSql(/*sees_all=*/true));
  EXPECT_THAT(all, HasSubstr("SEARCH a USING INTEGER PRIMARY KEY (rowid<?)"));
  EXPECT_THAT(all, Not(HasSubstr("TEMP B-TREE"))) << all;
  for (const std::string& sql : {FindArtifactSql(), UnnamedArtifactsSql(),
                                 std::string(kJobOfArtifactSql)}) {
    const std::string found = Plan(sql);
    EXPECT_THAT(
        found,
        Not(AnyOf(HasSubstr("SCAN artifact"), HasSubstr("SCAN a "),
                  HasSubstr("SCAN a\n"), HasSubstr("SCAN job"),
                  HasSubstr("SCAN adapter"), HasSubstr("SCAN direction"))))
        << found;
  }
}

TEST_F(ArtifactIndexTest, CountsEachUsersBytesAndRefusesMore) {
  Add(1, "ada", 60);
  Add(2, "ada", 30);
  Add(1, "ada", 60);
  Add(2, "bob", 30);
  EXPECT_EQ(ArtifactBytes(*database_, "ada"), 90);
  EXPECT_EQ(ArtifactBytes(*database_, "bob"), 30);
  const ArtifactOwner ada = {.user = "ada", .limit_bytes = 100};
  const absl::Status refused = TryAdd(3, 11, ada).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message(),
              AllOf(HasSubstr("has 90 bytes"), HasSubstr("asks for 11 more"),
                    HasSubstr("may have 100")));
  EXPECT_EQ(CodeOfGet(3, root_), absl::StatusCode::kNotFound);
  EXPECT_EQ(TryAdd(3, INT64_MAX, ada).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(TryAdd(1, 60, ada).ok());  // hers already
  EXPECT_TRUE(TryAdd(3, 10, ada).ok());
  EXPECT_EQ(index_.CheckRoom(NameOf(4), 1, 0, ada).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(index_.CheckRoom(NameOf(1), 60, 0, ada).ok());
  const ArtifactOwner bob = {.user = "bob", .limit_bytes = 100};
  EXPECT_TRUE(index_.CheckRoom(NameOf(4), 70, 0, bob).ok());
  EXPECT_FALSE(index_.CheckRoom(NameOf(4), 70, 1, bob).ok());
}

TEST_F(ArtifactIndexTest, OnlyOwnersAndAdministratorsChangeIt) {
  Add(1, "ada");
  Share(1, "ada");
  EXPECT_EQ(index_.Update(NameOf(1), bob_, {.pinned = true}).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(index_.GiveUp(NameOf(1), bob_).status().code(),
            absl::StatusCode::kPermissionDenied);
  const auto hidden =
      index_.Update(NameOf(1), root_, {.visibility = v1::VISIBILITY_PRIVATE});
  ASSERT_TRUE(hidden.ok()) << hidden.status();
  EXPECT_EQ(CodeOfGet(1, bob_), absl::StatusCode::kNotFound);
  EXPECT_TRUE(index_.Get(NameOf(1), ada_)->owned());
}

TEST_F(ArtifactIndexTest, AnUpdateLeavesWhatItDoesNotName) {
  Add(1, "ada");
  ASSERT_TRUE(index_.Update(NameOf(1), ada_, {.pinned = true}).ok());
  Share(1, "ada");
  EXPECT_TRUE(index_.Get(NameOf(1), ada_)->pinned());
  ASSERT_TRUE(index_.Update(NameOf(1), ada_, {.pinned = false}).ok());
  EXPECT_FALSE(index_.Get(NameOf(1), ada_)->pinned());
  EXPECT_EQ(index_.Get(NameOf(1), ada_)->visibility(), v1::VISIBILITY_LAB);
}

TEST_F(ArtifactIndexTest, GoesWhenItsLastOwnerGivesItUp) {
  Add(1, "ada", 5);
  Add(1, "bob", 5);
  EXPECT_FALSE(*index_.GiveUp(NameOf(1), ada_));
  EXPECT_EQ(ArtifactBytes(*database_, "ada"), 0);
  EXPECT_EQ(CodeOfGet(1, ada_), absl::StatusCode::kNotFound);
  EXPECT_TRUE(*index_.GiveUp(NameOf(1), bob_));
  EXPECT_EQ(CodeOfGet(1, root_), absl::StatusCode::kNotFound);
}

TEST_F(ArtifactIndexTest, IsKeptForTheOwnersJobsAndAdapters) {
  AddJob(*database_, kJob, "ada");
  for (int i = 1; i <= 3; ++i) Add(i, "ada");
  NameArtifact(*database_, kJob, NameOf(1), /*is_output=*/true);
  NameArtifact(*database_, kJob, NameOf(2), /*is_output=*/false);
  AddAdapter(*database_, "ada", NameOf(3), NameOf(3));
  for (int i = 1; i <= 3; ++i) {
    const absl::Status refused = index_.GiveUp(NameOf(i), ada_).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << i;
    EXPECT_THAT(refused.message(),
                HasSubstr(i == 3 ? "models/m/adapters/a" : kJob));
    EXPECT_TRUE(index_.Get(NameOf(i), ada_)->owned());
  }
}

TEST_F(ArtifactIndexTest, IsKeptForOthersJobsWithoutTellingOfThem) {
  AddJob(*database_, kJob, "bob");
  for (int i = 1; i <= 3; ++i) Add(i, "ada");
  NameArtifact(*database_, kJob, NameOf(1), /*is_output=*/true);
  NameArtifact(*database_, kJob, NameOf(2), /*is_output=*/false);
  AddAdapter(*database_, "bob", NameOf(3), NameOf(3));
  for (int i = 1; i <= 3; ++i) {
    const auto gone = index_.GiveUp(NameOf(i), ada_);
    ASSERT_TRUE(gone.ok()) << gone.status();
    EXPECT_FALSE(*gone) << i;
    EXPECT_EQ(CodeOfGet(i, ada_), absl::StatusCode::kNotFound);
    EXPECT_EQ(CodeOfGet(i, root_), absl::StatusCode::kOk);
    EXPECT_EQ(index_.Update(NameOf(i), root_, {.pinned = true}).status().code(),
              absl::StatusCode::kFailedPrecondition);
  }
}

TEST_F(ArtifactIndexTest, RemovesOnlyWhatNothingKeepsNow) {
  AddJob(*database_, kJob, "ada");
  for (int i = 1; i <= 6; ++i) Add(i, "ada", 10);
  auto unnamed = index_.ListUnnamed(0, 100);
  ASSERT_TRUE(unnamed.ok()) << unnamed.status();
  EXPECT_EQ(unnamed->size(), 6U);
  // What happens between the look and the removal.
  NameArtifact(*database_, kJob, NameOf(1), /*is_output=*/true);
  NameArtifact(*database_, kJob, NameOf(2), /*is_output=*/false);
  AddAdapter(*database_, "bob", NameOf(3), NameOf(4));
  ASSERT_TRUE(index_.Update(NameOf(5), ada_, {.pinned = true}).ok());
  const auto removed = index_.RemoveUnnamed(*unnamed);
  ASSERT_TRUE(removed.ok()) << removed.status();
  ASSERT_EQ(removed->size(), 1U);
  EXPECT_EQ(removed->front().name, NameOf(6));
  EXPECT_EQ(ArtifactBytes(*database_, "ada"), 50);
  EXPECT_THAT(*index_.ListUnnamed(0, 100), IsEmpty());
  EXPECT_EQ(index_.Totals()->count, 5);
  EXPECT_EQ(index_.Totals()->bytes, 50);
  EXPECT_THAT(*index_.Unknown({NameOf(5), NameOf(6)}), ElementsAre(NameOf(6)));
}

}  // namespace
}  // namespace dissonance
