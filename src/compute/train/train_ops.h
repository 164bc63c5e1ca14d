// The steps of a decoder block as functions that torch's autograd composes:
// each keeps no more than its backward pass needs and gives no gradient to a
// frozen weight. Stateless, thread safe.
#ifndef DISSONANCE_COMPUTE_TRAIN_TRAIN_OPS_H_
#define DISSONANCE_COMPUTE_TRAIN_TRAIN_OPS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "src/compute/lora/lora_parameters.h"
#include "src/compute/model/decoder_spec.h"
#include "src/compute/model/rotary.h"
#include "src/compute/model/weights.h"

namespace dissonance {

// As Decoder normalizes x [..., width]; x itself without a weight.
at::Tensor TrainNorm(const DecoderSpec& spec, const NormWeights& weights,
                     const at::Tensor& x);

// The MLP's hidden rows of the gate/up projection [rows, 2 * width], or of the
// up projection alone.
at::Tensor TrainActivation(const DecoderSpec& spec, const at::Tensor& up);

// x [rows, heads, head_dim] rotated; x itself without angles.
at::Tensor TrainRotary(const at::Tensor& x, const RotaryTable::Angles& angles);

// An adapted projection and where its gradients are added up; undefined, of all
// of a group: nowhere.
struct TrainModule {
  const LoraParameter* parameter = nullptr;
  at::Tensor grad_a;  // [rank, in_width]
  at::Tensor grad_b;  // [out_width, rank]
};

// Active dropout of the adapters' input: which numbers are dropped follows
// from the rows' keys, the module and the column.
struct TrainDropout {
  double rate = 0.0;
  std::vector<uint64_t> row_keys = {};  // [rows]
};

// A group's projections of x [rows, in] with what its adapters add: [rows,
// out]. The backward pass adds to the modules' gradients. `anchor` requires a
// gradient and gets none: it makes torch run the backward pass also where x
// needs no gradient.
at::Tensor TrainLinear(const LinearWeights& weights,
                       const std::vector<TrainModule>& modules,
                       const TrainDropout& dropout, const at::Tensor& x,
                       const at::Tensor& anchor);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_TRAIN_OPS_H_
