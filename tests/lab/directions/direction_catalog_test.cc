#include "src/lab/directions/direction_catalog.h"

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/storage/artifact_index.h"
#include "src/lab/storage/user_store.h"
#include "tests/lab/tensors/direction_messages.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DirectionCatalogTest : public ::testing::Test {
 protected:
  absl::StatusOr<v1::Direction> Create(
      const std::string& name, const std::string& user,
      const std::vector<v1::DirectionVector>& vectors, bool shared = false) {
    v1::Direction direction = DirectionNamed(name, vectors);
    direction.set_shared(shared);
    return catalog_.Create({.user = user}, direction);
  }
  std::string GetError(const Viewer& viewer, const std::string& name) {
    return catalog_.Get(viewer, "directions/" + name).status().ToString();
  }

  const Viewer ada_ = {.user = "ada"};
  const Viewer bob_ = {.user = "bob"};
  const Viewer root_ = {.user = "root", .sees_all = true};
  const TempFolder dir_;
  const std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  ArtifactIndex index_{*database_};
  const std::unique_ptr<ArtifactStore> artifacts_ =
      *ArtifactStore::Create(dir_.path(), index_, Clock::Real());
  DirectionStore store_{*database_};
  DirectionCatalog catalog_{store_, *artifacts_, Clock::Real()};
};

TEST_F(DirectionCatalogTest, GivesBackWhatWasMade) {
  const auto made = Create("truth", "ada", {VectorAt(PlaceAt(3), {3, 4})});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->owner(), "users/ada");
  EXPECT_GT(made->create_time().seconds(), 0);
  const auto same = catalog_.Get(ada_, "directions/truth");
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(same->SerializeAsString(), made->SerializeAsString());
  EXPECT_EQ(artifacts_->Get(made->artifact(), ada_)->media_type(),
            "application/vnd.safetensors");
}

TEST_F(DirectionCatalogTest, IsFoundByTheLastPartOfItsNameToo) {
  ASSERT_TRUE(Create("lie", "ada", {VectorAt(PlaceAt(3), {3, 4})}).ok());
  const auto found = catalog_.Get(ada_, "lie");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->name(), "directions/lie");
  EXPECT_TRUE(absl::IsNotFound(catalog_.Get(bob_, "lie").status()));
}

TEST_F(DirectionCatalogTest, AHiddenOneIsAsIfAbsent) {
  ASSERT_TRUE(Create("of-ada", "ada", {VectorAt(PlaceAt(3), {1})}).ok());
  std::string hidden = GetError(bob_, "of-ada");
  EXPECT_EQ(hidden.replace(hidden.find("of-ada"), 6, "absent"),
            GetError(bob_, "absent"));
  EXPECT_TRUE(absl::IsNotFound(catalog_.Delete(bob_, "directions/of-ada")));
  EXPECT_TRUE(
      absl::IsNotFound(catalog_.Compare(bob_, {"directions/of-ada"}).status()));
  EXPECT_TRUE(catalog_.Get(root_, "directions/of-ada").ok());
}

TEST_F(DirectionCatalogTest, ASharedOneIsSeenByAllAndDeletedByItsOwner) {
  ASSERT_TRUE(Create("d", "ada", {VectorAt(PlaceAt(3), {1})}, true).ok());
  EXPECT_TRUE(catalog_.Get(bob_, "directions/d").ok());
  EXPECT_TRUE(absl::IsPermissionDenied(catalog_.Delete(bob_, "directions/d")));
  EXPECT_TRUE(catalog_.Delete(ada_, "directions/d").ok());
  EXPECT_TRUE(absl::IsNotFound(catalog_.Delete(ada_, "directions/d")));
}

