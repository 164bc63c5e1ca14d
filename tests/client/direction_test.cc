// dissonance direction, and steering by a direction's name.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "src/lab/tensors/direction_file.h"
#include "src/lab/tensors/safetensors_reader.h"
#include "tests/client/cli_fixture.h"
#include "tests/client/safetensors_file.h"
#include "tests/lab/tensors/direction_messages.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DirectionTest : public CliTest {
 protected:
  DirectionTest() {
    rows_ = WriteFile(
        "rows.jsonl",
        R"({"id":"a","prompt":"x","labels":{"says":"true"},"group":"1"})"
        "\n"
        R"({"id":"b","prompt":"y","labels":{"says":"false"},"group":"1"})"
        "\n"
        R"({"id":"c","prompt":"z","labels":{"says":"other"}})"
        "\n");
  }
  CommandResult Fit(std::vector<std::string> more) {
    std::vector<std::string> arguments = {"direction", "make",    "--input",
                                          rows_,       "--model", "m"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  }

  std::string rows_;
};

TEST_F(DirectionTest, IsFoundByTheServerAndKeptByName) {
  FakeServer& server = StartServer();
  const CommandResult result =
      Fit({"--label", "says=true,false", "--place", "resid_post.2-3", "--name",
           "truth", "--shared", "--out", Path("d.safetensors"), "-o", "json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const v1::FitDirectionsRequest fit = server.directions().last_fit();
  EXPECT_EQ(fit.variants(0).model(), "models/m");
  EXPECT_THAT(fit.blocks(), ElementsAre(2, 3));
  EXPECT_THAT(fit.labels().classes(), ElementsAre(1, 0, -1));
  EXPECT_EQ(fit.inputs(0).group(), "1");
  const v1::CreateDirectionRequest created = server.directions().last_created();
  EXPECT_EQ(created.name(), "directions/truth");
  EXPECT_TRUE(created.shared());
  EXPECT_EQ(created.given().method(), v1::DIRECTION_METHOD_MEAN_DIFFERENCE);
  EXPECT_EQ(created.given().vectors_size(), 2);
  EXPECT_EQ(created.given().vectors(1).norm(), 2.5);
  const auto source = nlohmann::json::parse(created.given().source_json());
  EXPECT_EQ(source["label"]["field"], "says");
  EXPECT_EQ(source["row_counts"], nlohmann::json({2, 1}));
  EXPECT_EQ(nlohmann::json::parse(result.out)["name"], "directions/truth");
  EXPECT_EQ(ReadTensor(Path("d.safetensors"), "blocks.3.resid_post")->data(),
            BytesOf<float>({1, 0}));
}

TEST_F(DirectionTest, TakesTheDifferenceOfTwoNetworks) {
  FakeServer& server = StartServer();
  const CommandResult result =
      Fit({"--method", "variant-difference", "--adapter", "a", "--place",
           "resid_post.2", "--out", Path("d.safetensors")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const v1::FitDirectionsRequest fit = server.directions().last_fit();
  EXPECT_EQ(fit.method(), v1::DIRECTION_METHOD_VARIANT_DIFFERENCE);
  EXPECT_EQ(fit.variants(0).adapter(), "models/m/adapters/a");
  EXPECT_EQ(fit.variants(1).adapter(), "");
  EXPECT_EQ(fit.labels().classes_size(), 0);
  // Nothing was kept.
  EXPECT_EQ(server.directions().last_created().name(), "");
  EXPECT_THAT(result.out, HasSubstr("blocks.2.resid_post"));
}

TEST_F(DirectionTest, IsMadeOfAJobsProbes) {
  FakeServer& server = StartServer();
  const CommandResult result =
      Run({"direction", "make", "--probe", "01J", "--target", "conflict",
           "--variant", "1", "--c", "0.1", "--place", "resid_post.2", "--name",
           "truth"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const v1::ProbeVectors probes = server.directions().last_created().probes();
  EXPECT_EQ(probes.job(), "jobs/01J");
  EXPECT_EQ(probes.target(), "conflict");
  EXPECT_EQ(probes.variant_index(), 1);
  EXPECT_EQ(probes.c(), 0.1);
  EXPECT_EQ(probes.places(0).block(), 2);
}

TEST_F(DirectionTest, SaysWhatIsMissing) {
  StartServer();
  const std::vector<std::pair<std::vector<std::string>, const char*>> cases = {
      {{"--name", "d"}, "--input (rows of prompts)"},
      {{"--input", rows_, "--probe", "j", "--name", "d"}, "--probe (a job)"},
      {{"--from", "a", "--name", "d"}, "--from and --minus"},
      {{"--input", rows_, "--model", "m"}, "give --name"},
      {{"--input", rows_, "--name", "d"}, "--model: name the model"},
      {{"--input", rows_, "--model", "m", "--name", "d"}, "FIELD=ONE,ZERO"},
      {{"--input", rows_, "--model", "m", "--name", "d", "--label", "says"},
       "'says' is not of the form"},
      {{"--input", rows_, "--model", "m", "--name", "d", "--label", "says=x"},
       "no row of"},
      {{"--input", rows_, "--model", "m", "--name", "d", "--method",
        "variant-difference"},
       "both networks are the same"},
      {{"--probe", "j", "--out", "f"}, "give it a --name"}};
  for (const auto& [more, message] : cases) {
    std::vector<std::string> arguments = {"direction", "make"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const CommandResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 2) << message;
    EXPECT_THAT(result.err, HasSubstr(message));
  }
}

TEST_F(DirectionTest, IsListedShownComparedAndForgotten) {
  StartServer();
  ASSERT_EQ(Run({"direction", "make", "--probe", "j", "--name", "a"}).exit_code,
            0);
  ASSERT_EQ(Run({"direction", "make", "--probe", "j", "--name", "b"}).exit_code,
            0);
  EXPECT_THAT(
      Run({"direction", "list"}).out,
      HasSubstr("a     m      probe   blocks.2.resid_post      2  ada"));
  const CommandResult shown =
      Run({"direction", "show", "a", "--out", Path("a.safetensors")});
  EXPECT_THAT(shown.out, HasSubstr("length was 2.5; rows there have 10"));
  EXPECT_EQ(ReadTensor(Path("a.safetensors"), "")->data(),
            BytesOf<float>({0, 1}));
  EXPECT_EQ(Run({"direction", "compare", "a", "b", "c", "-o", "table"}).out,
            "COSINE        a        b        c\n"
            "a       +0.0000  +0.1000        -\n"
            "b       -0.1000  +0.0000        -\n"
            "c             -        -  +0.0000\n");
  EXPECT_EQ(Run({"direction", "compare", "a", "a", "-o", "table"}).out,
            "COSINE                         1        2\n"
            "1 a blocks.0.resid_post  +0.0000        -\n"
            "2 a blocks.1.resid_post        -  +0.0000\n")
      << "places are too long for columns";
  const auto json = nlohmann::json::parse(
      Run({"direction", "compare", "a", "b", "-o", "json"}).out);
  EXPECT_EQ(json["cosines"][0][1], nullptr);
  EXPECT_EQ(json["vectors"][1]["place"], "blocks.1.resid_post");
  EXPECT_EQ(Run({"direction", "delete", "a"}).exit_code, 0);
  EXPECT_EQ(Run({"direction", "show", "a"}).exit_code, 3);
}

TEST_F(DirectionTest, SteersByName) {
  FakeServer& server = StartServer();
  const CommandResult result =
      Run({"lens", "--model", "m", "--prompt", "x", "--steer",
           "truth@resid_post.3=-4:last_prompt", "--steer", "directions/truth=2",
           "--project-out", "lies:prompt"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const v1::LogitLensRequest request = server.interpretability().last_lens();
  const auto& changes = request.variants(0).interventions();
  ASSERT_EQ(changes.size(), 3);
  EXPECT_EQ(changes[0].add().vector().direction(), "directions/truth");
  EXPECT_EQ(changes[0].add().coefficient(), -4);
  EXPECT_THAT(changes[0].blocks(), ElementsAre(3));
  EXPECT_EQ(changes[1].add().vector().direction(), "directions/truth");
  EXPECT_EQ(changes[1].add().coefficient(), 2);
  EXPECT_EQ(changes[1].site(), v1::SITE_UNSPECIFIED);
  EXPECT_EQ(changes[2].project_out().direction(), "directions/lies");
  EXPECT_EQ(changes[2].positions().set(), v1::POSITION_SET_PROMPT);
}

TEST_F(DirectionTest, IsTakenOfAJobOfAPipeline) {
  FakeServer& server = StartServer();
  v1::Direction found = DirectionNamed(
      "found", {VectorAt(PlaceAt(2), {2, 0}), VectorAt(PlaceAt(3), {3, 0})});
  ASSERT_TRUE(NormalizeVectors(found).ok());
  v1::Job job;
  job.set_name("jobs/FIT");
  job.set_state(v1::JOB_STATE_SUCCEEDED);
  job.mutable_spec()->mutable_fit_directions()->add_variants()->set_model(
      "models/m");
  v1::JobOutput& output = *job.add_outputs();
  output.set_file_name("direction.safetensors");
  output.set_artifact(server.artifacts().Add(DirectionFile(found)));
  server.AddJob(job);
  const CommandResult result =
      Run({"direction", "make", "--job", "FIT", "--name", "truth", "--place",
           "resid_post.3"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const v1::CreateDirectionRequest created = server.directions().last_created();
  EXPECT_EQ(created.name(), "directions/truth");
  EXPECT_EQ(created.given().model(), "models/m");
  EXPECT_EQ(created.given().method(), v1::DIRECTION_METHOD_MEAN_DIFFERENCE);
  ASSERT_EQ(created.given().vectors_size(), 1);
  EXPECT_EQ(created.given().vectors(0).place().block(), 3);
  EXPECT_EQ(created.given().vectors(0).norm(), 3);
  EXPECT_EQ(nlohmann::json::parse(created.given().source_json())["job"],
            "jobs/FIT");

  job.set_name("jobs/PROBES");
  job.mutable_spec()->mutable_train_probes();
  server.AddJob(job);
  ASSERT_EQ(Run({"direction", "make", "--job", "PROBES", "--name", "p",
                 "--target", "conflict"})
                .exit_code,
            0);
  EXPECT_EQ(server.directions().last_created().probes().target(), "conflict");
  job.set_name("jobs/MCQ");
  job.mutable_spec()->mutable_evaluate_mcq();
  server.AddJob(job);
  const CommandResult other =
      Run({"direction", "make", "--job", "MCQ", "--name", "q"});
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_THAT(other.err, HasSubstr("a job evaluate_mcq, which finds no "
                                   "direction"));
}

}  // namespace
}  // namespace dissonance
