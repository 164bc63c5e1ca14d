#include "server/control/adapter_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

class AdapterFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    adapter_.set_config(
        store_->Put("{}", "application/json", {.user = "ada"})->name());
    adapter_.set_weights(
        store_->Put("weights", "application/octet-stream", {.user = "ada"})
            ->name());
  }
  absl::StatusOr<std::string> Make(const std::string& user = "ada") {
    return MakeAdapterFolder(*store_, dir_.path(), adapter_, {.user = user});
  }
  // Names in the folder of adapters.
  std::vector<std::string> Folders() const {
    std::vector<std::string> names;
    for (const auto& entry :
         std::filesystem::directory_iterator(dir_.path() + "/adapters")) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  TempFolder dir_;
  std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  ArtifactIndex index_{*database_};
  ModelStore models_{*database_};
  std::unique_ptr<ArtifactStore> store_ =
      *ArtifactStore::Create(dir_.path(), index_, Clock::Real());
  v1::AdapterArtifacts adapter_;
};

TEST_F(AdapterFilesTest, MakesThePeftFolderOnce) {
  const auto folder = Make();
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_EQ(*folder, absl::StrCat(dir_.path(), "/adapters/",
                                  adapter_.config().substr(17), "-",
                                  adapter_.weights().substr(17)));
  EXPECT_EQ(*ReadFile(*folder + "/adapter_config.json", 100), "{}");
  const std::string weights = *folder + "/adapter_model.safetensors";
  EXPECT_EQ(*ReadFile(weights, 100), "weights");
  EXPECT_EQ(std::filesystem::hard_link_count(weights), 2U);
  EXPECT_EQ(*Make(), *folder);
  EXPECT_EQ(std::filesystem::hard_link_count(weights), 2U);
  EXPECT_EQ(Folders().size(), 1U);
}

TEST_F(AdapterFilesTest, IsOfNoUseToThoseWhoDoNotSeeTheArtifacts) {
  EXPECT_EQ(Make("bob").status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/adapters"));
  ASSERT_TRUE(Make().ok());
  // Also now that it is there.
  EXPECT_EQ(Make("bob").status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(store_
                  ->Update(adapter_.config(), {.user = "ada"},
                           {.visibility = v1::VISIBILITY_LAB})
                  .ok());
  EXPECT_EQ(Make("bob").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(AdapterFilesTest, RefusesHostileNames) {
  for (const std::string& name :
       {std::string(), std::string("artifacts/sha256:../../etc/passwd"),
        absl::StrCat("artifacts/sha256:", std::string(63, 'a'), "/")}) {
    adapter_.set_weights(name);
    EXPECT_EQ(Make().status().code(), absl::StatusCode::kInvalidArgument)
        << name;
  }
  EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/adapters"));
}

TEST_F(AdapterFilesTest, DamagedBytesMakeNoFolder) {
  const std::string hex = adapter_.weights().substr(17);
  std::ofstream(
      absl::StrCat(dir_.path(), "/artifacts/", hex.substr(0, 2), "/", hex),
      std::ios::trunc)
      << "damaged";
  EXPECT_EQ(Make().status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Folders().size(), 0U);
}

TEST_F(AdapterFilesTest, MakesAnIncompleteFolderAgain) {
  const std::string folder = *Make();
  std::filesystem::remove(folder + "/adapter_model.safetensors");
  EXPECT_EQ(*Make(), folder);
  EXPECT_EQ(*ReadFile(folder + "/adapter_model.safetensors", 100), "weights");
  EXPECT_EQ(Folders().size(), 1U);
}

TEST_F(AdapterFilesTest, ManyAtOnceGetTheSameFolder) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 10; ++round) {
        const auto folder = Make();
        ASSERT_TRUE(folder.ok()) << folder.status();
        EXPECT_TRUE(ReadFile(*folder + "/adapter_config.json", 9).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Folders().size(), 1U);
}

TEST_F(AdapterFilesTest, RemovesFoldersThatNoAdapterIsMadeOf) {
  const std::string used = *Make();
  StoredModel model;
  model.model.set_name("models/m");
  ASSERT_TRUE(models_.PutModel(model).ok());
  StoredAdapter stored;
  stored.adapter.set_name("models/m/adapters/a");
  *stored.adapter.mutable_artifacts() = adapter_;
  ASSERT_TRUE(models_.PutAdapter(stored).ok());
  adapter_.set_weights(
      store_->Put("others", "application/octet-stream", {.user = "ada"})
          ->name());
  const std::string unused = *Make();
  const std::string half = unused + ".tmp.abc123";
  const std::string foreign = dir_.path() + "/adapters/notes";
  std::filesystem::create_directory(half);
  std::filesystem::create_directory(foreign);
  const auto remove = [&](absl::Duration later) {
    return RemoveUnusedAdapterFolders(models_, dir_.path(),
                                      absl::Now() + later);
  };
  ASSERT_TRUE(remove(-absl::Hours(1)).ok());
  EXPECT_EQ(Folders().size(), 4U);
  ASSERT_TRUE(remove(absl::Hours(1)).ok());
  EXPECT_TRUE(std::filesystem::exists(used + "/adapter_config.json"));
  EXPECT_FALSE(std::filesystem::exists(unused));
  EXPECT_FALSE(std::filesystem::exists(half));
  EXPECT_TRUE(std::filesystem::exists(foreign));
  ASSERT_TRUE(models_.DeleteAdapter("models/m/adapters/a").ok());
  ASSERT_TRUE(remove(absl::Hours(1)).ok());
  EXPECT_FALSE(std::filesystem::exists(used));
}

}  // namespace
}  // namespace dissonance
