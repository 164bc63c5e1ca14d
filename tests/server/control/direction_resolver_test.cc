#include "server/control/direction_resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "dissonance/v1/inference.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "dissonance/v1/probes.pb.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "tests/lab/tensors/direction_messages.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kModel[] = "models/m";

class DirectionResolverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    AddModel(kModel, 2);
    AddModel("models/wide", 4);
    Make(DirectionNamed("one", {VectorAt(PlaceAt(3), {0.6F, 0.8F})}));
    Make(DirectionNamed(
        "two", {VectorAt(PlaceAt(2), {1, 0}), VectorAt(PlaceAt(3), {0, 1})}));
    Make(DirectionNamed("heads", {VectorAt(PlaceAt(1, v1::SITE_Z), {1, 0})}));
  }
  void AddModel(const std::string& name, int d_model) {
    StoredModel stored;
    stored.model.set_name(name);
    stored.model.set_owner("users/ada");
    stored.model.set_d_model(d_model);
    stored.model.set_head_count(2);
    stored.model.set_kv_head_count(1);
    ASSERT_TRUE(models_.PutModel(stored).ok());
  }
  void Make(const v1::Direction& direction) {
    const auto made = catalog_.Create({.user = "ada"}, direction);
    ASSERT_TRUE(made.ok()) << made.status();
  }

  // A steered variant of a request.
  static v1::ScoreRequest Steered(const std::string& name, v1::Site site,
                                  const std::vector<int32_t>& blocks,
                                  const std::string& model = kModel) {
    v1::ScoreRequest request;
    v1::Variant& variant = *request.add_variants();
    variant.set_model(model);
    v1::Intervention& change = *variant.add_interventions();
    change.set_site(site);
    change.mutable_blocks()->Add(blocks.begin(), blocks.end());
    change.mutable_add()->set_coefficient(-4);
    change.mutable_add()->mutable_vector()->set_direction("directions/" + name);
    return request;
  }
  static const v1::Intervention& ChangeOf(const v1::ScoreRequest& request,
                                          int index = 0) {
    return request.variants(0).interventions(index);
  }
  static std::string DataOf(const v1::ScoreRequest& request, int index = 0) {
    return ChangeOf(request, index).add().vector().tensor().data();
  }
  absl::Status Resolve(google::protobuf::Message& message,
                       const std::string& user = "ada") {
    return resolver_.Resolve({.user = user}, message);
  }
  std::string Error(google::protobuf::Message&& message) {
    const absl::Status status = Resolve(message);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  }

  const TempFolder dir_;
  const std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  ModelStore models_{*database_};
  ArtifactIndex index_{*database_};
  const std::unique_ptr<ArtifactStore> artifacts_ =
      *ArtifactStore::Create(dir_.path(), index_, Clock::Real());
  DirectionStore store_{*database_};
  DirectionCatalog catalog_{store_, *artifacts_, Clock::Real()};
  const DirectionResolver resolver_{catalog_, models_, 1 << 20};
};

TEST_F(DirectionResolverTest, OneVectorServesAnyBlocks) {
  v1::ScoreRequest request = Steered("one", v1::SITE_RESID_PRE, {0, 5});
  ASSERT_TRUE(Resolve(request).ok());
  ASSERT_EQ(request.variants(0).interventions_size(), 1);
  const v1::VectorRef& vector = ChangeOf(request).add().vector();
  EXPECT_EQ(vector.label(), "directions/one");
  EXPECT_THAT(vector.tensor().shape(), ElementsAre(2));
  EXPECT_EQ(vector.tensor().data(), BytesOf<float>({0.6F, 0.8F}));
  EXPECT_THAT(ChangeOf(request).blocks(), ElementsAre(0, 5));
  EXPECT_EQ(ChangeOf(request).add().coefficient(), -4);
}

