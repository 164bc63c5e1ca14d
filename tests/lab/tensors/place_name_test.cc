#include "src/lab/tensors/place_name.h"

#include "gtest/gtest.h"

namespace dissonance {
namespace {

TEST(PlaceNameTest, EveryPlaceComesBackFromItsName) {
  for (int i = v1::SITE_UNSPECIFIED + 1; i <= v1::Site_MAX; ++i) {
    v1::SiteRef place;
    place.set_site(static_cast<v1::Site>(i));
    if (IsInBlocks(place.site())) place.set_block(12);
    const auto parsed = ParsePlaceName(PlaceName(place));
    ASSERT_TRUE(parsed.has_value()) << PlaceName(place);
    EXPECT_EQ(parsed->SerializeAsString(), place.SerializeAsString());
  }
}

TEST(PlaceNameTest, OtherTextsAreNoPlaces) {
  for (const char* text :
       {"", "resid_post", "blocks.3", "blocks..resid_post",
        "blocks.3.final_norm", "blocks.-1.z", "blocks. 3.z",
        "blocks.3.unspecified", "3.z", "blocks.99999999999.z"}) {
    EXPECT_FALSE(ParsePlaceName(text).has_value()) << text;
  }
}

TEST(PlaceNameTest, ABlockCountsOnlyWhereTheSiteHasOne) {
  v1::SiteRef a;
  v1::SiteRef b;
  a.set_site(v1::SITE_FINAL_NORM);
  b.set_site(v1::SITE_FINAL_NORM);
  b.set_block(3);
  EXPECT_TRUE(IsSamePlace(a, b));
  a.set_site(v1::SITE_RESID_POST);
  b.set_site(v1::SITE_RESID_POST);
  EXPECT_FALSE(IsSamePlace(a, b));
}

}  // namespace
}  // namespace dissonance
