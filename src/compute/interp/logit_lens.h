// The logit lens (nostalgebraist 2020): rows of the residual stream, or of what
// is added to it, read through final norm and unembedding as if they were the
// last. Pure functions; thread safe. Throw c10::Error as torch does.
#ifndef DISSONANCE_COMPUTE_INTERP_LOGIT_LENS_H_
#define DISSONANCE_COMPUTE_INTERP_LOGIT_LENS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "src/compute/model/model.h"

namespace dissonance {

// Logits [rows, vocab] of rows [rows, d_model]; the model's type.
at::Tensor LensLogits(const Model& model, const at::Tensor& rows,
                      bool reproducible);

// log P [rows, vocab] of logits, in float32 or float64.
at::Tensor LogProbs(const at::Tensor& logits);

struct TokenReading {
  double logit = 0.0;
  double logprob = 0.0;  // nats
  int64_t rank = 0;      // tokens with a higher logit
};

struct LensReading {
  std::vector<TokenReading> tokens;             // of those asked for
  std::vector<std::pair<int32_t, double>> top;  // log P, best first
};

// What each row of logits [rows, vocab] says of some tokens, with the `top_k`
// most likely ones.
std::vector<LensReading> ReadLogits(const at::Tensor& logits,
                                    absl::Span<const int32_t> tokens,
                                    int64_t top_k);

// KL(p || q) of each row, nats, from log-probabilities [rows, vocab]; summed in
// float64.
std::vector<double> KlDivergence(const at::Tensor& log_p,
                                 const at::Tensor& log_q);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_INTERP_LOGIT_LENS_H_
