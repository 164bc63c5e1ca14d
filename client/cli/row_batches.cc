#include "client/cli/row_batches.h"

#include <unistd.h>

#include <cstdint>
#include <cstdio>

#include "client/cli/progress.h"
#include "src/base/clock.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr size_t kBytesPerRequest = 1 << 20;

}  // namespace

absl::Status InBatches(size_t row_count, size_t rows_per_request,
                       const std::function<size_t(size_t)>& bytes_of,
                       const std::function<absl::Status(size_t, size_t)>& ask) {
  ProgressDisplay display(stderr, ::isatty(STDERR_FILENO) == 1, Clock::Real());
  v1::Progress progress;
  progress.set_total_count(static_cast<int64_t>(row_count));
  progress.set_unit("rows");
  for (size_t begin = 0; begin < row_count;) {
    size_t count = 1;
    size_t bytes = bytes_of(begin);
    while (begin + count < row_count && count < rows_per_request) {
      bytes += bytes_of(begin + count);
      if (bytes > kBytesPerRequest) break;
      ++count;
    }
    if (const absl::Status status = ask(begin, count); !status.ok()) {
      display.Finish();
      return status;
    }
    begin += count;
    progress.set_done_count(static_cast<int64_t>(begin));
    // What fits into one request needs no progress.
    if (row_count > count) display.Update(progress);
  }
  display.Finish();
  return absl::OkStatus();
}

}  // namespace dissonance::cli
