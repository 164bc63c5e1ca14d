#include "src/compute/lora/lora_parameters.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/mix.h"
#include "src/base/status_macros.h"
#include "src/compute/lora/adapter_reader.h"
#include "src/compute/model/weights.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

std::string LastPart(const std::string& name) {
  return name.substr(name.rfind('.') + 1);
}

std::vector<TargetedModule> AllModules(const DecoderSpec& spec) {
  PeftConfig all;
  all.all_linear = true;
  return TargetedModules(all, spec);
}

// Last parts of the names, sorted.
std::vector<std::string> ShortNames(const std::vector<TargetedModule>& all) {
  std::set<std::string> names;
  for (const TargetedModule& module : all) {
    names.insert(LastPart(module.place.name));
  }
  return {names.begin(), names.end()};
}

// The attention's projections; with as many parts of their names as no other
// module ends in.
std::vector<std::string> AttentionNames(const DecoderSpec& spec) {
  std::vector<std::string> names;
  std::set<std::string> others;
  for (const auto group : {ProjectionGroup::kGateUp, ProjectionGroup::kDown}) {
    for (const std::string& name :
         spec.names.modules[static_cast<size_t>(group)]) {
      others.insert(LastPart(name));
    }
  }
  for (const auto group : {ProjectionGroup::kQkv, ProjectionGroup::kO}) {
    for (const std::string& name :
         spec.names.modules[static_cast<size_t>(group)]) {
      const std::string last = LastPart(name);
      names.push_back(others.contains(last) ? name : last);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

// The configuration with its targets listed, checked and in the form in which a
// file has it.
absl::StatusOr<PeftConfig> Resolve(PeftConfig config, const DecoderSpec& spec) {
  if (config.all_linear) {
    config.target_modules = ShortNames(AllModules(spec));
    config.target_expression.clear();
    config.all_linear = false;
  } else if (config.target_modules.empty() &&
             config.target_expression.empty()) {
    config.target_modules = AttentionNames(spec);
  }
  return ParsePeftConfig(PeftConfigJson(config, spec, ""), "LoRA");
}

// Each thing that names modules has to name one.
class NameCheck {
 public:
  explicit NameCheck(const DecoderSpec& spec) : all_(AllModules(spec)) {}

  absl::Status Listed(absl::string_view key,
                      const std::vector<std::string>& names) const {
    for (const std::string& name : names) {
      const std::string ending = absl::StrCat(".", name);
      RETURN_IF_ERROR(Any(key, name, [&](const std::string& module) {
        return module == name || absl::EndsWith(module, ending);
      }));
    }
    return absl::OkStatus();
  }

  absl::Status Expression(absl::string_view key,
                          const std::string& expression) const {
    if (expression.empty()) return absl::OkStatus();
    return Any(key, expression, [&](const std::string& module) {
      return RE2::FullMatch(module, expression);
    });
  }

  template <typename T>
  absl::Status Patterns(
      absl::string_view key,
      const std::vector<std::pair<std::string, T>>& patterns) const {
    for (const auto& [pattern, value] : patterns) {
      const std::string whole = absl::StrCat("(.*\\.)?(", pattern, ")");
      RETURN_IF_ERROR(Any(key, pattern, [&](const std::string& module) {
        return RE2::FullMatch(module, whole);
      }));
    }
    return absl::OkStatus();
  }

 private:
  template <typename Matches>
  absl::Status Any(absl::string_view key, const std::string& what,
                   const Matches& matches) const {
    if (std::any_of(all_.begin(), all_.end(), [&](const auto& module) {
          return matches(module.place.name);
        })) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat("LoRA: ", key, " \"", what,
                     "\" matches no module of this model, whose "
                     "modules are ",
                     absl::StrJoin(ShortNames(all_), ", "), ", in full ",
                     all_.front().place.name, " and so on"));
  }

  const std::vector<TargetedModule> all_;
};

absl::Status CheckNames(const PeftConfig& config, const DecoderSpec& spec) {
  const NameCheck check(spec);
  RETURN_IF_ERROR(check.Listed("target_modules", config.target_modules));
  RETURN_IF_ERROR(check.Expression("target_modules", config.target_expression));
  RETURN_IF_ERROR(check.Listed("exclude_modules", config.excluded_modules));
  RETURN_IF_ERROR(
      check.Expression("exclude_modules", config.excluded_expression));
  RETURN_IF_ERROR(check.Patterns("rank_pattern", config.rank_pattern));
  RETURN_IF_ERROR(check.Patterns("alpha_pattern", config.alpha_pattern));
  for (const int64_t block : config.layers) {
    if (block < 0 || block >= spec.block_count()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "LoRA: block ", block, " is not there; this model has blocks 0 to ",
          spec.block_count() - 1));
    }
  }
  return absl::OkStatus();
}

