// One activations-NNNNN.safetensors while its rows come: they wait on disk in
// the order of arrival and are put in the tensors' order at the end, so that
// memory stays small whatever is captured. Not thread safe.
//
// Tensors are blocks.<L>.<site> [rows, width] ([rows, heads, head_dim] for
// sites with heads), final_norm, logits, and blocks.<L>.pattern.<request>
// [heads, queries, keys], one for each request, because requests differ in
// length.
//
//   ASSIGN_OR_RETURN(ActivationShard shard, ActivationShard::Create("acts"));
//   shard.Announce(rows);
//   RETURN_IF_ERROR(shard.Add(chunk));  // for each place
//   RETURN_IF_ERROR(shard.Keep());
//   RETURN_IF_ERROR(shard.Write("acts/activations-00000.safetensors"));
#ifndef DISSONANCE_CLIENT_CLI_ACTIVATION_SHARD_H_
#define DISSONANCE_CLIENT_CLI_ACTIVATION_SHARD_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/activation_manifest.h"
#include "client/cli/spill_file.h"
#include "dissonance/v1/interpretability.pb.h"
#include "src/lab/tensors/safetensors_writer.h"

namespace dissonance::cli {

class ActivationShard {
 public:
  // What waits lies in `directory`.
  static absl::StatusOr<ActivationShard> Create(const std::string& directory);

  // The rows whose chunks come next. Between two calls of Keep all are of one
  // request.
  absl::Status Announce(const v1::ActivationRows& rows);

  // INTERNAL, as in Announce and Keep, for what no server should send: rows
  // that were not announced, or that do not match what came before.
  absl::Status Add(const v1::ActivationChunk& chunk);

  // The request is complete and stays. INTERNAL if a row lacks a place.
  absl::Status Keep();

  // Forgets what came after the last Keep.
  absl::Status Drop();

  // Writes the kept rows, atomically, and forgets them.
  absl::Status Write(const std::string& path);

  // Kept.
  int64_t row_count() const { return kept_rows_; }
  int64_t byte_count() const { return kept_bytes_; }
  // Of each place that ever came, the shape of one row: [width], or [heads,
  // head_dim]; of a pattern [heads].
  const RowShapes& row_shapes() const { return row_shapes_; }
  // Of the numbers; unspecified before any came.
  v1::DType dtype() const { return dtype_; }

 private:
  // Rows as they came: [outer][rows][row_bytes] from `offset` on.
  struct Extent {
    int64_t offset = 0;
    int64_t rows = 0;
    int64_t row_bytes = 0;
  };
  // A tensor: the extents, one behind the other in each of `outer` slices.
  struct Column {
    bool is_pattern = false;
    std::vector<int64_t> row_shape;  // of a pattern [heads]
    int64_t outer = 1;               // heads of a pattern
    int64_t rows = 0;
    int64_t row_bytes = 0;  // the widest extent's
    std::vector<Extent> extents;
  };

  explicit ActivationShard(SpillFile spill);

  absl::StatusOr<Column*> ColumnOf(const v1::ActivationChunk& chunk);
  absl::Status CheckComplete() const;
  absl::Status WriteColumn(const Column& column, AtomicFile& file) const;

  SpillFile spill_;
  std::map<std::string, Column> columns_;  // by tensor name
  RowShapes row_shapes_;
  v1::DType dtype_ = v1::DTYPE_UNSPECIFIED;
  int32_t request_ = -1;      // -1: none has begun since the last Keep
  int64_t request_rows_ = 0;  // of `request_`, before the announced ones
  int64_t announced_rows_ = 0;
  int64_t kept_rows_ = 0;
  int64_t kept_bytes_ = 0;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_ACTIVATION_SHARD_H_
