#include "src/lab/storage/direction_store.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/storage/artifact_index.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kArtifact[] = "artifacts/1";

v1::Direction DirectionOf(const std::string& name, const std::string& user,
                          bool shared = false) {
  v1::Direction direction;
  direction.set_name("directions/" + name);
  direction.set_owner("users/" + user);
  direction.set_shared(shared);
  direction.set_artifact(kArtifact);
  direction.set_model("models/m");
  direction.set_width(128);
  direction.add_places()->set_site(v1::SITE_RESID_POST);
  return direction;
}

class DirectionStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    v1::Artifact artifact;
    artifact.set_name(kArtifact);
    ASSERT_TRUE(index_.Add(artifact, {.user = "ada"}).ok());
  }
  void Create(const v1::Direction& direction) {
    const absl::Status created = directions_.Create(direction);
    ASSERT_TRUE(created.ok()) << created;
  }
  std::vector<std::string> Names(const Viewer& viewer,
                                 const std::string& after = "",
                                 int limit = 100) {
    std::vector<std::string> names;
    const auto listed = directions_.List(viewer, after, limit);
    EXPECT_TRUE(listed.ok()) << listed.status();
    for (const v1::Direction& each : *listed) {
      names.push_back(each.name().substr(each.name().find('/') + 1));
    }
    return names;
  }

  TempFolder dir_;
  std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  ArtifactIndex index_{*database_};
  DirectionStore directions_{*database_};
};

TEST_F(DirectionStoreTest, RemembersAllButTheVectorsOverARestart) {
  v1::Direction direction = DirectionOf("truth", "ada");
  v1::Direction with_vectors = direction;
  with_vectors.add_vectors()->set_norm(3);
  Create(with_vectors);
  database_.reset();
  database_ = *Database::Open({.data_dir = dir_.path()});
  DirectionStore reopened(*database_);
  const auto stored = reopened.Get("directions/truth");
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(stored->SerializeAsString(), direction.SerializeAsString());
}

TEST_F(DirectionStoreTest, ANameIsGivenOnce) {
  Create(DirectionOf("truth", "ada"));
  EXPECT_EQ(directions_.Create(DirectionOf("truth", "bob")).code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(directions_.Get("directions/truth")->owner(), "users/ada");
}

TEST_F(DirectionStoreTest, KeepsItsArtifactAsLongAsItIsThere) {
  EXPECT_EQ(index_.ListUnnamed(0, 10)->size(), 1U);
  Create(DirectionOf("truth", "ada"));
  EXPECT_THAT(*index_.ListUnnamed(0, 10), IsEmpty());
  EXPECT_EQ(index_.GiveUp(kArtifact, {.user = "ada"}).status().message(),
            "artifacts/1 is in use by directions/truth; delete that first");
  ASSERT_TRUE(directions_.Delete(DirectionOf("truth", "ada")).ok());
  EXPECT_EQ(index_.ListUnnamed(0, 10)->size(), 1U);
  EXPECT_TRUE(*index_.GiveUp(kArtifact, {.user = "ada"}));
}

TEST_F(DirectionStoreTest, DeletesNoOtherThatGotTheNameMeanwhile) {
  v1::Artifact artifact;
  artifact.set_name("artifacts/2");
  ASSERT_TRUE(index_.Add(artifact, {.user = "ada"}).ok());
  v1::Direction remade = DirectionOf("truth", "ada");
  remade.set_artifact("artifacts/2");
  Create(remade);
  EXPECT_TRUE(
      absl::IsNotFound(directions_.Delete(DirectionOf("truth", "ada"))));
  remade.set_owner("users/bob");
  EXPECT_TRUE(absl::IsNotFound(directions_.Delete(remade)));
  EXPECT_TRUE(directions_.Get("directions/truth").ok());
}

TEST_F(DirectionStoreTest, NeedsItsArtifact) {
  v1::Direction direction = DirectionOf("truth", "ada");
  direction.set_artifact("artifacts/2");
  EXPECT_EQ(directions_.Create(direction).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(directions_.Get("directions/truth").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(DirectionStoreTest, ListsOnesOwnAndSharedOnesByName) {
  Create(DirectionOf("d", "ada"));
  Create(DirectionOf("b", "ada", /*shared=*/true));
  Create(DirectionOf("a", "bob"));
  Create(DirectionOf("c", "bob", /*shared=*/true));
  EXPECT_THAT(Names({.user = "ada"}), ElementsAre("b", "c", "d"));
  EXPECT_THAT(Names({.user = "bob"}), ElementsAre("a", "b", "c"));
  EXPECT_THAT(Names({.user = "eve"}), ElementsAre("b", "c"));
  EXPECT_THAT(Names({.user = "root", .sees_all = true}),
              ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(Names({.user = "ada"}, "directions/b", 1), ElementsAre("c"));
}

TEST_F(DirectionStoreTest, UnknownNamesAreNotFound) {
  EXPECT_EQ(directions_.Get("directions/x").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(directions_.Delete(DirectionOf("x", "ada")).code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dissonance
