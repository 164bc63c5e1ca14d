// The one place where torch's exceptions become absl::Status. Every call into
// torch that can throw (allocation, operators, device work) runs inside
// CatchTorch, so that no exception crosses a module's boundary. Thread safe.
//
//   ASSIGN_OR_RETURN(at::Tensor cache, CatchTorch("KV cache", [&] {
//     return at::empty({blocks, heads, block_size, head_dim}, options);
//   }));
#ifndef DISSONANCE_COMPUTE_TENSOR_TORCH_STATUS_H_
#define DISSONANCE_COMPUTE_TENSOR_TORCH_STATUS_H_

#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dissonance {

// Status of the exception that is being handled; `what` names the work and
// begins the message. Out of memory is RESOURCE_EXHAUSTED with the bytes where
// the exception has them; everything else is INTERNAL with the first line of
// the exception's message and no C++ stack.
// REQUIRES: called inside a catch block.
absl::Status CurrentExceptionToStatus(absl::string_view what);

namespace torch_status_internal {

template <typename T>
struct Wrapped {
  using type = absl::StatusOr<T>;
};
template <>
struct Wrapped<void> {
  using type = absl::Status;
};
template <>
struct Wrapped<absl::Status> {
  using type = absl::Status;
};
template <typename T>
struct Wrapped<absl::StatusOr<T>> {
  using type = absl::StatusOr<T>;
};

}  // namespace torch_status_internal

// Calls `f` and returns its result: absl::Status for a function that returns
// void or Status, absl::StatusOr<T> for one that returns T or StatusOr<T>. A
// thrown exception is returned as CurrentExceptionToStatus(what).
template <typename F>
auto CatchTorch(absl::string_view what, F&& f) ->
    typename torch_status_internal::Wrapped<std::invoke_result_t<F>>::type {
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
      std::forward<F>(f)();
      return absl::OkStatus();
    } else {
      return std::forward<F>(f)();
    }
  } catch (...) {
    return CurrentExceptionToStatus(what);
  }
}

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_TENSOR_TORCH_STATUS_H_
