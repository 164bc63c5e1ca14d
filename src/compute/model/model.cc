#include "src/compute/model/model.h"

#include <future>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/dtype.h"
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

}  // namespace

absl::StatusOr<std::shared_ptr<const Model>> Model::Load(
    const std::string& directory, const ModelOptions& options) {
  std::shared_ptr<Model> model(new Model);
  ASSIGN_OR_RETURN(model->spec_, ReadDecoderSpec(directory));
  ASSIGN_OR_RETURN(const at::ScalarType dtype,
                   ComputeType(model->spec_, options));
  ASSIGN_OR_RETURN(const std::shared_ptr<Checkpoint> checkpoint,
                   Checkpoint::Open(directory));
  // The digest reads every byte once more; beside the copy it costs little.
  std::future<absl::StatusOr<std::string>> digest = std::async(
      std::launch::async,
      [&] { return DigestOf(directory, *checkpoint, options.digests); });
  const at::TensorOptions tensors =
      at::TensorOptions().dtype(dtype).device(options.device);
  absl::StatusOr<DecoderWeights> weights = CatchTorch(
      absl::StrCat("loading ", directory),
      [&] { return ReadWeights(model->spec_, *checkpoint, tensors); });
  absl::StatusOr<std::string> digest_text = digest.get();
  if (!weights.ok()) return Annotate(weights.status(), directory);
  RETURN_IF_ERROR(digest_text.status());
  model->weights_ = *std::move(weights);
  model->decoder_ = std::make_unique<Decoder>(model->spec_, model->weights_);
  model->digest_ = *std::move(digest_text);
  return model;
}

}  // namespace dissonance
