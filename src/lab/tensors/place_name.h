// Places in the network as files and messages write them:
// "blocks.3.resid_post", "final_norm". Pure functions; thread safe.
#ifndef DISSONANCE_LAB_TENSORS_PLACE_NAME_H_
#define DISSONANCE_LAB_TENSORS_PLACE_NAME_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "dissonance/v1/common.pb.h"

namespace dissonance {

// "resid_post"; "site 99" for one that is unknown.
std::string SiteName(v1::Site site);
// Whether the site is one of a block's; final_norm and logits are not.
bool IsInBlocks(v1::Site site);
// Whether it has a row for each head: q, k, v, z and pattern.
bool IsByHead(v1::Site site);

// "blocks.3.resid_post"; "final_norm".
std::string PlaceName(const v1::SiteRef& place);
// The place of such a name; nullopt for another text.
std::optional<v1::SiteRef> ParsePlaceName(absl::string_view name);

// Whether both are one place: a block where the site is in none is ignored.
bool IsSamePlace(const v1::SiteRef& a, const v1::SiteRef& b);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_TENSORS_PLACE_NAME_H_
