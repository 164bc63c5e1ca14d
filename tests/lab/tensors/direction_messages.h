// Messages of directions for tests.
#ifndef DISSONANCE_TESTS_LAB_TENSORS_DIRECTION_MESSAGES_H_
#define DISSONANCE_TESTS_LAB_TENSORS_DIRECTION_MESSAGES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "dissonance/v1/probes.pb.h"
#include "tests/client/safetensors_file.h"

namespace dissonance {

inline v1::SiteRef PlaceAt(int32_t block, v1::Site site = v1::SITE_RESID_POST) {
  v1::SiteRef place;
  place.set_site(site);
  place.set_block(block);
  return place;
}

inline v1::Tensor TensorOf(const std::vector<float>& numbers,
                           std::vector<int64_t> shape = {}) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DTYPE_FLOAT32);
  if (shape.empty()) shape = {static_cast<int64_t>(numbers.size())};
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
  tensor.set_data(BytesOf(numbers));
  return tensor;
}

inline v1::DirectionVector VectorAt(const v1::SiteRef& place,
                                    const std::vector<float>& numbers) {
  v1::DirectionVector vector;
  *vector.mutable_place() = place;
  *vector.mutable_vector() = TensorOf(numbers);
  return vector;
}

// With a name and a model, of these vectors.
inline v1::Direction DirectionNamed(
    const std::string& name, const std::vector<v1::DirectionVector>& vectors) {
  v1::Direction direction;
  direction.set_name("directions/" + name);
  direction.set_model("models/m");
  direction.set_method(v1::DIRECTION_METHOD_GIVEN);
  direction.mutable_vectors()->Add(vectors.begin(), vectors.end());
  return direction;
}

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_TENSORS_DIRECTION_MESSAGES_H_