TEST_F(DirectionCatalogTest, ANameIsGivenOnceAlsoWhereItIsHidden) {
  ASSERT_TRUE(Create("d", "ada", {VectorAt(PlaceAt(3), {1, 0})}).ok());
  EXPECT_EQ(Create("d", "bob", {VectorAt(PlaceAt(3), {0, 1})}).status().code(),
            absl::StatusCode::kAlreadyExists);
  // What was refused leaves no file.
  EXPECT_EQ(index_.Totals()->count, 1);
}

TEST_F(DirectionCatalogTest, RefusesBadNamesAndSources) {
  for (const std::string& name :
       {std::string(), std::string("a/b"), std::string("a b"),
        std::string("\xC3\xA4"), std::string(65, 'a')}) {
    EXPECT_EQ(Create(name, "ada", {VectorAt(PlaceAt(3), {1})}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
  EXPECT_TRUE(CheckDirectionName("directions/A-z_0.9").ok());
  v1::Direction direction = DirectionNamed("d", {VectorAt(PlaceAt(3), {1})});
  for (const std::string& source :
       {std::string("["), std::string("3"), std::string(70'000, ' ')}) {
    direction.set_source_json(source);
    const auto refused = catalog_.Create({.user = "ada"}, direction);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(refused.status().message(), HasSubstr("source_json"));
  }
}

TEST_F(DirectionCatalogTest, ListsPages) {
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_TRUE(Create(name, "ada", {VectorAt(PlaceAt(3), {1})}).ok());
  }
  v1::ListDirectionsRequest request;
  request.set_page_size(2);
  const auto first = catalog_.List(ada_, request);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_EQ(first->directions_size(), 2);
  EXPECT_EQ(first->directions(0).vectors_size(), 0);
  request.set_page_token(first->next_page_token());
  const auto second = catalog_.List(ada_, request);
  ASSERT_EQ(second->directions_size(), 1);
  EXPECT_EQ(second->directions(0).name(), "directions/c");
  EXPECT_EQ(second->next_page_token(), "");
  request.set_page_size(-1);
  EXPECT_EQ(catalog_.List(ada_, request).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(DirectionCatalogTest, CosinesStandBetweenAllVectorsOfEqualWidth) {
  ASSERT_TRUE(
      Create("a", "ada",
             {VectorAt(PlaceAt(1), {1, 0}), VectorAt(PlaceAt(2), {-1, 1})})
          .ok());
  ASSERT_TRUE(Create("b", "ada", {VectorAt(PlaceAt(1), {1})}).ok());
  const auto compared =
      catalog_.Compare(ada_, {"directions/a", "directions/b"});
  ASSERT_TRUE(compared.ok()) << compared.status();
  ASSERT_EQ(compared->vectors_size(), 3);
  EXPECT_EQ(compared->vectors(1).place().block(), 2);
  EXPECT_EQ(compared->vectors(2).direction(), "directions/b");
  ASSERT_EQ(compared->cosines_size(), 9);
  EXPECT_NEAR(compared->cosines(1), -std::sqrt(0.5), 1e-7);
  EXPECT_EQ(compared->cosines(0), 1);
  EXPECT_TRUE(std::isnan(compared->cosines(2)));
  EXPECT_EQ(compared->cosines(3), compared->cosines(1));
  const auto alone = catalog_.Compare(ada_, {"directions/b"});
  EXPECT_EQ(alone.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(catalog_.Compare(ada_, {"directions/a"}).ok());
}

TEST_F(DirectionCatalogTest, ComparesAtMostSoManyVectors) {
  std::vector<v1::DirectionVector> vectors;
  for (int block = 0; block < 300; ++block) {
    vectors.push_back(VectorAt(PlaceAt(block), {1}));
  }
  ASSERT_TRUE(Create("d", "ada", vectors).ok());
  EXPECT_TRUE(catalog_.Compare(ada_, {"directions/d"}).ok());
  const auto refused = catalog_.Compare(ada_, {"directions/d", "directions/d"});
  EXPECT_THAT(refused.status().message(), HasSubstr("more than 500"));
}

}  // namespace
}  // namespace dissonance
