#include "src/lab/pipeline/stage_fields.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/tensors/direction_file.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::StageInput Input(const std::string& field) {
  v1::StageInput input;
  input.set_field(field);
  input.set_stage("source");
  return input;
}

std::string FileOf(int block_count) {
  v1::Direction direction;
  for (int block = 0; block < block_count; ++block) {
    v1::DirectionVector& vector = *direction.add_vectors();
    vector.mutable_place()->set_site(v1::SITE_RESID_POST);
    vector.mutable_place()->set_block(block);
    const float numbers[] = {0.6F, 0.8F};
    vector.mutable_vector()->set_dtype(v1::DTYPE_FLOAT32);
    vector.mutable_vector()->add_shape(2);
    vector.mutable_vector()->set_data(numbers, sizeof(numbers));
    vector.set_residual_norm(block + 1.0);
  }
  EXPECT_TRUE(NormalizeVectors(direction).ok());
  return DirectionFile(direction);
}

TEST(StageFieldsTest, FillsInNamesAndDirections) {
  v1::JobSpec spec;
  spec.mutable_steering_sweep()->add_directions()->set_label("truth");
  const v1::StageInput direction = Input("steering_sweep.directions[0]");
  EXPECT_EQ(*InputKindOf(direction, spec), InputKind::kDirection);
  ASSERT_TRUE(FillInput(direction, FileOf(3), spec).ok());
  const v1::SweepDirection& own = spec.steering_sweep().directions(0);
  EXPECT_EQ(own.label(), "truth");
  ASSERT_EQ(own.vectors_size(), 3);
  EXPECT_EQ(own.vectors(2).place().block(), 2);
  EXPECT_EQ(own.vectors(2).residual_norm(), 3);
  const v1::StageInput data = Input("steering_sweep.data_artifact");
  EXPECT_EQ(*InputKindOf(data, spec), InputKind::kArtifact);
  ASSERT_TRUE(FillInput(data, "artifacts/x", spec).ok());
  EXPECT_EQ(spec.steering_sweep().data_artifact(), "artifacts/x");
  v1::JobSpec judge;
  judge.mutable_judge();
  EXPECT_EQ(*InputKindOf(Input("judge.job"), judge), InputKind::kJob);
  EXPECT_EQ(FillInput(direction, "no tensors", spec).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(StageFieldsTest, RefusesPathsThatLeadNowhere) {
  v1::JobSpec spec;
  spec.mutable_steering_sweep()->add_directions();
  for (const char* path :
       {"", "steering_sweep", "steering_sweep.none",
        "evaluate_mcq.data_artifact", "steering_sweep.directions",
        "steering_sweep.directions[1]", "steering_sweep.directions[x]",
        "steering_sweep.directions[-1]", "steering_sweep.data_artifact[0]",
        "steering_sweep.data_artifact.x", "steering_sweep.data",
        "steering_sweep.seed"}) {
    EXPECT_EQ(InputKindOf(Input(path), spec).status().code(),
              absl::StatusCode::kInvalidArgument)
        << path;
  }
}

TEST(StageFieldsTest, RenamesAnAdapterWhereverItIsNamed) {
  v1::JobSpec spec;
  v1::PatchSweepSpec& patch = *spec.mutable_patch_sweep();
  patch.mutable_source()->set_adapter("models/m/adapters/b");
  patch.mutable_target()->set_adapter("models/m/adapters/a");
  EXPECT_THAT(AdaptersIn(spec),
              ElementsAre("models/m/adapters/a", "models/m/adapters/b"));
  RenameAdapter("models/m/adapters/a", "models/m/adapters/a-1", spec);
  EXPECT_EQ(patch.target().adapter(), "models/m/adapters/a-1");
  EXPECT_EQ(patch.source().adapter(), "models/m/adapters/b");
}

TEST(StageFieldsTest, ABaseThatStandsInForAnAdapterIsNoBase) {
  v1::JobSpec spec;
  v1::PatchSweepSpec& patch = *spec.mutable_patch_sweep();
  patch.mutable_source()->set_model("models/m");
  patch.mutable_target()->set_model("models/m");
  patch.mutable_target()->set_adapter("models/m/adapters/a");
  StandInFor("models/m/adapters/a", spec);
  EXPECT_TRUE(patch.target().adapter().empty());
  EXPECT_EQ(patch.target().interventions(0).scale().factor(), 1);
  EXPECT_EQ(patch.source().interventions_size(), 0);
}

}  // namespace
}  // namespace dissonance
