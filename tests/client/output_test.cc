#include "client/cli/output.h"

#include <limits>

#include "client/cli/errors.h"
#include "client/cli/heat.h"
#include "client/cli/names.h"
#include "client/cli/proto_json.h"
#include "dissonance/v1/inference.pb.h"
#include "dissonance/v1/interpretability.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "gtest/gtest.h"

namespace dissonance::cli {
namespace {

TEST(TableTest, AlignsOnDisplayWidthNotBytes) {
  Table table({{"NAME"}, {"N", Align::kRight}});
  table.AddRow({"é", "1"});
  table.AddRow({"日本", "22"});
  table.AddRow({"e\xCC\x81x", "3"});
  EXPECT_EQ(table.Render(),
            "NAME   N\n"
            "é      1\n"
            "日本  22\n"
            "e\xCC\x81x     3\n");
}

TEST(TableTest, ShowsControlCharactersEscaped) {
  Table table({{""}});
  table.AddRow({"a\x1b[31m\nb"});
  EXPECT_EQ(table.Render(), "a\\u001b[31m b\n");
}

TEST(TableTest, ColoursCellsAfterAligningThem) {
  Table table({{"N", Align::kRight}, {""}});
  table.AddCells({{"1", "48;5;202"}, {"x"}});
  table.AddCells({{"22"}, {"y", "48;5;33"}});
  EXPECT_EQ(table.Render(),
            " N\n"
            "\x1b[48;5;202m 1\x1b[0m  x\n"
            "22  \x1b[48;5;33my\x1b[0m\n");
}

TEST(HeatTest, ColoursBySignAndStrength) {
  const Heat heat(/*coloured=*/true);
  EXPECT_EQ(heat.Style(0.01), "");
  EXPECT_EQ(heat.Style(std::numeric_limits<double>::quiet_NaN()), "");
  EXPECT_NE(heat.Style(0.1), heat.Style(1.0));
  EXPECT_NE(heat.Style(-1.0), heat.Style(1.0));
  EXPECT_EQ(heat.Style(7.0), heat.Style(1.0));
  EXPECT_EQ(Heat(/*coloured=*/false).Style(1.0), "");
}

TEST(HumanTest, WritesNumbersForPeople) {
  EXPECT_EQ(HumanBytes(0), "-");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1024 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(HumanCount(0), "0");
  EXPECT_EQ(HumanCount(-1234), "-1,234");
  EXPECT_EQ(HumanCount(999999), "999,999");
  EXPECT_EQ(HumanCount(1500000), "1.50 M");
  EXPECT_EQ(HumanDuration(absl::Milliseconds(4210)), "4.2 s");
  EXPECT_EQ(HumanDuration(absl::Seconds(200)), "3 min 20 s");
  EXPECT_EQ(HumanDuration(absl::Hours(50)), "2 d 2 h");
  EXPECT_EQ(HumanPercent(0.8333), "83.3 %");
}

TEST(NamesTest, CompletesWhatPeopleType) {
  EXPECT_EQ(ModelName("tiny"), "models/tiny");
  EXPECT_EQ(AdapterName("models/tiny", "cubic"), "models/tiny/adapters/cubic");
  EXPECT_EQ(AdapterName("tiny", "adapters/cubic"),
            "models/tiny/adapters/cubic");
  EXPECT_EQ(AdapterName("", "cubic"), "cubic");
  EXPECT_EQ(ArtifactName("ab"), "artifacts/sha256:ab");
  EXPECT_EQ(ArtifactName("sha256:ab"), "artifacts/sha256:ab");
  EXPECT_EQ(ShortName("jobs/01J"), "01J");
}

TEST(ProtoJsonTest, KeepsFullPrecisionAndEveryField) {
  v1::Job job;
  job.set_state(v1::JOB_STATE_CANCELLING);
  job.mutable_progress()->set_done_count(9007199254740993);
  job.mutable_spec()->mutable_evaluate_mcq()->set_seed(18446744073709551615U);
  job.mutable_start_time()->set_seconds(1);
  job.mutable_start_time()->set_nanos(500000000);
  const nlohmann::json json = ToJson(job);
  EXPECT_EQ(json["state"], "cancelling");
  EXPECT_EQ(json["progress"]["done_count"].dump(), "9007199254740993");
  EXPECT_EQ(json["spec"]["evaluate_mcq"]["seed"].dump(),
            "18446744073709551615");
  EXPECT_EQ(json["start_time"], "1970-01-01T00:00:01.5+00:00");
  EXPECT_TRUE(json["end_time"].is_null());
  EXPECT_EQ(json["outputs"], nlohmann::json::array());
}

TEST(ProtoJsonTest, WritesNumbersThatAreNotFiniteAsNull) {
  v1::ContinuationScore score;
  score.set_logprob(-std::numeric_limits<double>::infinity());
  score.add_token_logprobs(std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(ToJson(score)["logprob"].is_null());
  EXPECT_TRUE(ToJson(score)["token_logprobs"][0].is_null());
}

TEST(ProtoJsonTest, AnOptionalFieldThatIsUnsetIsNull) {
  v1::ResidualDifference difference;
  difference.set_cosine(0);
  const nlohmann::json json = ToJson(difference);
  EXPECT_TRUE(json["relative_distance"].is_null());
  EXPECT_EQ(json["cosine"], 0.0);
  EXPECT_EQ(json["distance"], 0.0);
}

TEST(ErrorsTest, EveryCodeHasItsExitCode) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCodeOf(absl::InternalError("x")), 1);
  EXPECT_EQ(ExitCodeOf(UsageError("x")), 2);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("x")), 3);
  EXPECT_EQ(ExitCodeOf(absl::UnauthenticatedError("x")), 4);
  EXPECT_EQ(ExitCodeOf(absl::PermissionDeniedError("x")), 1);
  EXPECT_EQ(ExitCodeOf(absl::CancelledError("x")), 5);
}

TEST(ErrorsTest, AMessageIsOneLineAndHintsFollowIt) {
  EXPECT_EQ(RenderError(WithHint(absl::InternalError("a\nb\x1b"), "do c")),
            "error: a b\\u001b\n  do c\n");
}

TEST(ErrorsTest, GarbageInErrorDetailsIsIgnored) {
  EXPECT_EQ(RenderError(FromGrpc({grpc::StatusCode::INTERNAL, "broken",
                                  "\x1A\xFF\xFF garbage"})),
            "error: broken\n");
}

}  // namespace
}  // namespace dissonance::cli
