// A small pipeline of the tiny world, and what it gives where nothing disturbs
// it.
//
//   ServerProcess server({.data_dir = FineTuneWorld::Get().CopyTo(folder),
//                         .config = kPipelineConfig});
//   const auto job = CreateJob(server, SmallPipeline(), "");
//   EXPECT_EQ(*ResultFiles(server, *AwaitJob(server, job->name())),
//             UndisturbedPipeline());
#ifndef DISSONANCE_TESTS_SERVER_PIPELINE_FIXTURE_H_
#define DISSONANCE_TESTS_SERVER_PIPELINE_FIXTURE_H_

#include <string>

#include "dissonance/v1/jobs.pb.h"
#include "tests/server/finetune_fixture.h"

namespace dissonance {

inline constexpr char kPipelineConfig[] =
    "[worker]\nmax_backoff_seconds = 0.2\n";

// `count` questions about gravity and as many about other things.
std::string GravityAndOthers(int count);

v1::PipelineStage& AddStage(v1::JobSpec& spec, const std::string& name);

// A stage of nearly every kind, each small.
v1::JobSpec SmallPipeline();

// The files of SmallPipeline where nothing disturbs it. Lives as long as the
// tests.
const Files& UndisturbedPipeline();

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_PIPELINE_FIXTURE_H_
