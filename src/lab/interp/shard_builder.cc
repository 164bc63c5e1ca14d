#include "src/lab/interp/shard_builder.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "src/base/status_macros.h"
#include "src/lab/tensors/place_name.h"
#include "src/lab/tensors/safetensors_writer.h"

namespace dissonance {
namespace {

constexpr int64_t kLimitBytes = int64_t{1} << 30;

absl::Status Unexpected(absl::string_view what) {
  return absl::InternalError(
      absl::StrCat("the worker's rows make no sense: ", what,
                   "; are both of the same version?"));
}

}  // namespace

ShardBuilder::ShardBuilder(int variant_index, int first_input) {
  record_.set_variant_index(variant_index);
  record_.set_first_input(first_input);
}

absl::Status ShardBuilder::Announce(const v1::ActivationRows& rows, int input) {
  if (input != record_.first_input() + record_.input_count()) {
    return Unexpected(absl::StrCat(
        "input ", input, " before input ",
        record_.first_input() + record_.input_count(), " has ended"));
  }
  for (const v1::RowLabel& row : rows.rows()) {
    v1::RowLabel& own = *record_.add_rows();
    own = row;
    own.set_input_index(input);
  }
  return absl::OkStatus();
}

absl::Status ShardBuilder::Add(const v1::ActivationChunk& chunk) {
  const std::string name = PlaceName(chunk.place());
  const v1::Tensor& tensor = chunk.tensor();
  const std::vector<int64_t> shape(tensor.shape().begin(),
                                   tensor.shape().end());
  if (shape.size() < 2 || ElementCount(shape) * ElementBytes(tensor.dtype()) !=
                              std::ssize(tensor.data())) {
    return Unexpected(absl::StrCat(name, " has ", tensor.data().size(),
                                   " bytes for shape [",
                                   absl::StrJoin(shape, ", "), "]"));
  }
  std::vector<int64_t> row_shape(shape.begin() + 1, shape.end());
  Column& column = columns_[name];
  if (column.row_shape.empty()) column.row_shape = row_shape;
  if (record_.dtype() == v1::DTYPE_UNSPECIFIED) {
    record_.set_dtype(tensor.dtype());
  }
  column.rows += shape[0];
  if (column.row_shape != row_shape || record_.dtype() != tensor.dtype() ||
      column.rows > record_.rows_size()) {
    return Unexpected(absl::StrCat(name, " changed, or has more than the ",
                                   record_.rows_size(), " announced rows"));
  }
  byte_count_ += std::ssize(tensor.data());
  if (byte_count_ > kLimitBytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "prompt ", record_.first_input() + record_.input_count(), " has ",
        byte_count_, " bytes of activations and more, at most ", kLimitBytes,
        "; capture fewer sites or positions, or use `dissonance activations`"));
  }
  column.bytes += tensor.data();
  return absl::OkStatus();
}

absl::Status ShardBuilder::EndInput() {
  for (const auto& [name, column] : columns_) {
    if (column.rows == record_.rows_size()) continue;
    return Unexpected(absl::StrCat(name, " has ", column.rows, " of ",
                                   record_.rows_size(), " announced rows"));
  }
  record_.set_input_count(record_.input_count() + 1);
  return absl::OkStatus();
}

absl::Status ShardBuilder::Write(OutputWriter& output) const {
  std::vector<TensorEntry> entries;
  for (const auto& [name, column] : columns_) {
    TensorEntry entry{name, record_.dtype(), column.row_shape};
    entry.shape.insert(entry.shape.begin(), column.rows);
    entries.push_back(std::move(entry));
  }
  RETURN_IF_ERROR(
      output.Append(SafetensorsHeader(entries, {{"format", "pt"}})));
  for (const auto& [name, column] : columns_) {
    RETURN_IF_ERROR(output.Append(column.bytes));
  }
  return absl::OkStatus();
}

internal::v1::ShardRecord ShardBuilder::Record() const {
  internal::v1::ShardRecord record = record_;
  nlohmann::json shapes = nlohmann::json::object();
  for (const auto& [name, column] : columns_) {
    record.add_tensors(name);
    shapes[name] = column.row_shape;
  }
  record.set_row_shapes_json(shapes.dump());
  return record;
}

}  // namespace dissonance
