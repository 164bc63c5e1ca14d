#include "server/control/dashboard_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace dissonance {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(DashboardAnswer, AJobHasItsKindAndNoneOfItsBytes) {
  v1::Job job;
  job.set_name("jobs/01J");
  job.set_config_toml("listen = []");
  v1::EvaluateMcqSpec& mcq = *job.mutable_spec()->mutable_evaluate_mcq();
  mcq.set_data("a secret question");
  mcq.set_data_name("q.jsonl");
  const json shown = JobJson(job, kWhole);
  EXPECT_EQ(shown["kind"], "evaluate_mcq");
  EXPECT_EQ(shown["state"], "JOB_STATE_UNSPECIFIED");
  EXPECT_EQ(shown["spec"]["evaluate_mcq"]["data_name"], "q.jsonl");
  EXPECT_EQ(shown["spec"]["evaluate_mcq"]["data"], "");
  EXPECT_EQ(shown["config_toml"], "");
  EXPECT_EQ(JobJson(v1::Job(), kWhole)["kind"], "");
}

TEST(DashboardAnswer, LongValuesAreCutAndCounted) {
  v1::Job job;
  v1::EvaluateMcqSpec& mcq = *job.mutable_spec()->mutable_evaluate_mcq();
  // A cut in the middle of a character.
  std::string name = std::string(kInList.characters - 1, 'x') + "\u00e4\u00e4";
  mcq.set_data_name(name);
  v1::Intervention& intervention = *mcq.add_variants()->add_interventions();
  for (int i = 0; i < 4096; ++i) intervention.add_blocks(i);
  const json shown = JobJson(job, kInList);
  EXPECT_EQ(shown["spec"]["evaluate_mcq"]["data_name"],
            std::string(kInList.characters - 1, 'x') + "... (303 bytes)");
  EXPECT_THAT(shown.dump(), HasSubstr("... (4096 in all)"));
  EXPECT_LT(shown.dump().size(), 4096u);
}

TEST(DashboardAnswer, AnEventIsOneBlockWhateverIsInIt) {
  const std::string sent =
      ServerSentEvent("event", {{"log", "a\n\nevent: error\ndata: x"}}, 7);
  EXPECT_EQ(sent,
            "id: 7\nevent: event\n"
            "data: {\"log\":\"a\\n\\nevent: error\\ndata: x\"}\n\n");
  EXPECT_THAT(ServerSentEvent("jobs", json::object()), Not(HasSubstr("id:")));
}

}  // namespace
}  // namespace dissonance
