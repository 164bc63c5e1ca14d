#include "src/compute/tensor/config_file.h"

#include <cstdint>
#include <filesystem>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr uint64_t kLimitBytes = 4 << 20;

// A kind of directory, and what to say where it is not one.
struct Kind {
  const char* file;
  const char* other_file;  // of the kind that people confuse it with
  const char* other_advice;
  const char* advice;
};

constexpr Kind kModel = {
    "config.json", "adapter_config.json",
    "an adapter, not a model: load its base model, then register it beside it "
    "('dissonance adapters register')",
    "give the folder of a Hugging Face checkpoint, with config.json and "
    ".safetensors files"};
constexpr Kind kAdapter = {
    "adapter_config.json", "config.json",
    "a model, not an adapter: load it with 'dissonance models load'",
    "give the folder that PEFT's save_pretrained wrote"};

absl::Status NotThere(const std::string& directory, const Kind& kind) {
  const std::filesystem::path folder = directory;
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    return absl::NotFoundError(absl::StrCat("there is no folder ", directory,
                                            " on the server's machine"));
  }
  if (std::filesystem::exists(folder / kind.other_file, ignored)) {
    return absl::NotFoundError(
        absl::StrCat(directory, " holds ", kind.other_advice));
  }
  return absl::NotFoundError(
      absl::StrCat(directory, " holds no ", kind.file, ": ", kind.advice));
}

absl::StatusOr<ConfigText> Read(const std::string& directory,
                                const Kind& kind) {
  std::string path = absl::StrCat(directory, "/", kind.file);
  absl::StatusOr<std::string> text = ReadFile(path, kLimitBytes);
  if (absl::IsNotFound(text.status())) return NotThere(directory, kind);
  RETURN_IF_ERROR(text.status());
  return ConfigText{std::move(path), *std::move(text)};
}

}  // namespace

absl::StatusOr<ConfigText> ReadModelConfig(const std::string& directory) {
  return Read(directory, kModel);
}

absl::StatusOr<ConfigText> ReadAdapterConfig(const std::string& directory) {
  return Read(directory, kAdapter);
}

}  // namespace dissonance
