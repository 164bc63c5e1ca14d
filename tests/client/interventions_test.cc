// Interventions from their text and from the files of their vectors.
#include "client/cli/interventions.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/tensors/safetensors_reader.h"
#include "tests/client/safetensors_file.h"

namespace dissonance::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = v1::Intervention;

std::vector<float> Floats(const v1::Tensor& tensor) {
  EXPECT_EQ(tensor.dtype(), v1::DTYPE_FLOAT32);
  std::vector<float> out(tensor.data().size() / sizeof(float));
  tensor.data().copy(reinterpret_cast<char*>(out.data()), tensor.data().size());
  return out;
}

class VectorFileTest : public ::testing::Test {
 protected:
  VectorFileTest() {
    std::string path = "/tmp/vec.XXXXXX";
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    directory_ = path;
  }
  ~VectorFileTest() override { std::filesystem::remove_all(directory_); }

  // A file of these bytes; returns its path.
  std::string Write(const std::string& bytes,
                    const std::string& name = "v.safetensors") const {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  // A file with `name` alone, of float32.
  std::string WriteFloats(const std::string& shape,
                          const std::vector<float>& numbers) const {
    return Write(SafetensorsBytes(
        R"({"v":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":[0,)" +
            std::to_string(numbers.size() * 4) + "]}}",
        BytesOf(numbers)));
  }

  std::string directory_;
};

TEST(InterventionsTest, ReadsEveryKind) {
  const auto steer = ParseIntervention(
      Kind::kAdd, "d@home/v.safetensors:x@resid_post.3-4=-1.5:last_prompt");
  ASSERT_TRUE(steer.ok()) << steer.status();
  EXPECT_EQ(steer->vector, "d@home/v.safetensors:x");
  EXPECT_EQ(steer->message.add().coefficient(), -1.5);
  EXPECT_EQ(steer->message.site(), v1::SITE_RESID_POST);
  EXPECT_THAT(steer->message.blocks(), ElementsAre(3, 4));
  EXPECT_EQ(steer->message.positions().set(), v1::POSITION_SET_LAST_PROMPT);
  const auto zero = ParseIntervention(Kind::kZero, "z.3.h2:2-4");
  ASSERT_TRUE(zero.ok()) << zero.status();
  EXPECT_TRUE(zero->message.has_zero());
  EXPECT_EQ(zero->message.head(), 2);
  EXPECT_EQ(zero->message.positions().range().end(), 4);
  EXPECT_EQ(zero->text, "zero z.3.h2:2-4");
  const auto scale = ParseIntervention(Kind::kScale, "final_norm=0.5");
  ASSERT_TRUE(scale.ok()) << scale.status();
  EXPECT_EQ(scale->message.scale().factor(), 0.5);
  EXPECT_TRUE(
      ParseIntervention(Kind::kReplace, "v@attn_out.0")->message.has_replace());
  EXPECT_TRUE(ParseIntervention(Kind::kProjectOut, "v@resid_mid.1:3,5")
                  ->message.has_project_out());
}

TEST(InterventionsTest, SaysWhatIsWrongAndTheForm) {
  const std::tuple<InterventionKind, const char*, const char*> cases[] = {
      {Kind::kAdd, "resid_post.3=4", "has no VECTOR@"},
      {Kind::kAdd, "@resid_post.3=4", "has no VECTOR@"},
      {Kind::kAdd, "v@resid_post.3", "has no =COEF"},
      {Kind::kAdd, "v@resid_post.3=", "has no =COEF"},
      {Kind::kAdd, "v@resid_post.3=much", "'much' is not a number"},
      {Kind::kAdd, "v@resid_post.3=inf", "'inf' is not a number"},
      {Kind::kAdd, "v@20=4", "can be read in two ways"},
      {Kind::kAdd, "v@resid_post.3=4:sometimes", "are no positions"},
      {Kind::kZero, "resid_post.all", "write 0-LAST"},
      {Kind::kZero, "logits", "can be captured, not changed"},
      {Kind::kScale, "z.3", "has no =FACTOR"},
      {Kind::kZero, "z.3=0", "'3=0' is no list of blocks"},
  };
  for (const auto& [kind, text, message] : cases) {
    const absl::Status status = ParseIntervention(kind, text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message)) << text;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("the form is " + FormOf(kind)));
  }
}

