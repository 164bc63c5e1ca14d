// Single tensors from safetensors files: the vectors of interventions. Nothing
// that a file claims is allocated before it is checked. Thread safe.
//
//   ASSIGN_OR_RETURN(v1::Tensor vector,
//                    ReadTensor("direction.safetensors", /*name=*/""));
#ifndef DISSONANCE_CLIENT_CLI_SAFETENSORS_READER_H_
#define DISSONANCE_CLIENT_CLI_SAFETENSORS_READER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "dissonance/v1/common.pb.h"

namespace dissonance::cli {

// The tensor `name`, or, if that is empty, the only one in the file. F32 and
// F64 are kept; F16 and BF16 become float32, which holds each of their numbers.
// NOT_FOUND if there is no such file or tensor; INVALID_ARGUMENT, with file
// and tensor, for a file that is malformed, holds several tensors of which none
// was named, or a tensor of another type; RESOURCE_EXHAUSTED for one of more
// than `limit_bytes`.
absl::StatusOr<v1::Tensor> ReadTensor(const std::string& path,
                                      const std::string& name,
                                      uint64_t limit_bytes = 16 << 20);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_SAFETENSORS_READER_H_
