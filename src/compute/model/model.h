// A base model read from a Hugging Face directory and kept on the device.
// Immutable, thread safe, shared: whoever computes with it holds a reference,
// so unloading never pulls it from under a request.
//
//   ASSIGN_OR_RETURN(std::shared_ptr<const Model> model,
//                    Model::Load(dir, {.dtype = at::kFloat}));
#ifndef DISSONANCE_COMPUTE_MODEL_MODEL_H_
#define DISSONANCE_COMPUTE_MODEL_MODEL_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "src/base/digest_cache.h"
#include "src/compute/model/decoder.h"
#include "src/compute/model/decoder_spec.h"
#include "src/compute/model/weights.h"

namespace dissonance {

struct ModelOptions {
  // Compute type. Default: the checkpoint's; float16 becomes float32 on a CPU.
  std::optional<at::ScalarType> dtype;
  at::Device device = at::kCPU;
  // Where digests of weight files are remembered; null: computed anew.
  DigestCache* digests = nullptr;
};

// What tells one loaded model from another.
struct ModelIdentity {
  std::string digest;  // as Model::digest
  at::ScalarType dtype = at::kFloat;
};

class Model {
 public:
  // What Load would load, without loading it.
  static absl::StatusOr<ModelIdentity> Identify(const std::string& directory,
                                                const ModelOptions& options);

  // About how many bytes the weights will take. Reads the files' headers only.
  static absl::StatusOr<int64_t> WeightBytes(const std::string& directory,
                                             const ModelOptions& options);

  // RESOURCE_EXHAUSTED if the weights do not fit into the device's memory.
  // NOT_FOUND without config.json; otherwise as ReadDecoderSpec, Checkpoint
  // and ReadWeights say, with the directory in the message.
  static absl::StatusOr<std::shared_ptr<const Model>> Load(
      const std::string& directory, const ModelOptions& options);

  const DecoderSpec& spec() const { return spec_; }
  const DecoderWeights& weights() const { return weights_; }
  const Decoder& decoder() const { return *decoder_; }
  // "sha256:..." over config.json and the weights' files.
  const std::string& digest() const { return digest_; }
  at::ScalarType dtype() const { return weights_.embed.scalar_type(); }
  at::Device device() const { return weights_.embed.device(); }

 private:
  Model() = default;

  DecoderSpec spec_;
  DecoderWeights weights_;
  std::unique_ptr<const Decoder> decoder_;
  std::string digest_;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_MODEL_MODEL_H_
