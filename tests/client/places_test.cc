#include "client/cli/places.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string MessageOf(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(PlacesTest, ReadsASiteWithItsBlocksAndHead) {
  const auto post = ParsePlace("resid_post.3");
  ASSERT_TRUE(post.ok()) << post.status();
  EXPECT_EQ(post->site, v1::SITE_RESID_POST);
  EXPECT_THAT(post->blocks, ElementsAre(3));
  EXPECT_FALSE(post->head.has_value());
  const auto head = ParsePlace("z.5,0-2.h7");
  ASSERT_TRUE(head.ok()) << head.status();
  EXPECT_THAT(head->blocks, ElementsAre(0, 1, 2, 5));
  EXPECT_EQ(head->head, 7);
  const auto norm = ParsePlace("final_norm");
  ASSERT_TRUE(norm.ok()) << norm.status();
  EXPECT_THAT(norm->blocks, ElementsAre());
}

TEST(PlacesTest, ReadsTheOrderOfTransformerLens) {
  const auto place = ParsePlace("blocks.3.z.h2");
  ASSERT_TRUE(place.ok()) << place.status();
  EXPECT_EQ(place->site, v1::SITE_Z);
  EXPECT_THAT(place->blocks, ElementsAre(3));
  EXPECT_EQ(place->head, 2);
}

TEST(PlacesTest, RefusesABareLayerWithItsTwoReadings) {
  for (const char* text : {"20", "layer 20", "Layer20", "L20", "layers.20",
                           "blocks.20", "hidden_states[20]"}) {
    for (const auto& status :
         {ParsePlace(text).status(), ParseSite(text).status()}) {
      const std::string message = MessageOf(status);
      EXPECT_THAT(message, HasSubstr("resid_pre.20")) << text;
      EXPECT_THAT(message, HasSubstr("the output of block 19; "
                                     "hidden_states[20] of Hugging Face"));
      EXPECT_THAT(message, HasSubstr("resid_post.20"));
    }
  }
  EXPECT_THAT(MessageOf(ParsePlace("0").status()),
              HasSubstr("before block 0 (the embedding;"));
}

TEST(PlacesTest, SaysWhatIsWrongWithAPlace) {
  const std::pair<const char*, const char*> cases[] = {
      {"resid_post", "names no block; write e.g. resid_post.3"},
      {"resid.3", "'resid' is no site; the sites are resid_pre, q, "},
      {"resid_post.x", "'x' is no list of blocks"},
      {"resid_post.5-3", "'5-3' is no list of blocks"},
      {"resid_post.-1", "'-1' is no list of blocks"},
      {"resid_post.0-99999999", "no model has so many"},
      {"resid_post.99999999999", "is no list of blocks"},
      {"resid_post.3.h2", "names a head, but resid_post has none"},
      {"z.3.2", "a head is written as in z.3.h2"},
      {"z.3.h", "a head is written as in z.3.h2"},
      {"z.3.h2.h3", "goes on after its place with 'h3'"},
      {"final_norm.3", "a head is written"},
      {"blocks", "is no site"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(MessageOf(ParsePlace(text).status()), HasSubstr(message))
        << text;
  }
}

TEST(PlacesTest, ReadsListsOfSitesAndBlocks) {
  EXPECT_THAT(*ParseSites("resid_post,logits"),
              ElementsAre(v1::SITE_RESID_POST, v1::SITE_LOGITS));
  EXPECT_THAT(MessageOf(ParseSites("z,z").status()), HasSubstr("z twice"));
  EXPECT_THAT(MessageOf(ParseSites("z,").status()), HasSubstr("'' is no site"));
  EXPECT_THAT(*ParseBlocks("all"), ElementsAre());
  EXPECT_THAT(*ParseBlocks("0,3-5,4"), ElementsAre(0, 3, 4, 5));
  EXPECT_FALSE(ParseBlocks("").ok());
}

TEST(PlacesTest, ReadsPositions) {
  EXPECT_EQ(ParsePositions("last_prompt")->set(), v1::POSITION_SET_LAST_PROMPT);
  EXPECT_EQ(ParsePositions("all")->set(), v1::POSITION_SET_ALL);
  const auto range = ParsePositions("2-5");
  EXPECT_EQ(range->range().begin(), 2);
  EXPECT_EQ(range->range().end(), 5);
  EXPECT_THAT(ParsePositions("7,3")->indices().indices(), ElementsAre(7, 3));
  EXPECT_THAT(ParsePositions("0")->indices().indices(), ElementsAre(0));
  EXPECT_THAT(MessageOf(ParsePositions("3-3").status()),
              HasSubstr("3 is not included"));
  for (const char* text : {"-1", "last", "1,", "1,2-3", "", "1.5"}) {
    EXPECT_THAT(MessageOf(ParsePositions(text).status()),
                HasSubstr("are no positions; they count from 0"))
        << text;
  }
}

TEST(PlacesTest, NamesPlacesAsTransformerLensDoes) {
  v1::SiteRef place;
  place.set_site(v1::SITE_RESID_POST);
  place.set_block(3);
  EXPECT_EQ(PlaceName(place), "blocks.3.resid_post");
  place.set_site(v1::SITE_FINAL_NORM);
  EXPECT_EQ(PlaceName(place), "final_norm");
}

}  // namespace
}  // namespace dissonance::cli
