#include "src/lab/tensors/direction_file.h"

#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/tensors/safetensors_reader.h"
#include "tests/lab/tensors/direction_messages.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(DirectionFileTest, VectorsHaveLengthOneAndSayWhatTheyHad) {
  v1::Direction direction = DirectionNamed(
      "d", {VectorAt(PlaceAt(2), {3, 4}), VectorAt(PlaceAt(3), {0, -2})});
  direction.mutable_vectors(1)->set_norm(7);
  ASSERT_TRUE(NormalizeVectors(direction).ok());
  EXPECT_THAT(*FiniteNumbersOf(direction.vectors(0).vector()),
              ElementsAre(0.6F, 0.8F));
  EXPECT_EQ(direction.vectors(0).norm(), 5);
  EXPECT_THAT(*FiniteNumbersOf(direction.vectors(1).vector()),
              ElementsAre(0, -1));
  EXPECT_EQ(direction.vectors(1).norm(), 7);
  EXPECT_EQ(direction.width(), 2);
  EXPECT_EQ(PlacesText(direction), "blocks.2.resid_post, blocks.3.resid_post");
}

TEST(DirectionFileTest, UnitVectorsStayBitForBit) {
  std::mt19937 random(3);
  for (int i = 0; i < 100; ++i) {
    std::vector<float> numbers(64);
    for (float& number : numbers) {
      number = static_cast<float>(random() % 2001) - 1000;
    }
    v1::Direction direction =
        DirectionNamed("d", {VectorAt(PlaceAt(2), numbers)});
    ASSERT_TRUE(NormalizeVectors(direction).ok());
    // As float32 arithmetic leaves it elsewhere.
    const auto unit = FiniteNumbersOf(direction.vectors(0).vector());
    for (size_t k = 0; k < numbers.size(); ++k) {
      numbers[k] = static_cast<float>((*unit)[k]) * (1 + 4e-7F);
    }
    v1::Direction again = DirectionNamed("d", {VectorAt(PlaceAt(2), numbers)});
    ASSERT_TRUE(NormalizeVectors(again).ok());
    EXPECT_EQ(again.vectors(0).vector().data(), BytesOf(numbers));
  }
}

TEST(DirectionFileTest, ComesBackFromItsFile) {
  v1::Direction direction = DirectionNamed(
      "d",
      {VectorAt(PlaceAt(2), {3, 4}), VectorAt(PlaceAt(2, v1::SITE_Z), {1, 2})});
  *direction.mutable_vectors(1)->mutable_vector() = TensorOf({1, 2}, {2, 1});
  direction.mutable_vectors(0)->set_residual_norm(0.1);
  direction.mutable_vectors(0)->set_bias(-1.0 / 3);
  direction.set_source_json(R"({"job":"jobs/1"})");
  ASSERT_TRUE(NormalizeVectors(direction).ok());
  const std::string bytes = DirectionFile(direction);
  v1::Direction read = direction;
  read.clear_vectors();
  ASSERT_TRUE(ReadDirectionFile(bytes, read).ok());
  EXPECT_EQ(read.SerializeAsString(), direction.SerializeAsString());
  // For people who have only the file.
  const auto file = TensorFile::Parse(bytes, "d");
  EXPECT_EQ(file->metadata().at("model"), "models/m");
  EXPECT_EQ(file->metadata().at("source"), R"({"job":"jobs/1"})");
}

TEST(DirectionFileTest, ADamagedFileIsDataLoss) {
  v1::Direction direction = DirectionNamed("d", {VectorAt(PlaceAt(2), {1})});
  ASSERT_TRUE(NormalizeVectors(direction).ok());
  const std::string bytes = DirectionFile(direction);
  EXPECT_EQ(ReadDirectionFile("{}", direction).code(),
            absl::StatusCode::kDataLoss);
  *direction.add_places() = PlaceAt(9);
  const absl::Status lacks = ReadDirectionFile(bytes, direction);
  EXPECT_EQ(lacks.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(lacks.message(), HasSubstr("lacks blocks.9.resid_post"));
}

TEST(DirectionFileTest, RefusesWhatTellsNoDirection) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const v1::DirectionVector good = VectorAt(PlaceAt(2), {1, 0});
  std::vector<std::pair<std::vector<v1::DirectionVector>, const char*>> cases =
      {{{}, "expected 1 to 1000, found 0"},
       {{VectorAt(PlaceAt(2), {0, 0})},
        "vectors[0]: vector: has a length of 0"},
       {{VectorAt(PlaceAt(2), {1, nan})}, "not finite"},
       {{VectorAt(PlaceAt(2), {})}, "vector.data: has 0 bytes"},
       {{good, VectorAt(PlaceAt(3), {1})}, "vectors[1]: has 1 numbers"},
       {{good, VectorAt(PlaceAt(2), {0, 1})},
        "another vector at blocks.2.resid_post"},
       {{VectorAt(PlaceAt(2, v1::SITE_PATTERN), {1})}, "pattern can't be"},
       {{VectorAt(PlaceAt(2, v1::SITE_LOGITS), {1})}, "logits can't be"},
       {{VectorAt(PlaceAt(2, v1::SITE_UNSPECIFIED), {1})}, "unspecified can't"},
       {{VectorAt(PlaceAt(2, static_cast<v1::Site>(99)), {1})}, "site 99"},
       {{VectorAt(PlaceAt(-1), {1})}, "place.block: give the block"}};
  v1::DirectionVector other = good;
  other.mutable_place()->clear_block();
  cases.push_back({{other}, "place.block: give the block"});
  other = good;
  *other.mutable_vector() = TensorOf({1, 0}, {1, 2});
  cases.push_back({{other}, "has shape [1, 2]"});
  other.mutable_vector()->clear_shape();
  other.mutable_vector()->add_shape(3);
  cases.push_back({{other}, "not the numbers of shape [3]"});
  other = good;
  other.mutable_vector()->set_dtype(v1::DTYPE_BFLOAT16);
  cases.push_back({{other}, "DTYPE_FLOAT32 or DTYPE_FLOAT64"});
  other = good;
  other.set_bias(nan);
  cases.push_back({{other}, "have to be finite"});
  for (const auto& [vectors, message] : cases) {
    v1::Direction direction = DirectionNamed("d", vectors);
    const absl::Status refused = NormalizeVectors(direction);
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(refused.message(), HasSubstr(message));
  }
}

}  // namespace
}  // namespace dissonance
