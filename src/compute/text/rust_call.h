// Calls into the Rust library, with results and errors as the rest of the
// tree has them. Thread safe; what is returned belongs to the caller.
//
//   ASSIGN_OR_RETURN(std::string piece, CallRust([&](RustBuffer* out) {
//     return dissonance_tokenizer_piece(handle, 7, out);
//   }));
#ifndef DISSONANCE_COMPUTE_TEXT_RUST_CALL_H_
#define DISSONANCE_COMPUTE_TEXT_RUST_CALL_H_

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "src/compute/text/rust_abi.h"

namespace dissonance {

struct RustDeleter {
  void operator()(RustTokenizer* handle) const {
    dissonance_tokenizer_free(handle);
  }
  void operator()(RustTemplate* handle) const {
    dissonance_template_free(handle);
  }
};
using RustTokenizerPtr = std::unique_ptr<RustTokenizer, RustDeleter>;
using RustTemplatePtr = std::unique_ptr<RustTemplate, RustDeleter>;

// The bytes that `call` put out, or its error.
inline absl::StatusOr<std::string> CallRust(
    absl::FunctionRef<int32_t(RustBuffer*)> call) {
  RustBuffer out{};
  const int32_t code = call(&out);
  std::string bytes(out.data, out.size);
  dissonance_text_free_buffer(out);
  if (code != 0) {
    return absl::Status(static_cast<absl::StatusCode>(code), bytes);
  }
  return bytes;
}

// The native int32 values that a result holds.
inline std::vector<int32_t> Int32Values(const std::string& bytes) {
  std::vector<int32_t> values(bytes.size() / sizeof(int32_t));
  if (!values.empty()) {
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(int32_t));
  }
  return values;
}

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TEXT_RUST_CALL_H_
