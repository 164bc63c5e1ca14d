#include "src/compute/lora/adapter.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/normal.h>
#include <ATen/ops/zeros.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/compute/lora/peft_config.h"
#include "src/compute/tensor/parallel.h"
#include "src/compute/tensor/safetensors.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

constexpr absl::string_view kPrefix = "base_model.model.";

constexpr std::array<ProjectionGroup, kGroupCount> kGroups = {
    ProjectionGroup::kQkv, ProjectionGroup::kO, ProjectionGroup::kGateUp,
    ProjectionGroup::kDown};

// The last part of a dotted name.
std::string LastPart(const std::string& name) {
  return name.substr(name.rfind('.') + 1);
}

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

}  // namespace

// Builds one adapter from its files.
class AdapterReader {
 public:
  AdapterReader(const PeftConfig& config, const SafetensorsFile& file,
                const Model& model)
      : config_(config), file_(file), model_(model) {}

  absl::StatusOr<std::shared_ptr<LoraAdapter>> Read() {
    std::shared_ptr<LoraAdapter> adapter(new LoraAdapter);
    adapter->dropout_ = config_.dropout;
    const DecoderSpec& spec = model_.spec();
    for (int64_t block = 0; block < spec.block_count(); ++block) {
      for (const ProjectionGroup kind : kGroups) {
        ASSIGN_OR_RETURN(LoraGroup group, Group(block, kind, *adapter));
        adapter->groups_.push_back(std::move(group));
      }
    }
    RETURN_IF_ERROR(RefuseUnused());
    if (adapter->module_count_ == 0) return NothingTargeted();
    return adapter;
  }

 private:
  absl::StatusOr<LoraGroup> Group(int64_t block, ProjectionGroup kind,
                                  LoraAdapter& adapter) {
    const DecoderSpec& spec = model_.spec();
    LoraGroup group;
    std::vector<at::Tensor> downs;
    int64_t out_begin = 0;
    int64_t rank_begin = 0;
    for (const ModuleSpec& module : spec.Modules(block, kind)) {
      if (config_.Targets(module.name, block)) {
        const int64_t rank = config_.RankOf(module.name);
        ASSIGN_OR_RETURN(at::Tensor down, Tensor(module.name, "lora_A",
                                                 {rank, spec.InWidth(kind)}));
        ASSIGN_OR_RETURN(at::Tensor up, Tensor(module.name, "lora_B",
                                               {module.out_width, rank}));
        up = InGroupOrder(spec, kind, up) * config_.ScalingOf(module.name);
        adapter.bytes_ += static_cast<int64_t>(down.nbytes() + up.nbytes());
        adapter.rank_ = std::max(adapter.rank_, rank);
        ++adapter.module_count_;
        AddName(LastPart(module.name), adapter.target_names_);
        downs.push_back(std::move(down));
        group.modules.push_back(
            {module_number_, out_begin, rank_begin, std::move(up)});
        rank_begin += rank;
      }
      ++module_number_;
      out_begin += module.out_width;
    }
    if (!downs.empty()) group.down = at::cat(downs);
    return group;
  }

  static void AddName(const std::string& name,
                      std::vector<std::string>& names) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(name);
    }
  }

  absl::StatusOr<at::Tensor> Tensor(const std::string& module,
                                    const char* matrix,
                                    const std::vector<int64_t>& shape) {
    const std::string name =
        absl::StrCat(kPrefix, module, ".", matrix, ".weight");
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
    const at::ScalarType dtype =
        model_.dtype() == at::kDouble ? at::kDouble : at::kFloat;
    at::Tensor out =
        stored.to(at::TensorOptions().dtype(dtype).device(model_.device()),
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

  absl::Status NothingTargeted() const {
    const std::string wanted = config_.target_expression.empty()
                                   ? absl::StrJoin(config_.target_modules, ", ")
                                   : config_.target_expression;
    return absl::InvalidArgumentError(absl::StrCat(
        "target_modules (", wanted, ") match no module of ",
        model_.spec().architecture, "; its modules are named like ",
        model_.spec().Modules(0, ProjectionGroup::kQkv).front().name));
  }

  const PeftConfig& config_;
  const SafetensorsFile& file_;
  const Model& model_;
  std::set<std::string> used_;
  int64_t module_number_ = 0;
};

absl::StatusOr<std::shared_ptr<const LoraAdapter>> LoraAdapter::Load(
    const std::string& directory, const Model& model) {
  ASSIGN_OR_RETURN(const PeftConfig config, ReadPeftConfig(directory));
  ASSIGN_OR_RETURN(const std::shared_ptr<SafetensorsFile> file,
                   OpenWeights(directory));
  absl::StatusOr<std::shared_ptr<LoraAdapter>> read =
      CatchTorch(absl::StrCat("loading ", directory),
                 [&] { return AdapterReader(config, *file, model).Read(); });
  ReleaseThreads();
  ASSIGN_OR_RETURN(const std::shared_ptr<LoraAdapter> adapter, std::move(read));
  ASSIGN_OR_RETURN(
      const std::string config_digest,
      Sha256OfFile(absl::StrCat(directory, "/adapter_config.json")));
  ASSIGN_OR_RETURN(const std::string weights_digest, file->Digest());
  Sha256 digest;
  digest.UpdateFramed(config_digest);
  digest.UpdateFramed(weights_digest);
  adapter->digest_ = digest.Finish();
  return adapter;
}

absl::StatusOr<std::shared_ptr<const LoraAdapter>> LoraAdapter::Untrained(
    const Model& model, int64_t rank, uint64_t seed) {
  std::shared_ptr<LoraAdapter> adapter(new LoraAdapter);
  const DecoderSpec& spec = model.spec();
  const auto options =
      at::TensorOptions()
          .dtype(model.dtype() == at::kDouble ? at::kDouble : at::kFloat)
          .device(model.device());
  auto random = at::make_generator<at::CPUGeneratorImpl>(seed);
  int64_t number = 0;
  const absl::Status made = CatchTorch("untrained adapter", [&] {
    for (int64_t block = 0; block < spec.block_count(); ++block) {
      for (const ProjectionGroup kind : kGroups) {
        LoraGroup& group = adapter->groups_.emplace_back();
        int64_t out_begin = 0;
        for (const ModuleSpec& module : spec.Modules(block, kind)) {
          const auto own = static_cast<int64_t>(group.modules.size());
          group.modules.push_back(
              {number++, out_begin, own * rank,
               at::zeros({module.out_width, rank}, options)});
          out_begin += module.out_width;
        }
        const auto count = static_cast<int64_t>(group.modules.size());
        if (count == 0) continue;
        group.down = at::empty({count * rank, spec.InWidth(kind)}, at::kDouble)
                         .normal_(0.0, 1.0, random)
                         .to(options);
      }
    }
  });
  RETURN_IF_ERROR(made);
  adapter->rank_ = rank;
  adapter->module_count_ = number;
  adapter->digest_ = absl::StrCat("untrained, rank ", rank, ", seed ", seed);
  return adapter;
}

}  // namespace dissonance
