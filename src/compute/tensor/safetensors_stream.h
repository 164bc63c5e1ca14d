// A safetensors file without a file: its bytes, piece by piece, for whoever
// sends or digests them. Thread safe.
//
//   RETURN_IF_ERROR(SerializeSafetensors(
//       tensors, {}, [&](absl::string_view bytes) { return Send(bytes); }));
#ifndef DISSONANCE_COMPUTE_TENSOR_SAFETENSORS_STREAM_H_
#define DISSONANCE_COMPUTE_TENSOR_SAFETENSORS_STREAM_H_

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "src/compute/tensor/safetensors.h"

namespace dissonance {

// SafetensorsFile::Digest is over pieces of so many bytes.
inline constexpr uint64_t kDigestPieceBytes = uint64_t{16} << 20;

// Hands the bytes that WriteSafetensors would write to `sink`, in order: the
// header, then one tensor at a time, each as a whole, however large. Fails as
// WriteSafetensors does before the first call, and with what `sink` returns.
absl::Status SerializeSafetensors(
    absl::Span<const NamedTensor> tensors, const SafetensorsMetadata& metadata,
    absl::FunctionRef<absl::Status(absl::string_view)> sink);

// What SafetensorsFile::Digest gives for the file that WriteSafetensors writes.
absl::StatusOr<std::string> SafetensorsDigest(
    absl::Span<const NamedTensor> tensors,
    const SafetensorsMetadata& metadata = {});

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TENSOR_SAFETENSORS_STREAM_H_
