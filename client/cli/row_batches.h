// Rows of a file in requests of a sensible size, with progress on stderr.
//
//   RETURN_IF_ERROR(InBatches(
//       rows, [](const InputRow& row) { return row.input.ByteSizeLong(); },
//       [&](absl::Span<const InputRow> some) { return Ask(some); }));
#ifndef DISSONANCE_CLIENT_CLI_ROW_BATCHES_H_
#define DISSONANCE_CLIENT_CLI_ROW_BATCHES_H_

#include <cstddef>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace dissonance::cli {

// Enough rows to fill the server's batches, few enough that results come
// steadily and no message is large.
inline constexpr size_t kRowsPerRequest = 64;

// Calls `ask` with consecutive rows [begin, begin + count), until all were
// asked about or it fails. `bytes_of` tells a row's size by its index.
absl::Status InBatches(size_t row_count, size_t rows_per_request,
                       const std::function<size_t(size_t)>& bytes_of,
                       const std::function<absl::Status(size_t, size_t)>& ask);

// The same for rows in memory.
template <typename Row, typename BytesOf, typename Ask>
absl::Status InBatches(const std::vector<Row>& rows, BytesOf bytes_of, Ask ask,
                       size_t rows_per_request = kRowsPerRequest) {
  return InBatches(
      rows.size(), rows_per_request,
      [&](size_t row) { return bytes_of(rows[row]); },
      [&](size_t begin, size_t count) {
        return ask(absl::MakeConstSpan(rows).subspan(begin, count));
      });
}

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_ROW_BATCHES_H_
