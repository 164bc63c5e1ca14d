#include "client/cli/activation_shard.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/places.h"
#include "client/cli/proto_json.h"
#include "src/base/status_macros.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance::cli {
namespace {

absl::Status Unexpected(absl::string_view what) {
  return absl::InternalError(
      absl::StrCat("the server's rows make no sense: ", what,
                   "; are client and server of the same version?"));
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// [rows, heads, keys] -> [heads, rows, keys], as bytes.
std::string HeadsFirst(const std::string& data, int64_t rows, int64_t heads,
                       int64_t key_bytes) {
  std::string out;
  out.reserve(data.size());
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t row = 0; row < rows; ++row) {
      out.append(data, static_cast<size_t>((row * heads + head) * key_bytes),
                 static_cast<size_t>(key_bytes));
    }
  }
  return out;
}

absl::Status CheckTensor(const std::string& place, const v1::Tensor& tensor,
                         size_t least_dimensions) {
  const std::vector<int64_t> shape(tensor.shape().begin(),
                                   tensor.shape().end());
  if (shape.size() < least_dimensions ||
      *std::min_element(shape.begin(), shape.end()) < 1) {
    return Unexpected(
        absl::StrCat(place, " has rows of shape ", ShapeText(shape)));
  }
  const int64_t bytes = ElementCount(shape) * ElementBytes(tensor.dtype());
  if (bytes == 0 || bytes != static_cast<int64_t>(tensor.data().size())) {
    return Unexpected(absl::StrCat(place, " has ", tensor.data().size(),
                                   " bytes for ", ShapeText(shape), " of ",
                                   EnumWord(tensor.dtype())));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ActivationShard> ActivationShard::Create(
    const std::string& directory) {
  ASSIGN_OR_RETURN(SpillFile spill, SpillFile::Create(directory));
  return ActivationShard(std::move(spill));
}

ActivationShard::ActivationShard(SpillFile spill) : spill_(std::move(spill)) {}

absl::Status ActivationShard::Announce(const v1::ActivationRows& rows) {
  request_rows_ += std::exchange(announced_rows_, rows.rows_size());
  for (const v1::RowLabel& row : rows.rows()) {
    if (request_ < 0) request_ = row.input_index();
    if (row.input_index() == request_) continue;
    return Unexpected(absl::StrCat("request ", row.input_index(),
                                   " begins before request ", request_,
                                   " has ended"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ActivationShard::Column*> ActivationShard::ColumnOf(
    const v1::ActivationChunk& chunk) {
  const v1::Tensor& tensor = chunk.tensor();
  const bool is_pattern = chunk.place().site() == v1::SITE_PATTERN;
  std::string name = PlaceName(chunk.place());
  RETURN_IF_ERROR(CheckTensor(name, tensor, is_pattern ? 3 : 2));
  if (dtype_ == v1::DTYPE_UNSPECIFIED) dtype_ = tensor.dtype();
  std::vector<int64_t> row_shape(tensor.shape().begin() + 1,
                                 tensor.shape().end());
  if (is_pattern) row_shape.pop_back();
  const std::vector<int64_t>& known =
      row_shapes_.try_emplace(name, row_shape).first->second;
  if (row_shape != known || tensor.dtype() != dtype_) {
    return Unexpected(absl::StrCat(
        name, " changed from rows of ", ShapeText(known), " ", EnumWord(dtype_),
        " to ", ShapeText(row_shape), " ", EnumWord(tensor.dtype())));
  }
  if (is_pattern) absl::StrAppend(&name, ".", request_);
  Column& column = columns_[name];
  column.is_pattern = is_pattern;
  if (is_pattern) column.outer = row_shape.front();
  column.row_shape = std::move(row_shape);
  const int64_t before = (is_pattern ? 0 : kept_rows_) + request_rows_;
  if (before + chunk.first_row() == column.rows &&
      chunk.first_row() + tensor.shape(0) <= announced_rows_) {
    return &column;
  }
  return Unexpected(absl::StrCat(
      name, " continues with row ", before + chunk.first_row(), " of ",
      before + announced_rows_, " announced ones, after ", column.rows));
}

absl::Status ActivationShard::Add(const v1::ActivationChunk& chunk) {
  ASSIGN_OR_RETURN(Column* const column, ColumnOf(chunk));
  const v1::Tensor& tensor = chunk.tensor();
  Extent extent;
  extent.offset = spill_.size();
  extent.rows = tensor.shape(0);
  extent.row_bytes =
      static_cast<int64_t>(tensor.data().size()) / extent.rows / column->outer;
  RETURN_IF_ERROR(spill_.Append(
      column->is_pattern ? HeadsFirst(tensor.data(), extent.rows, column->outer,
                                      extent.row_bytes)
                         : tensor.data()));
  column->row_bytes = std::max(column->row_bytes, extent.row_bytes);
  column->rows += extent.rows;
  column->extents.push_back(extent);
  return absl::OkStatus();
}

absl::Status ActivationShard::CheckComplete() const {
  for (const auto& [name, column] : columns_) {
    // Patterns of earlier requests were complete when those were kept.
    if (column.is_pattern && column.extents.back().offset < kept_bytes_) {
      continue;
    }
    const int64_t expected =
        (column.is_pattern ? 0 : kept_rows_) + request_rows_ + announced_rows_;
    if (column.rows != expected) {
      return Unexpected(absl::StrCat(name, " has ", column.rows, " of ",
                                     expected, " announced rows"));
    }
  }
  return absl::OkStatus();
}

absl::Status ActivationShard::Keep() {
  RETURN_IF_ERROR(CheckComplete());
  kept_rows_ += request_rows_ + announced_rows_;
  kept_bytes_ = spill_.size();
  request_rows_ = 0;
  announced_rows_ = 0;
  request_ = -1;
  return absl::OkStatus();
}

absl::Status ActivationShard::Drop() {
  for (auto& [name, column] : columns_) {
    std::vector<Extent>& extents = column.extents;
    while (!extents.empty() && extents.back().offset >= kept_bytes_) {
      column.rows -= extents.back().rows;
      extents.pop_back();
    }
  }
  std::erase_if(columns_,
                [](const auto& each) { return each.second.extents.empty(); });
  request_rows_ = 0;
  announced_rows_ = 0;
  request_ = -1;
  return spill_.Truncate(kept_bytes_);
}

absl::Status ActivationShard::WriteColumn(const Column& column,
                                          AtomicFile& file) const {
  for (int64_t slice = 0; slice < column.outer; ++slice) {
    for (const Extent& extent : column.extents) {
      const int64_t slice_bytes = extent.rows * extent.row_bytes;
      const int64_t begin = extent.offset + slice * slice_bytes;
      if (extent.row_bytes == column.row_bytes) {
        RETURN_IF_ERROR(spill_.CopyTo(begin, slice_bytes, file));
        continue;
      }
      // Later keys, which these queries did not see.
      const std::string zeros(
          static_cast<size_t>(column.row_bytes - extent.row_bytes), '\0');
      for (int64_t row = 0; row < extent.rows; ++row) {
        RETURN_IF_ERROR(spill_.CopyTo(begin + row * extent.row_bytes,
                                      extent.row_bytes, file));
        RETURN_IF_ERROR(file.Append(zeros));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status ActivationShard::Write(const std::string& path) {
  RETURN_IF_ERROR(Drop());
  std::vector<TensorEntry> entries;
  for (const auto& [name, column] : columns_) {
    TensorEntry entry{name, dtype_, column.row_shape};
    entry.shape.insert(entry.shape.begin() + (column.is_pattern ? 1 : 0),
                       column.rows);
    if (column.is_pattern) {
      entry.shape.push_back(column.row_bytes / ElementBytes(dtype_));
    }
    entries.push_back(std::move(entry));
  }
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  RETURN_IF_ERROR(file.Append(SafetensorsHeader(entries, {{"format", "pt"}})));
  for (const auto& [name, column] : columns_) {
    RETURN_IF_ERROR(WriteColumn(column, file));
  }
  RETURN_IF_ERROR(file.Commit());
  columns_.clear();
  kept_rows_ = 0;
  kept_bytes_ = 0;
  return spill_.Truncate(0);
}

}  // namespace dissonance::cli
