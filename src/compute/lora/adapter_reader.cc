#include "src/compute/lora/adapter_reader.h"

#include <ATen/ops/isfinite.h>
#include <sys/stat.h>

#include <array>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/memory.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/compute/model/weights.h"
#include "src/compute/tensor/parallel.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

constexpr std::array<ProjectionGroup, kGroupCount> kGroups = {
    ProjectionGroup::kQkv, ProjectionGroup::kO, ProjectionGroup::kGateUp,
    ProjectionGroup::kDown};

bool Exists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

absl::StatusOr<std::shared_ptr<SafetensorsFile>> OpenWeights(
    const std::string& directory) {
  const std::string path =
      absl::StrCat(directory, "/adapter_model.safetensors");
  if (!Exists(path) && Exists(absl::StrCat(directory, "/adapter_model.bin"))) {
    return absl::UnimplementedError(absl::StrCat(
        directory,
        ": adapter_model.bin is a pickle and is never read; save "
        "the adapter with PEFT's save_pretrained(safe_serialization=True)"));
  }
  if (!Exists(path)) {
    return absl::NotFoundError(
        absl::StrCat(path,
                     " is missing; a PEFT adapter is a folder with "
                     "adapter_config.json and adapter_model.safetensors"));
  }
  return SafetensorsFile::Open(path);
}

// Reads the matrices of one adapter.
class MatrixReader {
 public:
  MatrixReader(const PeftConfig& config, const SafetensorsFile& file,
               const Model& model)
      : config_(config), file_(file), model_(model) {}

  absl::StatusOr<std::vector<LoraParameter>> Read() {
    const DecoderSpec& spec = model_.spec();
    std::vector<LoraParameter> modules;
    for (const TargetedModule& target : TargetedModules(config_, spec)) {
      LoraParameter& module = modules.emplace_back(target.place);
      ASSIGN_OR_RETURN(module.a, Tensor(module.name, "lora_A",
                                        {target.rank, target.in_width}));
      ASSIGN_OR_RETURN(
          const at::Tensor stored,
          Tensor(module.name, "lora_B", {target.out_width, target.rank}));
      module.b = InGroupOrder(spec, module.group, stored);
    }
    RETURN_IF_ERROR(RefuseUnused());
    if (modules.empty()) return NothingTargeted(config_, spec);
    return modules;
  }

 private:
  absl::StatusOr<at::Tensor> Tensor(const std::string& module,
                                    const char* matrix,
                                    const std::vector<int64_t>& shape) {
    const std::string name = PeftTensorName(module, matrix);
    const auto info = file_.tensors().find(name);
    if (info == file_.tensors().end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(file_.path(), ": tensor \"", name,
                       "\" is missing; adapter_config.json targets ", module));
    }
    if (info->second.shape != shape) {
      return absl::InvalidArgumentError(absl::StrCat(
          file_.path(), ": tensor \"", name, "\" has shape [",
          absl::StrJoin(info->second.shape, ", "),
          "]; rank and base model ask for [", absl::StrJoin(shape, ", "), "]"));
    }
    ASSIGN_OR_RETURN(const at::Tensor stored, file_.Load(name));
    at::Tensor out = stored.to(
        at::TensorOptions().dtype(LoraDtype(model_)).device(model_.device()),
        /*non_blocking=*/false, /*copy=*/true);
    if (!out.isfinite().all().item<bool>()) {
      return absl::InvalidArgumentError(absl::StrCat(
          file_.path(), ": tensor \"", name, "\" holds NaN or Inf"));
    }
    used_.insert(name);
    return out;
  }

  absl::Status RefuseUnused() const {
    for (const auto& [name, info] : file_.tensors()) {
      if (used_.contains(name)) continue;
      if (absl::StrContains(name, ".experts.")) {
        return absl::UnimplementedError(absl::StrCat(
            file_.path(), ": tensor \"", name,
            "\" adapts an expert, which is not supported; adapters of the "
            "attention's projections are"));
      }
      return absl::InvalidArgumentError(absl::StrCat(
          file_.path(), ": tensor \"", name,
          "\" belongs to no LoRA module that adapter_config.json targets in "
          "this model"));
    }
    return absl::OkStatus();
  }

  const PeftConfig& config_;
  const SafetensorsFile& file_;
  const Model& model_;
  std::set<std::string> used_;
};

}  // namespace

