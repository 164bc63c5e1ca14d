#include "server/worker/versions.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/headeronly/version.h>

#include "absl/strings/str_cat.h"

namespace dissonance {

std::map<std::string, std::string> ComponentVersions() {
  return {{"dissonance", DISSONANCE_VERSION}, {"libtorch", TORCH_VERSION}};
}

std::map<std::string, std::string> NumericsOf(const EngineOptions& options) {
  std::map<std::string, std::string> out = ComponentVersions();
  out["threads"] = absl::StrCat(at::get_num_threads());
  out["instructions"] = at::get_cpu_capability();
  out["attention_tile"] = absl::StrCat(options.attention_tile);
  return out;
}

}  // namespace dissonance
