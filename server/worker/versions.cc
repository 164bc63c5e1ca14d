#include "server/worker/versions.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/headeronly/version.h>

#include "absl/strings/str_cat.h"
#include "src/compute/model/onednn_product.h"

namespace dissonance {
namespace {

// Libraries take other paths on other makers' processors.
std::string ProcessorVendor() {
#if defined(__x86_64__)
  if (__builtin_cpu_is("amd")) return "amd";
  if (__builtin_cpu_is("intel")) return "intel";
#endif
  return "other";
}

}  // namespace

std::map<std::string, std::string> ComponentVersions() {
  return {{"dissonance", DISSONANCE_VERSION}, {"libtorch", TORCH_VERSION}};
}

std::map<std::string, std::string> NumericsOf(const EngineOptions& options) {
  std::map<std::string, std::string> out = ComponentVersions();
  out["threads"] = absl::StrCat(at::get_num_threads());
  out["processor"] = ProcessorVendor();
  out["instructions"] = at::get_cpu_capability();
  out["float32_products"] = PrefersOneDnn() ? "onednn" : "torch";
  out["attention_tile"] = absl::StrCat(options.attention_tile);
  return out;
}

}  // namespace dissonance