std::vector<TargetedModule> TargetedModules(const PeftConfig& config,
                                            const DecoderSpec& spec) {
  std::vector<TargetedModule> targets;
  int64_t number = 0;
  for (int64_t block = 0; block < spec.block_count(); ++block) {
    for (const ProjectionGroup group : kGroups) {
      int64_t out_begin = 0;
      for (const ModuleSpec& module : spec.Modules(block, group)) {
        if (config.Targets(module.name, block)) {
          targets.push_back({.place = {.name = module.name,
                                       .number = number,
                                       .block = block,
                                       .group = group,
                                       .out_begin = out_begin,
                                       .scaling = config.ScalingOf(module.name),
                                       .a = {},
                                       .b = {}},
                             .rank = config.RankOf(module.name),
                             .in_width = spec.InWidth(group),
                             .out_width = module.out_width});
        }
        ++number;
        out_begin += module.out_width;
      }
    }
  }
  return targets;
}

absl::Status NothingTargeted(const PeftConfig& config,
                             const DecoderSpec& spec) {
  const std::string wanted = config.target_expression.empty()
                                 ? absl::StrJoin(config.target_modules, ", ")
                                 : config.target_expression;
  return absl::InvalidArgumentError(
      absl::StrCat("target_modules (", wanted, ") match no module of ",
                   spec.architecture, "; its modules are named like ",
                   spec.Modules(0, ProjectionGroup::kQkv).front().name));
}

absl::Status CheckMatricesFit(const std::vector<TargetedModule>& targets,
                              at::ScalarType dtype, const std::string& root) {
  int64_t numbers = 0;
  for (const TargetedModule& target : targets) {
    numbers += target.rank * (target.in_width + target.out_width);
  }
  return CheckMemory(absl::StrCat("LoRA: an adapter of ", numbers, " numbers"),
                     numbers * static_cast<int64_t>(c10::elementSize(dtype)),
                     root);
}

std::string PeftTensorName(const std::string& module,
                           absl::string_view matrix) {
  return absl::StrCat("base_model.model.", module, ".", matrix, ".weight");
}

at::ScalarType LoraDtype(const Model& model) {
  return model.dtype() == at::kDouble ? at::kDouble : at::kFloat;
}

std::string AdapterDigest(const std::string& config,
                          const std::string& weights) {
  Sha256 digest;
  digest.UpdateFramed(config);
  digest.UpdateFramed(weights);
  return digest.Finish();
}

absl::StatusOr<StoredAdapter> ReadStoredAdapter(const std::string& directory,
                                                const Model& model) {
  StoredAdapter adapter;
  ASSIGN_OR_RETURN(adapter.config, ReadPeftConfig(directory));
  ASSIGN_OR_RETURN(adapter.weights, OpenWeights(directory));
  auto modules = CatchTorch(absl::StrCat("loading ", directory), [&] {
    return MatrixReader(adapter.config, *adapter.weights, model).Read();
  });
  ReleaseThreads();
  ASSIGN_OR_RETURN(adapter.modules, std::move(modules));
  ASSIGN_OR_RETURN(
      const std::string config_digest,
      Sha256OfFile(absl::StrCat(directory, "/adapter_config.json")));
  ASSIGN_OR_RETURN(const std::string weights_digest, adapter.weights->Digest());
  adapter.digest = AdapterDigest(config_digest, weights_digest);
  return adapter;
}

}  // namespace dissonance