TEST_F(DirectionResolverTest, EachBlockHasItsOwnVectorInPlace) {
  v1::ScoreRequest request = Steered("two", v1::SITE_RESID_POST, {3, 2});
  v1::Variant& variant = *request.mutable_variants(0);
  variant.mutable_interventions(0)->mutable_positions()->set_set(
      v1::POSITION_SET_PROMPT);
  variant.add_interventions()->mutable_zero();
  ASSERT_TRUE(Resolve(request).ok());
  ASSERT_EQ(variant.interventions_size(), 3);
  EXPECT_THAT(ChangeOf(request, 0).blocks(), ElementsAre(3));
  EXPECT_EQ(DataOf(request, 0), BytesOf<float>({0, 1}));
  EXPECT_THAT(ChangeOf(request, 1).blocks(), ElementsAre(2));
  EXPECT_EQ(DataOf(request, 1), BytesOf<float>({1, 0}));
  EXPECT_EQ(ChangeOf(request, 1).positions().set(), v1::POSITION_SET_PROMPT);
  EXPECT_TRUE(ChangeOf(request, 2).has_zero());
}

TEST_F(DirectionResolverTest, WithoutASiteItStandsForItsOwnPlaces) {
  v1::ScoreRequest request = Steered("two", v1::SITE_UNSPECIFIED, {});
  ASSERT_TRUE(Resolve(request).ok());
  ASSERT_EQ(request.variants(0).interventions_size(), 2);
  EXPECT_EQ(ChangeOf(request, 1).site(), v1::SITE_RESID_POST);
  EXPECT_THAT(ChangeOf(request, 1).blocks(), ElementsAre(3));
  EXPECT_EQ(DataOf(request, 1), BytesOf<float>({0, 1}));
}

TEST_F(DirectionResolverTest, EachHeadHasItsPartOfTheVector) {
  v1::ScoreRequest request = Steered("heads", v1::SITE_Z, {1});
  ASSERT_TRUE(Resolve(request).ok());
  ASSERT_EQ(request.variants(0).interventions_size(), 2);
  EXPECT_EQ(ChangeOf(request, 1).head(), 1);
  EXPECT_EQ(DataOf(request, 0), BytesOf<float>({1}));
  EXPECT_EQ(DataOf(request, 1), BytesOf<float>({0}));
  request = Steered("heads", v1::SITE_Z, {1});
  request.mutable_variants(0)->mutable_interventions(0)->set_head(0);
  ASSERT_TRUE(Resolve(request).ok());
  ASSERT_EQ(request.variants(0).interventions_size(), 1);
  EXPECT_EQ(DataOf(request), BytesOf<float>({1}));
  request = Steered("heads", v1::SITE_Z, {1});
  request.mutable_variants(0)->mutable_interventions(0)->set_head(2);
  EXPECT_THAT(Error(std::move(request)), HasSubstr("head: 2 is none of 2"));
}

TEST_F(DirectionResolverTest, ASweepSplitsAFlatVectorAmongTheHeads) {
  Make(DirectionNamed("blocks", {VectorAt(PlaceAt(1, v1::SITE_Z), {1, 0}),
                                 VectorAt(PlaceAt(2, v1::SITE_Z), {0, 1})}));
  v1::JobSpec spec;
  v1::SteeringSweepSpec& sweep = *spec.mutable_steering_sweep();
  sweep.mutable_variant()->set_model(kModel);
  sweep.set_site(v1::SITE_Z);
  sweep.add_directions()->mutable_vector()->set_direction("directions/heads");
  sweep.add_directions()->mutable_vector()->set_direction("directions/blocks");
  ASSERT_TRUE(Resolve(spec).ok());
  EXPECT_THAT(sweep.directions(0).vector().tensor().shape(), ElementsAre(2, 1));
  ASSERT_EQ(sweep.directions(1).vectors_size(), 2);
  EXPECT_THAT(sweep.directions(1).vectors(1).vector().shape(),
              ElementsAre(2, 1));
}

