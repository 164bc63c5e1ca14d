#include "src/compute/tensor/dtype.h"

#include <ATen/Context.h>
#include <dlfcn.h>
#include <link.h>

#include <array>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace dissonance {
namespace {

constexpr std::array<std::pair<absl::string_view, at::ScalarType>, 4> kDtypes =
    {{{"float32", at::ScalarType::Float},
      {"bfloat16", at::ScalarType::BFloat16},
      {"float16", at::ScalarType::Half},
      {"float64", at::ScalarType::Double}}};

// The folder of the libtorch that this process runs on. An absolute path is
// needed because a sanitizer's dlopen does not see the caller's RUNPATH.
absl::StatusOr<std::filesystem::path> TorchFolder() {
  void* c10 = ::dlopen("libc10.so", RTLD_LAZY | RTLD_NOLOAD);
  link_map* map = nullptr;
  if (c10 == nullptr || ::dlinfo(c10, RTLD_DI_LINKMAP, &map) != 0) {
    return absl::InternalError("libc10.so is not among the loaded libraries");
  }
  return std::filesystem::path(map->l_name).parent_path();
}

}  // namespace

absl::StatusOr<at::ScalarType> ParseDtype(absl::string_view name) {
  for (const auto& [known, dtype] : kDtypes) {
    if (name == known) return dtype;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown dtype \"", name,
                   "\"; use float32, bfloat16, float16 or float64"));
}

std::string DtypeName(at::ScalarType dtype) {
  for (const auto& [name, known] : kDtypes) {
    if (dtype == known) return std::string(name);
  }
  return c10::toString(dtype);
}

int64_t DtypeBytes(at::ScalarType dtype) {
  return static_cast<int64_t>(c10::elementSize(dtype));
}

absl::StatusOr<at::Device> ParseDevice(absl::string_view name) {
  if (name == "cpu") return at::Device(at::DeviceType::CPU);
  absl::string_view digits = name;
  int index = 0;
  if (absl::ConsumePrefix(&digits, "cuda:") && !digits.empty() &&
      digits.find_first_not_of("0123456789") == absl::string_view::npos &&
      absl::SimpleAtoi(digits, &index) &&
      index <= std::numeric_limits<at::DeviceIndex>::max()) {
    return at::Device(at::DeviceType::CUDA,
                      static_cast<at::DeviceIndex>(index));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown device \"", name, "\"; use cpu or cuda:N, e.g. cuda:0"));
}

absl::Status OpenCudaLibraries() {
  absl::StatusOr<std::filesystem::path> folder = TorchFolder();
  if (!folder.ok()) return folder.status();
  const std::string library = *folder / "libtorch_cuda.so";
  std::error_code error;
  if (!std::filesystem::exists(library, error)) {
    return absl::NotFoundError(absl::StrCat(
        "this libtorch has no CUDA libraries (no ", library,
        "); use the device cpu, or install a CUDA build of torch"));
  }
  if (::dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot open ", library, ": ", ::dlerror(),
                     "; use the device cpu, or install torch with all of its "
                     "CUDA packages"));
  }
  // It makes a plan for each length anew, and keeps them all.
  at::globalContext().setSDPUseCuDNN(false);
  return absl::OkStatus();
}

}  // namespace dissonance
