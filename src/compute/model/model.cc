#include "src/compute/model/model.h"

#include <functional>
#include <future>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/memory.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/dtype.h"
#include "src/compute/tensor/parallel.h"
#include "src/compute/tensor/safetensors.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

absl::StatusOr<at::ScalarType> ComputeType(const DecoderSpec& spec,
                                           const ModelOptions& options) {
  if (options.dtype.has_value()) return *options.dtype;
  if (spec.stored_dtype.empty()) return at::kFloat;
  ASSIGN_OR_RETURN(const at::ScalarType stored, ParseDtype(spec.stored_dtype));
  return stored == at::kHalf ? at::kFloat : stored;
}

absl::StatusOr<std::string> DigestOf(const std::string& directory,
                                     const Checkpoint& checkpoint,
                                     DigestCache* digests) {
  ASSIGN_OR_RETURN(const std::string config,
                   Sha256OfFile(absl::StrCat(directory, "/config.json")));
  ASSIGN_OR_RETURN(const std::string weights, checkpoint.Digest(digests));
  Sha256 digest;
  digest.UpdateFramed(config);
  digest.UpdateFramed(weights);
  return digest.Finish();
}

// Of all tensors, in `dtype`.
absl::StatusOr<int64_t> BytesOf(const Checkpoint& checkpoint,
                                at::ScalarType dtype) {
  int64_t elements = 0;
  for (const std::string& name : checkpoint.names()) {
    ASSIGN_OR_RETURN(const TensorInfo info, checkpoint.Info(name));
    elements += std::accumulate(info.shape.begin(), info.shape.end(),
                                int64_t{1}, std::multiplies<>());
  }
  return elements * static_cast<int64_t>(c10::elementSize(dtype));
}

// Refuses weights that do not fit, before the system ends the process for them.
// A GPU's own allocator says so itself.
absl::Status CheckFits(const std::string& directory,
                       const Checkpoint& checkpoint, at::ScalarType dtype,
                       const at::Device& device) {
  if (!device.is_cpu()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t bytes, BytesOf(checkpoint, dtype));
  return CheckMemory(directory, bytes);
}

}  // namespace

absl::StatusOr<ModelIdentity> Model::Identify(const std::string& directory,
                                              const ModelOptions& options) {
  ASSIGN_OR_RETURN(const DecoderSpec spec, ReadDecoderSpec(directory));
  ModelIdentity identity;
  ASSIGN_OR_RETURN(identity.dtype, ComputeType(spec, options));
  ASSIGN_OR_RETURN(const std::shared_ptr<Checkpoint> checkpoint,
                   Checkpoint::Open(directory));
  ASSIGN_OR_RETURN(identity.digest,
                   DigestOf(directory, *checkpoint, options.digests));
  return identity;
}

absl::StatusOr<int64_t> Model::WeightBytes(const std::string& directory,
                                           const ModelOptions& options) {
  ASSIGN_OR_RETURN(const DecoderSpec spec, ReadDecoderSpec(directory));
  ASSIGN_OR_RETURN(const at::ScalarType dtype, ComputeType(spec, options));
  ASSIGN_OR_RETURN(const std::shared_ptr<Checkpoint> checkpoint,
                   Checkpoint::Open(directory));
  return BytesOf(*checkpoint, dtype);
}

absl::StatusOr<std::shared_ptr<const Model>> Model::Load(
    const std::string& directory, const ModelOptions& options) {
  std::shared_ptr<Model> model(new Model);
  ASSIGN_OR_RETURN(model->spec_, ReadDecoderSpec(directory));
  ASSIGN_OR_RETURN(const at::ScalarType dtype,
                   ComputeType(model->spec_, options));
  ASSIGN_OR_RETURN(const std::shared_ptr<Checkpoint> checkpoint,
                   Checkpoint::Open(directory));
  RETURN_IF_ERROR(CheckFits(directory, *checkpoint, dtype, options.device));
  // The digest reads every byte once more; beside the copy it costs little.
  std::future<absl::StatusOr<std::string>> digest = std::async(
      std::launch::async,
      [&] { return DigestOf(directory, *checkpoint, options.digests); });
  const at::TensorOptions tensors =
      at::TensorOptions().dtype(dtype).device(options.device);
  absl::StatusOr<DecoderWeights> weights = CatchTorch(
      absl::StrCat("loading ", directory),
      [&] { return ReadWeights(model->spec_, *checkpoint, tensors); });
  ReleaseThreads();
  absl::StatusOr<std::string> digest_text = digest.get();
  if (!weights.ok()) return Annotate(weights.status(), directory);
  RETURN_IF_ERROR(digest_text.status());
  model->weights_ = *std::move(weights);
  RETURN_IF_ERROR(CatchTorch(absl::StrCat("loading ", directory), [&] {
    model->decoder_ = std::make_unique<Decoder>(model->spec_, model->weights_);
  }));
  model->digest_ = *std::move(digest_text);
  return model;
}

}  // namespace dissonance
