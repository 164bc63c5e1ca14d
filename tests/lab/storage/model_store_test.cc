#include "src/lab/storage/model_store.h"

#include <string>

#include "gtest/gtest.h"
#include "src/lab/storage/artifact_index.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

StoredModel ModelNamed(const std::string& name) {
  StoredModel stored;
  stored.model.set_name(name);
  stored.model.set_path("/models/" + name);
  stored.model.set_digest("sha256:1");
  stored.model.set_dtype(v1::DTYPE_BFLOAT16);
  return stored;
}

StoredAdapter AdapterNamed(const std::string& name) {
  StoredAdapter stored;
  stored.adapter.set_name(name);
  stored.adapter.set_rank(8);
  return stored;
}

class ModelStoreTest : public ::testing::Test {
 protected:
  TempFolder dir_;
  std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  ModelStore models_{*database_};
};

TEST_F(ModelStoreTest, RemembersModelsOverARestart) {
  StoredModel stored = ModelNamed("models/b");
  stored.requested_dtype = v1::DTYPE_FLOAT32;
  stored.resident = false;
  ASSERT_TRUE(models_.PutModel(stored).ok());
  ASSERT_TRUE(models_.PutModel(ModelNamed("models/a")).ok());
  database_.reset();
  database_ = *Database::Open({.data_dir = dir_.path()});
  ModelStore reopened(*database_);
  const auto all = reopened.ListModels();
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->size(), 2U);
  EXPECT_EQ((*all)[0].model.name(), "models/a");
  EXPECT_TRUE((*all)[0].resident);
  EXPECT_EQ((*all)[1].model.SerializeAsString(),
            stored.model.SerializeAsString());
  EXPECT_EQ((*all)[1].requested_dtype, v1::DTYPE_FLOAT32);
  EXPECT_FALSE((*all)[1].resident);
}

TEST_F(ModelStoreTest, PagesByName) {
  for (const char* name : {"models/a", "models/b", "models/c"}) {
    ASSERT_TRUE(models_.PutModel(ModelNamed(name)).ok());
  }
  const auto page = models_.ListModels("models/a", 1);
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->size(), 1U);
  EXPECT_EQ(page->front().model.name(), "models/b");
}

TEST_F(ModelStoreTest, ReplacingAModelKeepsItsAdapters) {
  ASSERT_TRUE(models_.PutModel(ModelNamed("models/a")).ok());
  ASSERT_TRUE(models_.PutAdapter(AdapterNamed("models/a/adapters/x")).ok());
  ASSERT_TRUE(models_.PutModel(ModelNamed("models/a")).ok());
  EXPECT_TRUE(models_.GetAdapter("models/a/adapters/x").ok());
}

TEST_F(ModelStoreTest, ForgetsAdaptersWithTheirModel) {
  ASSERT_TRUE(models_.PutModel(ModelNamed("models/a")).ok());
  ASSERT_TRUE(models_.PutModel(ModelNamed("models/ab")).ok());
  ASSERT_TRUE(models_.PutAdapter(AdapterNamed("models/a/adapters/x")).ok());
  ASSERT_TRUE(models_.PutAdapter(AdapterNamed("models/ab/adapters/y")).ok());
  EXPECT_EQ(models_.ListAdapters("models/a")->size(), 1U);
  ASSERT_TRUE(models_.DeleteModel("models/a").ok());
  EXPECT_EQ(models_.ListAdapters("models/a")->size(), 0U);
  EXPECT_EQ(models_.ListAdapters("models/ab")->size(), 1U);
  EXPECT_EQ(models_.GetModel("models/a").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(ModelStoreTest, UnknownNamesAreNotFound) {
  const auto not_found = absl::StatusCode::kNotFound;
  EXPECT_EQ(models_.DeleteModel("models/a").code(), not_found);
  EXPECT_EQ(models_.PutAdapter(AdapterNamed("models/a/adapters/x")).code(),
            not_found);
  EXPECT_EQ(models_.GetAdapter("models/a/adapters/x").status().code(),
            not_found);
  EXPECT_EQ(models_.SetAdapterResident("models/a/adapters/x", true).code(),
            not_found);
  EXPECT_EQ(models_.DeleteAdapter("models/a/adapters/x").code(), not_found);
}

TEST_F(ModelStoreTest, NamesTheArtifactsOfAnAdapterAsLongAsItIsThere) {
  ArtifactIndex index(*database_);
  const auto add = [&](const std::string& name) {
    v1::Artifact artifact;
    artifact.set_name(name);
    ASSERT_TRUE(index.Add(artifact, {.user = "ada"}).ok());
  };
  const auto count_unnamed = [&] { return index.ListUnnamed(0, 10)->size(); };
  ASSERT_TRUE(models_.PutModel(ModelNamed("models/a")).ok());
  StoredAdapter stored = AdapterNamed("models/a/adapters/x");
  stored.adapter.mutable_artifacts()->set_config("artifacts/1");
  stored.adapter.mutable_artifacts()->set_weights("artifacts/2");
  add("artifacts/1");
  EXPECT_EQ(models_.PutAdapter(stored).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(models_.ListAdapters("models/a")->size(), 0U);
  add("artifacts/2");
  add("artifacts/3");
  ASSERT_TRUE(models_.PutAdapter(stored).ok());
  EXPECT_EQ(count_unnamed(), 1U);
  EXPECT_TRUE(*models_.HasAdapterOf("artifacts/1", "artifacts/2"));
  // Replaced by other content, then by a folder's.
  stored.adapter.mutable_artifacts()->set_weights("artifacts/3");
  ASSERT_TRUE(models_.PutAdapter(stored).ok());
  EXPECT_FALSE(*models_.HasAdapterOf("artifacts/1", "artifacts/2"));
  EXPECT_TRUE(*models_.HasAdapterOf("artifacts/1", "artifacts/3"));
  ASSERT_TRUE(models_.PutAdapter(AdapterNamed("models/a/adapters/x")).ok());
  EXPECT_EQ(count_unnamed(), 3U);
  ASSERT_TRUE(models_.PutAdapter(stored).ok());
  ASSERT_TRUE(models_.DeleteModel("models/a").ok());
  EXPECT_EQ(count_unnamed(), 3U);
}

TEST_F(ModelStoreTest, RemembersWhichAdaptersAreWanted) {
  ASSERT_TRUE(models_.PutModel(ModelNamed("models/a")).ok());
  ASSERT_TRUE(models_.PutAdapter(AdapterNamed("models/a/adapters/x")).ok());
  ASSERT_TRUE(models_.SetAdapterResident("models/a/adapters/x", false).ok());
  EXPECT_FALSE(models_.GetAdapter("models/a/adapters/x")->resident);
  EXPECT_EQ(models_.GetAdapter("models/a/adapters/x")->adapter.rank(), 8);
  ASSERT_TRUE(models_.DeleteAdapter("models/a/adapters/x").ok());
  EXPECT_EQ(models_.ListAdapters("models/a")->size(), 0U);
}

}  // namespace
}  // namespace dissonance
