// Names of number types and devices, and the opening of torch's CUDA
// libraries. Thread safe.
//
//   ASSIGN_OR_RETURN(at::ScalarType dtype, ParseDtype("bfloat16"));
//   ASSIGN_OR_RETURN(at::Device device, ParseDevice("cuda:0"));
//   if (device.is_cuda()) RETURN_IF_ERROR(OpenCudaLibraries());
#ifndef DISSONANCE_COMPUTE_TENSOR_DTYPE_H_
#define DISSONANCE_COMPUTE_TENSOR_DTYPE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dissonance {

// "float32", "bfloat16", "float16" or "float64"; anything else is
// INVALID_ARGUMENT with the names that are known.
absl::StatusOr<at::ScalarType> ParseDtype(absl::string_view name);

// The inverse of ParseDtype; torch's own name for other types.
std::string DtypeName(at::ScalarType dtype);

// Bytes of one element.
int64_t DtypeBytes(at::ScalarType dtype);

// "cpu" or "cuda:N", N from 0 to 127; anything else is INVALID_ARGUMENT. Does
// not look whether the device is there.
absl::StatusOr<at::Device> ParseDevice(absl::string_view name);

// Opens libtorch_cuda beside the libtorch in use, so that torch knows CUDA
// devices. Call it first in main: torch keeps its first answer to "is there
// CUDA?" for ever. A second call is a no-op. NOT_FOUND where this libtorch
// comes without CUDA, FAILED_PRECONDITION where its libraries do not load.
absl::Status OpenCudaLibraries();

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TENSOR_DTYPE_H_
