// Sites, blocks and positions as people write them. Errors are
// INVALID_ARGUMENT and say what to write instead. Pure functions; thread safe.
//
//   ParsePlace("resid_post.3")    // the residual stream after block 3
//   ParsePlace("z.0-5.h2")        // head 2 in blocks 0 to 5
//   ParsePlace("blocks.3.z.h2")   // head 2 in block 3
//   ParsePositions("0-4")         // positions 0 to 3
#ifndef DISSONANCE_CLIENT_CLI_PLACES_H_
#define DISSONANCE_CLIENT_CLI_PLACES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/common.pb.h"

namespace dissonance::cli {

// For the help of options that take them.
inline constexpr char kBlocksHelp[] = "all, or e.g. 0,3-5 (3, 4 and 5)";
inline constexpr char kPositionsHelp[] =
    "all, prompt, last_prompt, generated, BEGIN-END (END not included), or "
    "indices 3,5,7";

// Whether the site is one of a block's; final_norm and logits are not.
bool BelongsToBlock(v1::Site site);
// Whether it has a row for each head: q, k, v, z and pattern.
bool HasHeads(v1::Site site);

// "resid_post". A bare "20" or "layer 20" is refused with its two readings.
absl::StatusOr<v1::Site> ParseSite(absl::string_view text);
// "resid_post,logits", each once.
absl::StatusOr<std::vector<v1::Site>> ParseSites(absl::string_view text);

// "0,3-5" is 0, 3, 4 and 5: ascending, each once. "all": empty, as in the API.
absl::StatusOr<std::vector<int32_t>> ParseBlocks(absl::string_view text);

// As kPositionsHelp says.
absl::StatusOr<v1::Positions> ParsePositions(absl::string_view text);

// A site in some blocks, or one of its heads there.
struct Place {
  v1::Site site = v1::SITE_UNSPECIFIED;
  // Ascending. Empty: all, or the site belongs to none.
  std::vector<int32_t> blocks;
  std::optional<int32_t> head;
};

// SITE.BLOCKS[.hHEAD], or blocks.BLOCKS.SITE[.hHEAD] as TransformerLens orders
// them; SITE alone where it belongs to no block.
absl::StatusOr<Place> ParsePlace(absl::string_view text);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_PLACES_H_
