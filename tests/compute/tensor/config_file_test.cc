#include "src/compute/tensor/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/base/file.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

class ConfigFileTest : public testing::Test {
 protected:
  void Write(const std::string& name) {
    ASSERT_TRUE(WriteFileAtomically(folder_.File(name), "{}").ok());
  }
  static void ExpectNotFound(const absl::StatusOr<ConfigText>& read,
                             const std::string& message) {
    ASSERT_TRUE(absl::IsNotFound(read.status())) << read.status();
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(message));
  }

  TempFolder folder_;
};

TEST_F(ConfigFileTest, ReadsTheFileOfEachKind) {
  Write("config.json");
  Write("adapter_config.json");
  const auto model = ReadModelConfig(folder_.path());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->path, folder_.File("config.json"));
  EXPECT_EQ(model->text, "{}");
  const auto adapter = ReadAdapterConfig(folder_.path());
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->path, folder_.File("adapter_config.json"));
}

TEST_F(ConfigFileTest, SaysWhatTheFolderIsInstead) {
  const std::string absent = folder_.File("absent");
  ExpectNotFound(ReadModelConfig(absent), "there is no folder " + absent);
  ExpectNotFound(ReadAdapterConfig(absent), "there is no folder " + absent);
  ExpectNotFound(ReadModelConfig(folder_.path()), "holds no config.json");
  ExpectNotFound(ReadAdapterConfig(folder_.path()),
                 "holds no adapter_config.json");
  Write("adapter_config.json");
  ExpectNotFound(ReadModelConfig(folder_.path()), "holds an adapter");
}

TEST_F(ConfigFileTest, AModelIsNoAdapter) {
  Write("config.json");
  ExpectNotFound(ReadAdapterConfig(folder_.path()), "holds a model");
}

}  // namespace
}  // namespace dissonance
