#include "server/control/worker_arguments.h"

#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace dissonance {
namespace {

// Settings of the worker's libraries that are read when it starts; those that
// the server itself was started with stay.
void AddTuning(std::vector<std::string>& environment) {
  if (std::getenv("GOMP_SPINCOUNT") == nullptr &&
      std::getenv("OMP_WAIT_POLICY") == nullptr) {
    // Compute threads that wait for each other soon leave the processor to
    // whoever else needs it, the server itself included; but not at once where
    // there are more of them than processors, as they otherwise would.
    environment.push_back("GOMP_SPINCOUNT=10000");
    environment.push_back("OMP_WAIT_POLICY=active");
  }
  if (std::getenv("GLIBC_TUNABLES") == nullptr) {
    // Huge pages for weights: a model loads a sixth faster.
    environment.push_back("GLIBC_TUNABLES=glibc.malloc.hugetlb=1");
  }
  if (std::getenv("MALLOC_ARENA_MAX") == nullptr) {
    // Each arena keeps the most that its threads ever held, and by default
    // there are eight for each processor: resident memory grew for hours,
    // though no more of it was in use.
    environment.push_back("MALLOC_ARENA_MAX=2");
  }
}

}  // namespace

std::string DeviceOf(const WorkerConfig& config, int worker) {
  absl::string_view number = config.device;
  int first = 0;
  const bool is_gpu = absl::ConsumePrefix(&number, "cuda");
  if (config.launcher != kLocalLauncher || !is_gpu) return config.device;
  if (absl::ConsumePrefix(&number, ":") && !absl::SimpleAtoi(number, &first)) {
    return config.device;
  }
  return absl::StrCat("cuda:", first + worker);
}

std::vector<std::string> WorkerArguments(const Config& config,
                                         const DataFolder& folder,
                                         const std::string& control,
                                         int worker) {
  const WorkerConfig& own = config.worker;
  const LimitsConfig& limits = config.limits;
  std::vector<std::string> arguments;
  const auto add = [&arguments](const char* flag, const auto& value) {
    arguments.push_back(flag);
    arguments.push_back(absl::StrCat(value));
  };
  add("--control", control);
  add("--digest-cache", folder.digest_cache(worker));
  add("--activation-store", folder.activation_store(worker));
  add("--activation-store-bytes", own.activation_store_bytes);
  add("--scratch", folder.scratch(worker));
  add("--device", DeviceOf(own, worker));
  add("--weight-bytes", own.weight_bytes);
  add("--training-bytes", own.training_bytes);
  add("--training-share", own.training_share);
  add("--threads", own.threads);
  add("--max-message-bytes", limits.message_bytes);
  add("--step-tokens", own.step_tokens);
  add("--decode-step-tokens", own.decode_step_tokens);
  add("--reproducible", own.reproducible ? "true" : "false");
  add("--kv-cache-bytes", own.kv_cache_bytes);
  add("--prefix-cache-bytes", own.prefix_cache_bytes);
  add("--queue-limit", own.queue_limit);
  add("--text-bytes", limits.text_bytes);
  add("--items", limits.items);
  add("--continuations", limits.continuations);
  add("--tokens", limits.tokens);
  return arguments;
}

std::vector<std::string> WorkerEnvironment(const WorkerConfig& config) {
  std::vector<std::string> environment;
  if (config.threads > 0) {
    // The OpenMP runtime reads it when the library is loaded.
    environment.push_back(absl::StrCat("OMP_NUM_THREADS=", config.threads));
  }
  AddTuning(environment);
  return environment;
}

}  // namespace dissonance
