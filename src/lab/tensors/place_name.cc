#include "src/lab/tensors/place_name.h"

#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace dissonance {
namespace {

constexpr absl::string_view kSitePrefix = "SITE_";
constexpr absl::string_view kBlocks = "blocks.";

}  // namespace

std::string SiteName(v1::Site site) {
  const std::string& name = v1::Site_Name(site);
  if (name.empty()) return absl::StrCat("site ", static_cast<int>(site));
  return absl::AsciiStrToLower(absl::StripPrefix(name, kSitePrefix));
}

bool IsInBlocks(v1::Site site) {
  return site != v1::SITE_FINAL_NORM && site != v1::SITE_LOGITS;
}

bool IsByHead(v1::Site site) {
  return site == v1::SITE_Q || site == v1::SITE_K || site == v1::SITE_V ||
         site == v1::SITE_Z || site == v1::SITE_PATTERN;
}

std::string PlaceName(const v1::SiteRef& place) {
  return IsInBlocks(place.site())
             ? absl::StrCat(kBlocks, place.block(), ".", SiteName(place.site()))
             : SiteName(place.site());
}

std::optional<v1::SiteRef> ParsePlaceName(absl::string_view name) {
  v1::SiteRef place;
  const bool has_block = absl::ConsumePrefix(&name, kBlocks);
  if (has_block) {
    const size_t dot = name.find('.');
    int32_t block = 0;
    if (dot == absl::string_view::npos || dot == 0 ||
        !absl::ascii_isdigit(static_cast<unsigned char>(name.front())) ||
        !absl::SimpleAtoi(name.substr(0, dot), &block)) {
      return std::nullopt;
    }
    place.set_block(block);
    name.remove_prefix(dot + 1);
  }
  for (int i = v1::SITE_UNSPECIFIED + 1; i <= v1::Site_MAX; ++i) {
    const auto site = static_cast<v1::Site>(i);
    if (SiteName(site) != name || IsInBlocks(site) != has_block) continue;
    place.set_site(site);
    return place;
  }
  return std::nullopt;
}

bool IsSamePlace(const v1::SiteRef& a, const v1::SiteRef& b) {
  return a.site() == b.site() &&
         (!IsInBlocks(a.site()) || a.block() == b.block());
}

}  // namespace dissonance
