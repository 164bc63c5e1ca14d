// Principal components of rows (Pearson 1901) in float64: of few rows or
// columns from all eigenvectors of the smaller Gram matrix, else by subspace
// iteration, which costs a few products with the rows. Pure; may throw
// c10::Error.
//
//   PrincipalComponents pca = FindPrincipalComponents(rows, 2);
#ifndef DISSONANCE_COMPUTE_PROBE_PRINCIPAL_COMPONENTS_H_
#define DISSONANCE_COMPUTE_PROBE_PRINCIPAL_COMPONENTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dissonance {

// On the CPU, float64.
struct PrincipalComponents {
  at::Tensor mean;                      // [width]
  at::Tensor components;                // [count, width], length 1, largest
                                        // loading positive
  at::Tensor projections;               // [rows, count]
  std::vector<double> variances;        // n - 1 in the denominator
  std::vector<double> variance_shares;  // of the total
};

// Fewer than `count` where the rows span less. REQUIRES: two rows, finite.
PrincipalComponents FindPrincipalComponents(const at::Tensor& rows,
                                            int64_t count);

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_PRINCIPAL_COMPONENTS_H_
