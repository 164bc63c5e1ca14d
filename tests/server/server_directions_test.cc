// Directions by name through both processes: what they do, who sees them and
// what is left of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_replace.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "dissonance/v1/probes.grpc.pb.h"
#include "src/base/status_macros.h"
#include "tests/server/server_fixture.h"
#include "tests/server/users_fixture.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

constexpr char kModel[] = "models/tiny";
constexpr int kBlock = 2;

// Of the tiny world's width, and of no regular kind.
v1::DirectionVector VectorAt(int block, int width) {
  v1::DirectionVector vector;
  vector.mutable_place()->set_site(v1::SITE_RESID_POST);
  vector.mutable_place()->set_block(block);
  std::vector<float> numbers;
  for (int i = 0; i < width; ++i) {
    numbers.push_back(static_cast<float>((i * 37 + block) % 19) - 9);
  }
  vector.mutable_vector()->set_dtype(v1::DTYPE_FLOAT32);
  vector.mutable_vector()->add_shape(width);
  vector.mutable_vector()->set_data(numbers.data(),
                                    numbers.size() * sizeof(float));
  return vector;
}

class ServerDirectionsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    server_ = new ServerProcess({.data_dir = folder_->path()});
    if (!server_->AwaitServing()) return;
    auto ada = Client::AddUser(*server_, "ada");
    auto bob = Client::AddUser(*server_, "bob");
    ASSERT_TRUE(ada.ok() && bob.ok()) << ada.status() << bob.status();
    v1::LoadModelRequest load;
    load.set_name(kModel);
    load.set_path(InTree("data/tiny_world/base"));
    load.set_visibility(v1::VISIBILITY_LAB);
    const auto loaded = ada->Call(&v1::Models::Stub::LoadModel, load);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    width_ = loaded->model().d_model();
    ada_ = new Client(*ada);
    bob_ = new Client(*bob);
  }
  static void TearDownTestSuite() {
    delete bob_;
    delete ada_;
    delete server_;
    delete folder_;
  }
  void SetUp() override { ASSERT_NE(bob_, nullptr); }

  static absl::StatusOr<v1::Direction> Make(
      const std::string& name, const std::vector<v1::DirectionVector>& vectors,
      bool shared = false) {
    v1::CreateDirectionRequest request;
    request.set_name("directions/" + name);
    request.set_shared(shared);
    request.mutable_given()->set_model(kModel);
    request.mutable_given()->mutable_vectors()->Add(vectors.begin(),
                                                    vectors.end());
    ASSIGN_OR_RETURN(
        const v1::CreateDirectionResponse response,
        ada_->Call(&v1::Directions::Stub::CreateDirection, request));
    return response.direction();
  }

  // A network steered along the vector.
  static v1::Variant Steered(const v1::VectorRef& vector) {
    v1::Variant variant;
    variant.set_model(kModel);
    v1::Intervention& change = *variant.add_interventions();
    change.set_site(v1::SITE_RESID_POST);
    change.add_blocks(kBlock);
    change.mutable_add()->set_coefficient(-3);
    *change.mutable_add()->mutable_vector() = vector;
    return variant;
  }
  static v1::VectorRef Named(const std::string& name) {
    v1::VectorRef ref;
    ref.set_direction("directions/" + name);
    return ref;
  }

  // The scores of one continuation.
  static absl::StatusOr<std::vector<double>> Score(const Client& client,
                                                   const v1::VectorRef& ref) {
    v1::ScoreRequest request;
    *request.add_variants() = Steered(ref);
    v1::ScoreItem& item = *request.add_items();
    item.mutable_prompt()->set_text("The sky of the tiny world is");
    item.add_continuations()->set_text(" green and blue");
    ASSIGN_OR_RETURN(const v1::ScoreResponse response,
                     client.Call(&v1::Inference::Stub::Score, request));
    const auto& scored = response.scores(0).continuations(0);
    return std::vector<double>(scored.token_logprobs().begin(),
                               scored.token_logprobs().end());
  }

  // A small evaluation along the direction.
  static absl::StatusOr<v1::Job> Evaluate(const std::string& direction) {
    v1::CreateJobRequest create;
    *create.mutable_spec() = TinyWorldJob(1);
    v1::EvaluateMcqSpec& mcq = *create.mutable_spec()->mutable_evaluate_mcq();
    mcq.clear_variants();
    mcq.add_variants()->set_model(kModel);
    *mcq.add_variants() = Steered(Named(direction));
    ASSIGN_OR_RETURN(const v1::CreateJobResponse created,
                     ada_->Call(&v1::Jobs::Stub::CreateJob, create));
    return AwaitJob(*server_, created.job().name());
  }

  static TempFolder* folder_;
  static ServerProcess* server_;
  static Client* ada_;
  static Client* bob_;
  static int width_;
};

TempFolder* ServerDirectionsTest::folder_ = nullptr;
ServerProcess* ServerDirectionsTest::server_ = nullptr;
Client* ServerDirectionsTest::ada_ = nullptr;
Client* ServerDirectionsTest::bob_ = nullptr;
int ServerDirectionsTest::width_ = 0;

