// A folder of a test's own, removed with everything in it at the end.
//
//   TempFolder folder;
//   WriteFileAtomically(folder.File("a.json"), "{}");
#ifndef DISSONANCE_TESTS_TESTING_TEMP_FOLDER_H_
#define DISSONANCE_TESTS_TESTING_TEMP_FOLDER_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

namespace dissonance {

class TempFolder {
 public:
  TempFolder()
      : path_(std::filesystem::temp_directory_path() / "dissonance.XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) {
      ADD_FAILURE() << "cannot make " << path_;
    }
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  // Names of what lies in it, sorted.
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::string path_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_TESTING_TEMP_FOLDER_H_
