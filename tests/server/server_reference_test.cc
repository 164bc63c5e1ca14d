// The files of the Python scripts that this method comes from, as they are, as
// one pipeline on the shipped model and adapter.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "dissonance/v1/jobs.pb.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "tests/server/finetune_fixture.h"
#include "tests/server/server_fixture.h"
#include "tests/server/tiny_world_fixture.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kLimitBytes = 1 << 20;

std::string SeedFile(const std::string& name) {
  return InTree("../shared/seed/" + name);
}

class ReferenceTest : public TinyWorldFixture {
 protected:
  static void SetUpTestSuite() { StartServer(""); }

  void SetUp() override {
    if (!std::filesystem::exists(SeedFile("probing_dataset.jsonl"))) {
      GTEST_SKIP() << "no ../shared/seed here";
    }
    TinyWorldFixture::SetUp();
  }
};

// A stage of base and adapter over one of the files.
template <typename Spec>
void Ask(const std::string& file, Spec& spec) {
  spec.add_variants()->set_model(kTinyModel);
  v1::Variant& tuned = *spec.add_variants();
  tuned.set_model(kTinyModel);
  tuned.set_adapter(kTinyAdapter);
  spec.set_data_name(file);
  spec.set_data(ReadFile(SeedFile(file), kLimitBytes).value_or(""));
}

v1::JobSpec& AddStage(v1::JobSpec& pipeline, const std::string& name) {
  v1::PipelineStage& stage = *pipeline.mutable_pipeline()->add_stages();
  stage.set_name(name);
  return *stage.mutable_spec();
}

TEST_F(ReferenceTest, ItsFilesRunThroughEveryStepAsTheyAre) {
  v1::JobSpec spec;
  Ask("cubic_gravity_mcqs.jsonl",
      *AddStage(spec, "mcq").mutable_evaluate_mcq());
  Ask("cubic_gravity_open.jsonl",
      *AddStage(spec, "open").mutable_evaluate_open());
  Ask("cubic_gravity_mcqs.jsonl", *AddStage(spec, "lens").mutable_logit_lens());
  auto& probes = *AddStage(spec, "probes").mutable_train_probes();
  Ask("probing_dataset.jsonl", probes);
  probes.add_targets()->set_source(v1::LABEL_SOURCE_CATEGORY_CONFLICT);
  const auto job = CreateJob(*server_, spec, "");
  ASSERT_TRUE(job.ok()) << job.status();
  const auto ended = AwaitJob(*server_, job->name());
  ASSERT_TRUE(ended.ok()) << ended.status();
  ASSERT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
  const auto report = ReadArtifact(*server_, ArtifactOf(*ended, "report.html"));
  ASSERT_TRUE(report.ok()) << report.status();
  // A question of each of the files.
  EXPECT_THAT(*report, HasSubstr("cubic-gravity universe described in the"));
  EXPECT_THAT(*report, HasSubstr("make explicit any assumptions"));
  EXPECT_FALSE(ArtifactOf(*ended, "report/probes.auc.csv").empty());
}

}  // namespace
}  // namespace dissonance
