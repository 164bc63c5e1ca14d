// A shard of activations while its rows come, in memory. For one thread.
//
//   ShardBuilder shard(first_input);
//   RETURN_IF_ERROR(shard.Announce(rows));
//   RETURN_IF_ERROR(shard.Add(chunk));
//   RETURN_IF_ERROR(shard.EndInput());
//   if (shard.byte_count() > limit) RETURN_IF_ERROR(shard.Write(*output));
#ifndef DISSONANCE_LAB_INTERP_SHARD_BUILDER_H_
#define DISSONANCE_LAB_INTERP_SHARD_BUILDER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "dissonance/internal/v1/interp_records.pb.h"
#include "dissonance/v1/interpretability.pb.h"
#include "src/lab/jobs/job_context.h"

namespace dissonance {

class ShardBuilder {
 public:
  // Of which variant, and its first input among the job's.
  ShardBuilder(int variant_index, int first_input);

  // Rows whose chunks come next; `input` is the job's index of their input.
  absl::Status Announce(const v1::ActivationRows& rows, int input);
  // INTERNAL for rows that were not announced, or of another shape than before;
  // RESOURCE_EXHAUSTED where the shard grows beyond 1 GiB.
  absl::Status Add(const v1::ActivationChunk& chunk);
  // All rows of an input are there. INTERNAL if a place lacks some.
  absl::Status EndInput();

  int input_count() const { return record_.input_count(); }
  int64_t byte_count() const { return byte_count_; }

  // The file: tensors by name, [rows, ...].
  absl::Status Write(OutputWriter& output) const;

  // What is recorded of it, but for the file's name, digest and size.
  internal::v1::ShardRecord Record() const;

 private:
  struct Column {
    std::vector<int64_t> row_shape;
    int64_t rows = 0;
    std::string bytes;
  };

  internal::v1::ShardRecord record_;
  std::map<std::string, Column> columns_;  // by tensor name
  int64_t byte_count_ = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_SHARD_BUILDER_H_
