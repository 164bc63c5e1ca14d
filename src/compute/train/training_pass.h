// What TrainingNetwork's sources share: a pack of documents, ready to be
// computed.
#ifndef DISSONANCE_COMPUTE_TRAIN_TRAINING_PASS_H_
#define DISSONANCE_COMPUTE_TRAIN_TRAINING_PASS_H_

#include <ATen/core/Tensor.h>

#include "src/compute/model/rotary.h"
#include "src/compute/train/packed_attention.h"
#include "src/compute/train/train_ops.h"
#include "src/compute/train/training_network.h"

namespace dissonance {

// What a pass needs in every block.
struct TrainingNetwork::Pass {
  at::Tensor token_ids;  // [rows]
  at::Tensor positions;  // [rows], from 0 in each document
  PackedRows rows;
  at::Tensor predicting;  // [targets] rows whose next token is a target
  at::Tensor targets;     // [targets], filled up with kNoTarget
  TrainDropout dropout;
  RotaryTable::Angles angles;
  RotaryTable::Angles window_angles;
};

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TRAIN_TRAINING_PASS_H_