// Drawn in float32, whatever the type that it is kept in.
at::Tensor InitialA(const TargetedModule& target, uint64_t seed) {
  const auto key = Mix(Mix(seed) ^ static_cast<uint64_t>(target.place.number));
  const double bound = 1.0 / std::sqrt(static_cast<double>(target.in_width));
  return at::empty({target.rank, target.in_width}, at::kFloat)
      .uniform_(-bound, bound, at::make_generator<at::CPUGeneratorImpl>(key));
}

at::TensorOptions OptionsOf(const Model& model) {
  return at::TensorOptions().dtype(LoraDtype(model)).device(model.device());
}

at::Tensor ViewLike(const at::Tensor& own, const at::Tensor& flat,
                    const at::Tensor& like_flat) {
  const int64_t begin = own.storage_offset() - flat.storage_offset();
  return like_flat.narrow(0, begin, own.numel()).view(own.sizes());
}

}  // namespace

LoraParameters LoraParameters::Pack(PeftConfig config,
                                    std::vector<LoraParameter> modules,
                                    const at::TensorOptions& options) {
  int64_t numbers = 0;
  for (const LoraParameter& module : modules) {
    numbers += module.a.numel() + module.b.numel();
  }
  LoraParameters lora;
  lora.config_ = std::move(config);
  lora.flat_ = at::empty({numbers}, options);
  int64_t begin = 0;
  const auto pack = [&](at::Tensor& matrix) {
    at::Tensor place =
        lora.flat_.narrow(0, begin, matrix.numel()).view(matrix.sizes());
    begin += matrix.numel();
    matrix = place.copy_(matrix);
  };
  for (LoraParameter& module : modules) {
    pack(module.a);
    pack(module.b);
  }
  lora.modules_ = std::move(modules);
  return lora;
}

absl::StatusOr<PeftConfig> ResolvePeftConfig(const PeftConfig& config,
                                             const Model& model) {
  ASSIGN_OR_RETURN(PeftConfig resolved, Resolve(config, model.spec()));
  RETURN_IF_ERROR(CheckNames(resolved, model.spec()));
  if (TargetedModules(resolved, model.spec()).empty()) {
    return NothingTargeted(resolved, model.spec());
  }
  return resolved;
}

absl::StatusOr<LoraParameters> LoraParameters::Init(const PeftConfig& config,
                                                    const Model& model,
                                                    uint64_t seed) {
  const DecoderSpec& spec = model.spec();
  ASSIGN_OR_RETURN(PeftConfig resolved, ResolvePeftConfig(config, model));
  const std::vector<TargetedModule> targets = TargetedModules(resolved, spec);
  // A GPU's own allocator says so itself.
  if (model.device().is_cpu()) {
    RETURN_IF_ERROR(CheckMatricesFit(targets, LoraDtype(model)));
  }
  return CatchTorch("initial LoRA matrices", [&] {
    std::vector<LoraParameter> modules;
    for (const TargetedModule& target : targets) {
      LoraParameter& module = modules.emplace_back(target.place);
      module.a = InitialA(target, seed);
      module.b = at::zeros({target.out_width, target.rank}, at::kFloat);
    }
    return Pack(std::move(resolved), std::move(modules), OptionsOf(model));
  });
}

absl::StatusOr<LoraParameters> LoraParameters::Read(
    const std::string& directory, const Model& model) {
  ASSIGN_OR_RETURN(StoredAdapter stored, ReadStoredAdapter(directory, model));
  return CatchTorch(absl::StrCat("loading ", directory), [&] {
    LoraParameters lora = Pack(std::move(stored.config),
                               std::move(stored.modules), OptionsOf(model));
    lora.files_digest_ = std::move(stored.digest);
    return lora;
  });
}

at::Tensor LoraParameters::ViewA(const at::Tensor& like_flat, size_t i) const {
  return ViewLike(modules_[i].a, flat_, like_flat);
}

at::Tensor LoraParameters::ViewB(const at::Tensor& like_flat, size_t i) const {
  return ViewLike(modules_[i].b, flat_, like_flat);
}

std::vector<NamedTensor> LoraParameters::PeftTensors(
    const DecoderSpec& spec, const at::Tensor& like_flat) const {
  const at::Tensor numbers =
      like_flat.to(at::TensorOptions().device(at::kCPU), /*non_blocking=*/false,
                   /*copy=*/true);
  std::vector<NamedTensor> tensors;
  for (size_t i = 0; i < modules_.size(); ++i) {
    const LoraParameter& module = modules_[i];
    tensors.emplace_back(PeftTensorName(module.name, "lora_A"),
                         ViewA(numbers, i));
    tensors.emplace_back(PeftTensorName(module.name, "lora_B"),
                         InStoredOrder(spec, module.group, ViewB(numbers, i)));
  }
  return tensors;
}

const SafetensorsMetadata& PeftMetadata() {
  static const auto* metadata = new SafetensorsMetadata{{"format", "pt"}};
  return *metadata;
}

}  // namespace dissonance
