#include "server/control/vector_pieces.h"

#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

// 0: not known.
int64_t HeadCount(v1::Site site, const std::optional<v1::Model>& model) {
  if (!model.has_value()) return 0;
  const bool is_kv = site == v1::SITE_K || site == v1::SITE_V;
  return is_kv ? model->kv_head_count() : model->head_count();
}

int64_t ElementCountOf(const v1::Tensor& tensor) {
  int64_t count = 1;
  for (const int64_t size : tensor.shape()) count *= size;
  return count;
}

}  // namespace

int64_t WidthAt(const v1::Model& model, v1::Site site) {
  switch (site) {
    case v1::SITE_RESID_PRE:
    case v1::SITE_RESID_MID:
    case v1::SITE_RESID_POST:
    case v1::SITE_ATTN_OUT:
    case v1::SITE_MLP_OUT:
    case v1::SITE_FINAL_NORM:
      return model.d_model();
    default:
      return 0;
  }
}

v1::Tensor Flat(v1::Tensor tensor) {
  const int64_t count = ElementCountOf(tensor);
  tensor.clear_shape();
  tensor.add_shape(count);
  return tensor;
}

absl::StatusOr<v1::Tensor> ShapedFor(v1::Site site, v1::Tensor vector,
                                     const std::optional<v1::Model>& model) {
  if (!IsByHead(site)) return Flat(std::move(vector));
  // One row is a flat vector.
  const int64_t rows = vector.shape_size() == 2 ? vector.shape(0) : 1;
  const int64_t known = HeadCount(site, model);
  const int64_t heads = known == 0 && rows > 1 ? rows : known;
  const int64_t numbers = ElementCountOf(vector);
  if (heads < 1 || numbers % heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("it has ", numbers, " numbers, which the ", heads,
                     " heads of ", SiteName(site), " can't share"));
  }
  if (rows > 1 && rows != heads) {
    return absl::InvalidArgumentError(
        absl::StrCat("it is of ", rows, " heads, ", SiteName(site), " of ",
                     model->name(), " has ", heads));
  }
  vector.clear_shape();
  vector.add_shape(heads);
  vector.add_shape(numbers / heads);
  return vector;
}

absl::StatusOr<std::vector<VectorPiece>> PiecesOf(
    const v1::Tensor& vector, const v1::Intervention& intervention,
    const std::optional<v1::Model>& model) {
  ASSIGN_OR_RETURN(v1::Tensor shaped,
                   ShapedFor(intervention.site(), vector, model));
  if (!IsByHead(intervention.site())) {
    return std::vector<VectorPiece>{{std::nullopt, std::move(shaped)}};
  }
  const int64_t heads = shaped.shape(0);
  if (intervention.has_head() &&
      (intervention.head() < 0 || intervention.head() >= heads)) {
    return absl::InvalidArgumentError(
        absl::StrCat("head: ", intervention.head(), " is none of ", heads));
  }
  const size_t bytes = shaped.data().size() / static_cast<size_t>(heads);
  std::vector<VectorPiece> pieces;
  for (int64_t head = 0; head < heads; ++head) {
    if (intervention.has_head() && intervention.head() != head) continue;
    VectorPiece& piece = pieces.emplace_back();
    piece.head = static_cast<int32_t>(head);
    piece.tensor.set_dtype(shaped.dtype());
    piece.tensor.add_shape(shaped.shape(1));
    piece.tensor.set_data(
        shaped.data().substr(static_cast<size_t>(head) * bytes, bytes));
  }
  return pieces;
}

}  // namespace dissonance
