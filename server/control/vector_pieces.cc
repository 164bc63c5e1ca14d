#include "server/control/vector_pieces.h"

#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

int64_t HeadCount(const v1::Tensor& vector, v1::Site site,
                  const std::optional<v1::Model>& model) {
  if (vector.shape_size() == 2) return vector.shape(0);
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

absl::StatusOr<std::vector<VectorPiece>> PiecesOf(
    const v1::Tensor& vector, const v1::Intervention& intervention,
    const std::optional<v1::Model>& model) {
  if (!IsByHead(intervention.site())) {
    return std::vector<VectorPiece>{{std::nullopt, Flat(vector)}};
  }
  const int64_t heads = HeadCount(vector, intervention.site(), model);
  const int64_t numbers = ElementCountOf(vector);
  if (heads < 1 || numbers % heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the direction has ", numbers, " numbers, which the ", heads,
        " heads of ", SiteName(intervention.site()), " can't share"));
  }
  if (intervention.has_head() &&
      (intervention.head() < 0 || intervention.head() >= heads)) {
    return absl::InvalidArgumentError(
        absl::StrCat("head: ", intervention.head(), " is none of ", heads));
  }
  const size_t bytes = vector.data().size() / static_cast<size_t>(heads);
  std::vector<VectorPiece> pieces;
  for (int64_t head = 0; head < heads; ++head) {
    if (intervention.has_head() && intervention.head() != head) continue;
    VectorPiece& piece = pieces.emplace_back();
    piece.head = static_cast<int32_t>(head);
    piece.tensor.set_dtype(vector.dtype());
    piece.tensor.add_shape(numbers / heads);
    piece.tensor.set_data(
        vector.data().substr(static_cast<size_t>(head) * bytes, bytes));
  }
  return pieces;
}

}  // namespace dissonance
