#include "src/compute/lora/adapter.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/compute/lora/adapter_reader.h"
#include "src/compute/lora/lora_parameters.h"
#include "src/compute/lora/peft_config.h"
#include "src/compute/tensor/parallel.h"
#include "src/compute/tensor/safetensors_stream.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

// The last part of a dotted name.
std::string LastPart(const std::string& name) {
  return name.substr(name.rfind('.') + 1);
}

void AddName(const std::string& name, std::vector<std::string>& names) {
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    names.push_back(name);
  }
}

}  // namespace

std::shared_ptr<LoraAdapter> LoraAdapter::FromModules(
    const PeftConfig& config, std::vector<LoraParameter> modules,
    int64_t block_count) {
  std::shared_ptr<LoraAdapter> adapter(new LoraAdapter);
  adapter->groups_.resize(static_cast<size_t>(block_count * kGroupCount));
  adapter->dropout_ = config.dropout;
  adapter->module_count_ = static_cast<int64_t>(modules.size());
  std::vector<std::vector<at::Tensor>> downs(adapter->groups_.size());
  std::vector<int64_t> ranks(adapter->groups_.size());
  for (LoraParameter& module : modules) {
    const auto place = static_cast<size_t>(module.block * kGroupCount +
                                           static_cast<int>(module.group));
    const int64_t rank = module.a.size(0);
    at::Tensor up = module.b * module.scaling;
    adapter->bytes_ += static_cast<int64_t>(module.a.nbytes() + up.nbytes());
    adapter->rank_ = std::max(adapter->rank_, rank);
    AddName(LastPart(module.name), adapter->target_names_);
    adapter->groups_[place].modules.push_back(
        {module.number, module.out_begin, ranks[place], std::move(up)});
    ranks[place] += rank;
    downs[place].push_back(std::move(module.a));
    module.b.reset();
  }
  for (size_t i = 0; i < downs.size(); ++i) {
    if (downs[i].empty()) continue;
    adapter->groups_[i].down = at::cat(downs[i]);
    downs[i].clear();
  }
  return adapter;
}

absl::StatusOr<std::shared_ptr<const LoraAdapter>> LoraAdapter::Load(
    const std::string& directory, const Model& model) {
  ASSIGN_OR_RETURN(StoredAdapter stored, ReadStoredAdapter(directory, model));
  auto made = CatchTorch(absl::StrCat("loading ", directory), [&] {
    return FromModules(stored.config, std::move(stored.modules),
                       model.spec().block_count());
  });
  ReleaseThreads();
  ASSIGN_OR_RETURN(const std::shared_ptr<LoraAdapter> adapter, std::move(made));
  adapter->digest_ = std::move(stored.digest);
  return adapter;
}

absl::StatusOr<std::shared_ptr<const LoraAdapter>> LoraAdapter::Make(
    const LoraParameters& lora, const Model& model,
    const std::string& base_model) {
  const DecoderSpec& spec = model.spec();
  std::string weights_digest;
  auto made = CatchTorch(
      "making an adapter",
      [&]() -> absl::StatusOr<std::shared_ptr<LoraAdapter>> {
        ASSIGN_OR_RETURN(
            weights_digest,
            SafetensorsDigest(lora.PeftTensors(spec), PeftMetadata()));
        return FromModules(lora.config(), lora.modules(), spec.block_count());
      });
  ASSIGN_OR_RETURN(const std::shared_ptr<LoraAdapter> adapter, std::move(made));
  adapter->digest_ =
      AdapterDigest(Sha256Of(PeftConfigJson(lora.config(), spec, base_model)),
                    weights_digest);
  return adapter;
}

absl::StatusOr<std::shared_ptr<const LoraAdapter>> LoraAdapter::Untrained(
    const Model& model, int64_t rank, uint64_t seed) {
  PeftConfig config;
  config.all_linear = true;
  config.rank = rank;
  ASSIGN_OR_RETURN(const LoraParameters lora,
                   LoraParameters::Init(config, model, seed));
  auto made = CatchTorch("untrained adapter", [&] {
    return FromModules(config, lora.modules(), model.spec().block_count());
  });
  ASSIGN_OR_RETURN(const std::shared_ptr<LoraAdapter> adapter, std::move(made));
  adapter->digest_ = absl::StrCat("untrained, rank ", rank, ", seed ", seed);
  return adapter;
}

}  // namespace dissonance