TEST(InterventionsTest, ANameIsADirectionsUnlessItIsAFiles) {
  for (const char* name : {"truth", "a.b-c_1", "directions/truth"}) {
    EXPECT_TRUE(IsDirectionName(name)) << name;
  }
  for (const char* file : {"v.safetensors", "v.safetensors:x", "./v", "d/v"}) {
    EXPECT_FALSE(IsDirectionName(file)) << file;
  }
  const auto alone = ParseIntervention(Kind::kAdd, "truth=-4:generated");
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_EQ(alone->vector, "truth");
  EXPECT_EQ(alone->message.add().coefficient(), -4);
  EXPECT_EQ(alone->message.positions().set(), v1::POSITION_SET_GENERATED);
  const auto messages = ReadIntervention(*alone, /*unit_normalize=*/false);
  ASSERT_TRUE(messages.ok()) << messages.status();
  EXPECT_EQ(messages->front().add().vector().direction(), "directions/truth");
  // A file needs its place.
  EXPECT_FALSE(ParseIntervention(Kind::kAdd, "v.safetensors=-4").ok());
}

TEST_F(VectorFileTest, SendsTheVectorWithTheIntervention) {
  const std::string path = WriteFloats("[1,2]", {1, 2});
  const auto spec = ParseIntervention(Kind::kAdd, path + ":v@resid_post.0=2");
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto messages = ReadIntervention(*spec, /*unit_normalize=*/true);
  ASSERT_TRUE(messages.ok()) << messages.status();
  ASSERT_EQ(messages->size(), 1U);
  const v1::AddVector& add = messages->front().add();
  EXPECT_TRUE(add.unit_normalize());
  EXPECT_EQ(add.vector().label(), path + ":v");
  EXPECT_THAT(add.vector().tensor().shape(), ElementsAre(2));
  EXPECT_THAT(Floats(add.vector().tensor()), ElementsAre(1, 2));
}

TEST_F(VectorFileTest, SplitsAMatrixOfHeads) {
  const std::string path = WriteFloats("[2,2]", {1, 2, 3, 4});
  const auto heads = ReadIntervention(
      *ParseIntervention(Kind::kProjectOut, path + "@z.0"), false);
  ASSERT_TRUE(heads.ok()) << heads.status();
  ASSERT_EQ(heads->size(), 2U);
  EXPECT_EQ((*heads)[1].head(), 1);
  EXPECT_THAT(Floats((*heads)[1].project_out().tensor()), ElementsAre(3, 4));
}

TEST_F(VectorFileTest, ZerosAreNoDirection) {
  const std::string path = WriteFloats("[2]", {0, -0.0F});
  for (const auto& [kind, place] :
       {std::pair{Kind::kAdd, "@resid_post.0=2"},
        std::pair{Kind::kProjectOut, "@resid_post.0"}}) {
    const auto zeros = ReadIntervention(*ParseIntervention(kind, path + place),
                                        /*unit_normalize=*/false);
    EXPECT_EQ(zeros.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(zeros.status().message()),
                HasSubstr(path + ": is all zeros"));
  }
  EXPECT_TRUE(
      ReadIntervention(
          *ParseIntervention(Kind::kReplace, path + "@resid_post.0"), false)
          .ok());
}

TEST_F(VectorFileTest, TakesSeveralRowsOnlyWhereEachHasItsPosition) {
  const std::string path = WriteFloats("[2,2]", {1, 2, 3, 4});
  const auto rows = ReadIntervention(
      *ParseIntervention(Kind::kReplace, path + "@resid_post.0:3,5"), false);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_THAT(rows->front().replace().tensor().shape(), ElementsAre(2, 2));
  for (const char* rest : {"@resid_post.0", "@resid_post.0:3", "@z.0.h1"}) {
    const auto wrong = ReadIntervention(
        *ParseIntervention(Kind::kReplace, path + rest), false);
    EXPECT_THAT(std::string(wrong.status().message()),
                HasSubstr(path + ": has shape [2, 2]; a vector has shape"));
  }
}

}  // namespace
}  // namespace dissonance::cli
