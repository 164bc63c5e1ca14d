#include "src/lab/directions/probe_file.h"

#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "src/lab/tensors/safetensors_writer.h"
#include "tests/lab/tensors/direction_messages.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A file as train_probes writes it, of probes that are added one by one.
class ProbeFile {
 public:
  ProbeFile& Add(const std::string& target, int variant,
                 const std::string& place, const std::string& c,
                 const std::vector<float>& direction) {
    const std::string name =
        target + "." + std::to_string(variant) + "." + place + ".c" + c;
    probes_[name] = {{"target", target},     {"c", std::stod(c)},
                     {"variant", "base"},    {"norm", 2.5},
                     {"residual_norm", 8.0}, {"bias", -0.5}};
    const bool has_direction = !direction.empty();
    const std::vector<float> numbers =
        has_direction ? direction : std::vector<float>{1, 2};
    tensors_.push_back({name + (has_direction ? ".direction" : ".weight"),
                        v1::DTYPE_FLOAT32,
                        {static_cast<int64_t>(numbers.size())}});
    data_ += BytesOf(numbers);
    return *this;
  }
  std::string bytes() const {
    return SafetensorsHeader(tensors_, {{"probes", probes_.dump()}}) + data_;
  }

 private:
  nlohmann::json probes_ = nlohmann::json::object();
  std::vector<TensorEntry> tensors_;
  std::string data_;
};

std::string Error(const std::string& bytes, const v1::ProbeVectors& asked) {
  return std::string(ReadProbeVectors(bytes, asked).status().message());
}

TEST(ProbeFileTest, ReadsTheVectorsOfEveryPlaceInOrder) {
  const std::string bytes =
      ProbeFile()
          .Add("category_conflict", 0, "blocks.10.resid_post", "0.1", {1, 0})
          .Add("category_conflict", 0, "blocks.2.resid_post", "0.1", {0, 1})
          .Add("category_conflict", 1, "blocks.2.resid_post", "0.1", {0, -1})
          .bytes();
  v1::ProbeVectors asked;
  const auto vectors = ReadProbeVectors(bytes, asked);
  ASSERT_TRUE(vectors.ok()) << vectors.status();
  ASSERT_EQ(vectors->size(), 2U);
  EXPECT_EQ((*vectors)[0].place().block(), 2);
  EXPECT_EQ((*vectors)[1].place().block(), 10);
  EXPECT_EQ((*vectors)[0].vector().data(), BytesOf<float>({0, 1}));
  EXPECT_EQ((*vectors)[0].norm(), 2.5);
  EXPECT_EQ((*vectors)[0].residual_norm(), 8);
  EXPECT_EQ((*vectors)[0].bias(), -0.5);
  asked.set_variant_index(1);
  *asked.add_places() = PlaceAt(2);
  EXPECT_EQ(ReadProbeVectors(bytes, asked)->front().vector().data(),
            BytesOf<float>({0, -1}));
}

TEST(ProbeFileTest, AsksWhichWhereThereAreSeveral) {
  const std::string bytes = ProbeFile()
                                .Add("a.b", 0, "final_norm", "0.1", {1, 0})
                                .Add("a", 0, "final_norm", "0.1", {0, 1})
                                .Add("a", 0, "final_norm", "10", {1, 1})
                                .bytes();
  v1::ProbeVectors asked;
  EXPECT_THAT(Error(bytes, asked),
              AllOf(HasSubstr("probes.target"), HasSubstr("a, a.b")));
  asked.set_target("c");
  EXPECT_THAT(Error(bytes, asked), HasSubstr("a, a.b"));
  asked.set_target("a.b");
  v1::ProbeVectors chosen;
  EXPECT_TRUE(ReadProbeVectors(bytes, asked, &chosen).ok());
  EXPECT_EQ(chosen.target(), "a.b");
  EXPECT_EQ(chosen.c(), 0.1);
  asked.set_target("a");
  EXPECT_THAT(Error(bytes, asked),
              AllOf(HasSubstr("probes.c"), HasSubstr("0.1, 10")));
  asked.set_c(10);
  EXPECT_EQ(ReadProbeVectors(bytes, asked)->front().vector().data(),
            BytesOf<float>({1, 1}));
  *asked.add_places() = PlaceAt(3);
  EXPECT_THAT(Error(bytes, asked),
              HasSubstr("no probe at blocks.3.resid_post"));
  asked.clear_places();
  asked.set_variant_index(2);
  EXPECT_THAT(Error(bytes, asked),
              HasSubstr("probes.variant_index: there are no probes of 2; the "
                        "job has them of 0"));
}

TEST(ProbeFileTest, ProbesOfSeveralClassesHaveNoDirection) {
  const std::string bytes =
      ProbeFile().Add("a", 0, "blocks.0.resid_post", "0.1", {}).bytes();
  EXPECT_THAT(Error(bytes, {}), HasSubstr("has no direction"));
}

TEST(ProbeFileTest, AnotherFileIsDataLoss) {
  const std::map<std::string, std::string> wrong[] = {
      {},
      {{"probes", "["}},
      {{"probes", "[]"}},
      {{"probes", R"({"a.0.blocks.1.z.c1":{"c":1}})"}},
      {{"probes", R"({"b.0.blocks.1.z.c1":{"c":1,"target":"a"}})"}},
      {{"probes", R"({"a.x.blocks.1.z.c1":{"c":1,"target":"a"}})"}},
      {{"probes", R"({"a.0.block.1.z.c1":{"c":1,"target":"a"}})"}},
      {{"probes", R"({"a.c":{"c":1,"target":"a"}})"}}};
  for (const auto& metadata : wrong) {
    EXPECT_EQ(
        ReadProbeVectors(SafetensorsHeader({}, metadata), {}).status().code(),
        absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(ReadProbeVectors("{}", {}).status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace dissonance
