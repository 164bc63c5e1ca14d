// What the tests of text share: fixtures and model directories made on the
// fly. Not thread safe.
//
//   ModelDir model = ModelDir::CopyOf("tokenizers/llama2_legacy");
//   model.Write("tokenizer_config.json", "{}");
//   auto tokenizer = Tokenizer::Load(model.path());
#ifndef DISSONANCE_TESTS_COMPUTE_TEXT_TEXT_TESTING_H_
#define DISSONANCE_TESTS_COMPUTE_TEXT_TEXT_TESTING_H_

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace dissonance {

inline std::string GoldenPath(const std::string& name) {
  return std::string(DISSONANCE_SOURCE_DIR) + "/tests/goldens/" + name;
}

inline std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline nlohmann::ordered_json ReadJson(const std::string& path) {
  return nlohmann::ordered_json::parse(ReadAll(path));
}

// A directory that goes with the object.
class ModelDir {
 public:
  ModelDir() {
    std::string name = ::testing::TempDir() + "text_test_XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~ModelDir() { std::filesystem::remove_all(path_); }
  ModelDir(const ModelDir&) = delete;
  ModelDir& operator=(const ModelDir&) = delete;

  static ModelDir CopyOf(const std::string& golden) { return ModelDir(golden); }

  void Write(const std::string& name, const std::string& contents) const {
    const std::filesystem::path file = std::filesystem::path(path_) / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << contents;
  }
  nlohmann::ordered_json Json(const std::string& name) const {
    return ReadJson(path_ + "/" + name);
  }
  const std::string& path() const { return path_; }

 private:
  explicit ModelDir(const std::string& golden) : ModelDir() {
    std::filesystem::copy(
        GoldenPath(golden), path_,
        std::filesystem::copy_options::recursive |
            std::filesystem::copy_options::overwrite_existing);
  }

  std::string path_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_COMPUTE_TEXT_TEXT_TESTING_H_