TEST_F(DirectionResolverTest, RefusesAVectorThatTheHeadsCannotShare) {
  v1::DirectionVector three = VectorAt(PlaceAt(1, v1::SITE_Z), {1, 0, 0});
  Make(DirectionNamed("odd", {three}));
  three.mutable_vector()->clear_shape();
  three.mutable_vector()->add_shape(3);
  three.mutable_vector()->add_shape(1);
  Make(DirectionNamed("threes", {three}));
  v1::DirectionVector six =
      VectorAt(PlaceAt(1, v1::SITE_Z), {1, 0, 0, 0, 0, 0});
  six.mutable_vector()->clear_shape();
  six.mutable_vector()->add_shape(3);
  six.mutable_vector()->add_shape(2);
  Make(DirectionNamed("sixes", {six}));
  EXPECT_EQ(Error(Steered("odd", v1::SITE_Z, {1})),
            "variants[0].interventions[0]: direction odd: it has 3 numbers, "
            "which the 2 heads of z can't share");
  EXPECT_THAT(Error(Steered("threes", v1::SITE_Z, {1})),
              HasSubstr("direction threes: it has 3 numbers"));
  EXPECT_THAT(Error(Steered("sixes", v1::SITE_Z, {1})),
              HasSubstr("direction sixes: it is of 3 heads, z of models/m "
                        "has 2"));
  v1::JobSpec spec;
  v1::SteeringSweepSpec& sweep = *spec.mutable_steering_sweep();
  sweep.mutable_variant()->set_model(kModel);
  sweep.set_site(v1::SITE_Z);
  sweep.add_directions()->mutable_vector()->set_direction("directions/odd");
  EXPECT_THAT(Error(std::move(spec)), HasSubstr("direction odd: it has 3"));
}

TEST_F(DirectionResolverTest, MetersReadAtTheDirectionsPlace) {
  v1::ApplyProbeRequest request;
  request.add_variants()->set_model(kModel);
  request.add_meters()->mutable_vector()->set_direction("directions/one");
  v1::Meter& second = *request.add_meters();
  second.mutable_vector()->set_direction("directions/two");
  *second.mutable_place() = PlaceAt(3);
  ASSERT_TRUE(Resolve(request).ok());
  EXPECT_EQ(request.meters(0).place().block(), 3);
  EXPECT_EQ(request.meters(1).vector().tensor().data(), BytesOf<float>({0, 1}));
  second.mutable_vector()->set_direction("directions/two");
  second.clear_place();
  EXPECT_THAT(Error(std::move(request)),
              HasSubstr("meters[1]: place: direction two has several, "
                        "blocks.2.resid_post, blocks.3.resid_post; say which"));
}

TEST_F(DirectionResolverTest, ASweepTakesAllVectorsOfItsSite) {
  v1::JobSpec spec;
  v1::SteeringSweepSpec& sweep = *spec.mutable_steering_sweep();
  sweep.mutable_variant()->set_model(kModel);
  sweep.add_directions()->mutable_vector()->set_direction("directions/one");
  sweep.add_directions()->mutable_vector()->set_direction("directions/two");
  v1::JobSpec other = spec;
  ASSERT_TRUE(Resolve(spec).ok());
  EXPECT_EQ(sweep.directions(0).vector().tensor().data(),
            BytesOf<float>({0.6F, 0.8F}));
  EXPECT_EQ(sweep.directions(1).label(), "directions/two");
  EXPECT_FALSE(sweep.directions(1).has_vector());
  ASSERT_EQ(sweep.directions(1).vectors_size(), 2);
  EXPECT_EQ(sweep.directions(1).vectors(1).place().block(), 3);
  v1::JobSpec blocks = other;
  blocks.mutable_steering_sweep()->add_blocks(2);
  blocks.mutable_steering_sweep()->add_blocks(4);
  EXPECT_THAT(
      Error(std::move(blocks)),
      HasSubstr("steering_sweep.directions[1]: direction two has no vector at "
                "blocks.4.resid_post; it has blocks.2.resid_post"));
  other.mutable_steering_sweep()->set_site(v1::SITE_MLP_OUT);
  EXPECT_THAT(Error(std::move(other)), HasSubstr("no vector at"));
}

TEST_F(DirectionResolverTest, SaysWhichPlacesADirectionHas) {
  EXPECT_EQ(Error(Steered("two", v1::SITE_RESID_POST, {4})),
            "variants[0].interventions[0]: direction two has no vector at "
            "blocks.4.resid_post; it has blocks.2.resid_post, "
            "blocks.3.resid_post");
}

