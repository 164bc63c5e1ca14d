// A folder that a test may fill and that goes when it ends.
#ifndef DISSONANCE_TESTS_LAB_STORAGE_TEMP_DIR_H_
#define DISSONANCE_TESTS_LAB_STORAGE_TEMP_DIR_H_

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace dissonance {

class TempDir {
 public:
  TempDir()
      : path_((std::filesystem::temp_directory_path() / "dissonance_XXXXXX")
                  .string()) {
    if (::mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_STORAGE_TEMP_DIR_H_
