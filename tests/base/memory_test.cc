#include "src/base/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

// A root with files as the kernel writes them.
class MemoryTest : public ::testing::Test {
 protected:
  void Write(const std::string& path, const std::string& contents) {
    const std::filesystem::path file = folder_.path() + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << contents;
  }
  std::optional<int64_t> Available() const {
    return AvailableMemoryBytes(folder_.path());
  }

  TempFolder folder_;
};

TEST_F(MemoryTest, TheMachineSaysWhatIsAvailable) {
  EXPECT_EQ(Available(), std::nullopt);
  EXPECT_TRUE(CheckMemory("m", int64_t{1} << 60, folder_.path()).ok());
  Write("/proc/meminfo", "MemTotal: 9 kB\nMemAvailable:     2048 kB\n");
  EXPECT_EQ(Available(), 2 << 20);
  const absl::Status status = CheckMemory("m", 3 << 20, folder_.path());
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("m needs 3145728 bytes of memory, 2097152 are"));
}

TEST_F(MemoryTest, TheTightestGroupDecides) {
  Write("/proc/meminfo", "MemAvailable: 2048 kB\n");
  Write("/proc/self/cgroup", "0::/lab/job\n");
  Write("/sys/fs/cgroup/lab/job/memory.max", "max\n");
  Write("/sys/fs/cgroup/lab/job/memory.current", "5\n");
  EXPECT_EQ(Available(), 2 << 20);
  Write("/sys/fs/cgroup/lab/memory.max", "1000\n");
  Write("/sys/fs/cgroup/lab/memory.current", "900\n");
  EXPECT_EQ(Available(), 100);
  Write("/sys/fs/cgroup/lab/memory.stat", "anon 7\ninactive_file 50\n");
  EXPECT_EQ(Available(), 150);
}

// Some sandboxes have neither file.
TEST(AvailableMemoryTest, IsNotNegativeHere) {
  EXPECT_GT(AvailableMemoryBytes().value_or(1), 0);
}

}  // namespace
}  // namespace dissonance