TEST_F(DirectionResolverTest, SaysWhoseADirectionOfAnotherWidthIs) {
  EXPECT_EQ(Error(Steered("one", v1::SITE_RESID_POST, {3}, "models/wide")),
            "variants[0].interventions[0]: direction one has 2 numbers, "
            "resid_post of models/wide has 4: it belongs to models/m");
}

TEST_F(DirectionResolverTest, TheSameWidthElsewhereIsNotTheSameBasis) {
  EXPECT_EQ(Error(Steered("one", v1::SITE_Q, {3})),
            "variants[0].interventions[0]: direction one was found at "
            "blocks.3.resid_post, whose numbers mean something else at q; fit "
            "one there");
  EXPECT_THAT(Error(Steered("heads", v1::SITE_RESID_POST, {1})),
              HasSubstr("was found at blocks.1.z"));
  for (const v1::Site site :
       {v1::SITE_RESID_PRE, v1::SITE_ATTN_OUT, v1::SITE_MLP_OUT}) {
    v1::ScoreRequest request = Steered("one", site, {3});
    EXPECT_TRUE(Resolve(request).ok()) << v1::Site_Name(site);
  }
}

TEST_F(DirectionResolverTest, ASharedDirectionDoesNotNameAHiddenModel) {
  v1::Direction shared = DirectionNamed("shared", {VectorAt(PlaceAt(3), {1})});
  shared.set_shared(true);
  Make(shared);
  v1::ScoreRequest request =
      Steered("shared", v1::SITE_RESID_POST, {3}, "models/wide");
  const absl::Status refused = Resolve(request, "bob");
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(refused.message(), HasSubstr(": it belongs to another model"));
}

TEST_F(DirectionResolverTest, AnothersDirectionIsAsIfAbsent) {
  v1::ScoreRequest hidden = Steered("one", v1::SITE_RESID_POST, {3});
  v1::ScoreRequest absent = Steered("two2", v1::SITE_RESID_POST, {3});
  const absl::Status of_hidden = Resolve(hidden, "bob");
  const absl::Status of_absent = Resolve(absent, "bob");
  EXPECT_EQ(of_hidden.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(of_absent.code(), absl::StatusCode::kNotFound);
  std::string text(of_absent.message());
  EXPECT_EQ(text.replace(text.find("two2"), 4, "one"), of_hidden.message());
}

TEST_F(DirectionResolverTest, VectorsHaveALimitTogether) {
  const DirectionResolver small(catalog_, models_, /*limit_bytes=*/23);
  v1::ScoreRequest request = Steered("two", v1::SITE_RESID_POST, {2, 3});
  EXPECT_TRUE(small.Resolve({.user = "ada"}, request).ok());
  request = Steered("two", v1::SITE_RESID_POST, {2, 3, 2});
  const absl::Status refused = small.Resolve({.user = "ada"}, request);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message(), HasSubstr("23 bytes"));
}

TEST_F(DirectionResolverTest, BytesComeOutAsTheMessageDoes) {
  v1::ScoreRequest request = Steered("one", v1::SITE_RESID_POST, {3});
  request.add_items()->mutable_prompt()->set_text("x");
  const grpc::Slice slice(request.SerializeAsString());
  auto bytes =
      resolver_.Resolve({.user = "ada"}, *v1::ScoreRequest::descriptor(),
                        grpc::ByteBuffer(&slice, 1));
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  grpc::ProtoBufferReader reader(&*bytes);
  v1::ScoreRequest parsed;
  ASSERT_TRUE(parsed.ParseFromZeroCopyStream(&reader));
  ASSERT_TRUE(Resolve(request).ok());
  EXPECT_EQ(parsed.SerializeAsString(), request.SerializeAsString());
  const grpc::Slice broken("\xff");
  EXPECT_EQ(resolver_
                .Resolve({.user = "ada"}, *v1::ScoreRequest::descriptor(),
                         grpc::ByteBuffer(&broken, 1))
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dissonance