TEST_F(ServerDirectionsTest, ANameSteersAsItsVectorDoesBitForBit) {
  const auto made =
      Make("truth", {VectorAt(kBlock, width_), VectorAt(kBlock + 1, width_)});
  ASSERT_TRUE(made.ok()) << made.status();
  v1::GetDirectionRequest get;
  get.set_name("directions/truth");
  const auto same = ada_->Call(&v1::Directions::Stub::GetDirection, get);
  ASSERT_TRUE(same.ok()) << same.status();
  v1::VectorRef vector;
  *vector.mutable_tensor() = same->direction().vectors(0).vector();
  const auto by_name = Score(*ada_, Named("truth"));
  const auto by_vector = Score(*ada_, vector);
  ASSERT_TRUE(by_name.ok() && by_vector.ok())
      << by_name.status() << by_vector.status();
  EXPECT_EQ(*by_name, *by_vector);
  // And it does something.
  *vector.mutable_tensor() = same->direction().vectors(1).vector();
  EXPECT_NE(*by_name, *Score(*ada_, vector));
}

TEST_F(ServerDirectionsTest, AnothersPrivateDirectionIsAsIfAbsent) {
  ASSERT_TRUE(Make("of-ada", {VectorAt(kBlock, width_)}).ok());
  const absl::Status hidden = Score(*bob_, Named("of-ada")).status();
  const absl::Status absent = Score(*bob_, Named("absent")).status();
  EXPECT_EQ(hidden.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(absl::StrReplaceAll(hidden.message(), {{"of-ada", "absent"}}),
            absent.message());
  ASSERT_TRUE(Make("shared", {VectorAt(kBlock, width_)}, true).ok());
  EXPECT_TRUE(Score(*bob_, Named("shared")).ok());
}

TEST_F(ServerDirectionsTest, ADirectionOfAnotherWidthIsRefused) {
  ASSERT_TRUE(Make("narrow", {VectorAt(kBlock, width_ / 2)}).ok());
  const absl::Status refused = Score(*ada_, Named("narrow")).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(refused.message(), HasSubstr("resid_post of models/tiny has"));
}

TEST_F(ServerDirectionsTest, ADirectionIsKeptOverARestart) {
  const auto made = Make("kept", {VectorAt(kBlock, width_)});
  ASSERT_TRUE(made.ok()) << made.status();
  server_->Signal(SIGKILL);
  server_->AwaitExit();
  delete server_;
  server_ = new ServerProcess({.data_dir = folder_->path()});
  ASSERT_TRUE(server_->AwaitServing());
  for (Client** client : {&ada_, &bob_}) {
    Client* again =
        new Client(*server_, (*client)->secret(), (*client)->token());
    delete std::exchange(*client, again);
  }
  v1::GetDirectionRequest get;
  get.set_name("directions/kept");
  const auto same = ada_->Call(&v1::Directions::Stub::GetDirection, get);
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(same->direction().SerializeAsString(), made->SerializeAsString());
}

TEST_F(ServerDirectionsTest, AJobReplaysAfterItsDirectionIsGone) {
  ASSERT_TRUE(Make("passing", {VectorAt(kBlock, width_)}).ok());
  const auto first = Evaluate("passing");
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_EQ(first->state(), v1::JOB_STATE_SUCCEEDED) << first->reason();
  const v1::VectorRef& stored =
      first->spec().evaluate_mcq().variants(1).interventions(0).add().vector();
  EXPECT_EQ(stored.label(), "directions/passing");
  EXPECT_TRUE(stored.has_tensor());
  v1::DeleteDirectionRequest forget;
  forget.set_name("directions/passing");
  ASSERT_TRUE(ada_->Call(&v1::Directions::Stub::DeleteDirection, forget).ok());
  EXPECT_TRUE(absl::IsNotFound(Evaluate("passing").status()));
  v1::ReplayJobRequest replay;
  replay.set_name(first->name());
  const auto created = ada_->Call(&v1::Jobs::Stub::ReplayJob, replay);
  ASSERT_TRUE(created.ok()) << created.status();
  const auto second = AwaitJob(*server_, created->job().name());
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->state(), v1::JOB_STATE_SUCCEEDED) << second->reason();
  v1::CompareJobsRequest compare;
  compare.set_first_job(first->name());
  compare.set_second_job(second->name());
  const auto compared = ada_->Call(&v1::Jobs::Stub::CompareJobs, compare);
  ASSERT_TRUE(compared.ok()) << compared.status();
  EXPECT_TRUE(compared->same_outputs()) << compared->DebugString();
}

TEST_F(ServerDirectionsTest, DirectionsAreListedComparedAndForgotten) {
  ASSERT_TRUE(Make("a", {VectorAt(0, width_), VectorAt(1, width_)}).ok());
  v1::CompareDirectionsRequest compare;
  compare.add_names("directions/a");
  const auto compared =
      ada_->Call(&v1::Directions::Stub::CompareDirections, compare);
  ASSERT_TRUE(compared.ok()) << compared.status();
  ASSERT_EQ(compared->cosines_size(), 4);
  EXPECT_NEAR(compared->cosines(0), 1, 1e-12);
  EXPECT_LT(compared->cosines(1), 1);
  v1::ListDirectionsRequest list;
  list.set_page_size(1);
  const auto page = ada_->Call(&v1::Directions::Stub::ListDirections, list);
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->directions_size(), 1);
  EXPECT_EQ(page->directions(0).name(), "directions/a");
  EXPECT_EQ(page->directions(0).vectors_size(), 0);
  EXPECT_EQ(Make("a", {VectorAt(0, width_)}).status().code(),
            absl::StatusCode::kAlreadyExists);
}

}  // namespace
}  // namespace dissonance
