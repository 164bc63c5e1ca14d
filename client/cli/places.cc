#include "client/cli/places.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cli/proto_json.h"
#include "src/base/status_macros.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance::cli {
namespace {

// More blocks than any model has, so that a mistyped range stays small.
constexpr int32_t kBlockLimit = 10'000;

absl::Status Wrong(absl::string_view text, absl::string_view reason) {
  return absl::InvalidArgumentError(absl::StrCat("'", text, "' ", reason));
}

// A number from 0 on: digits alone.
std::optional<int32_t> IndexOf(absl::string_view text) {
  int32_t index = 0;
  if (!absl::c_all_of(text, absl::ascii_isdigit) ||
      !absl::SimpleAtoi(text, &index)) {
    return std::nullopt;
  }
  return index;
}

// BEGIN-END; nullopt if it is not of that form.
std::optional<std::pair<int32_t, int32_t>> RangeOf(absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> ends =
      absl::StrSplit(text, absl::MaxSplits('-', 1));
  const std::optional<int32_t> begin = IndexOf(ends.first);
  const std::optional<int32_t> end = IndexOf(ends.second);
  if (!begin.has_value() || !end.has_value()) return std::nullopt;
  return std::make_pair(*begin, *end);
}

std::vector<v1::Site> AllSites() {
  std::vector<v1::Site> sites;
  for (int i = v1::SITE_UNSPECIFIED + 1; i <= v1::Site_MAX; ++i) {
    sites.push_back(static_cast<v1::Site>(i));
  }
  return sites;
}

// N of "N", "layer N", "blocks.N", "hidden_states[N]": a layer without a site.
std::optional<int32_t> BareLayer(absl::string_view text) {
  absl::ConsumeSuffix(&text, "]");
  size_t digits = 0;
  while (digits < text.size() &&
         absl::ascii_isdigit(text[text.size() - 1 - digits])) {
    ++digits;
  }
  const std::optional<int32_t> layer =
      IndexOf(text.substr(text.size() - digits));
  std::string word = absl::AsciiStrToLower(text);
  word.resize(word.size() - digits);
  while (!word.empty() && !absl::ascii_isalpha(word.back())) word.pop_back();
  for (const char* name :
       {"", "l", "layer", "layers", "block", "blocks", "hidden_states"}) {
    if (word == name) return layer;
  }
  return std::nullopt;
}

absl::Status BareLayerError(absl::string_view text, int32_t layer) {
  const std::string before =
      layer == 0 ? "the embedding"
                 : absl::StrCat("the output of block ", layer - 1);
  return Wrong(
      text,
      absl::StrCat("can be read in two ways: resid_pre.", layer,
                   " is the residual stream before block ", layer, " (", before,
                   "; hidden_states[", layer, "] of Hugging Face), resid_post.",
                   layer, " that after it (hidden_states[", layer + 1,
                   "], but for the last block); write one of them"));
}

// The head of "h2".
absl::StatusOr<int32_t> ParseHead(absl::string_view part, v1::Site site,
                                  absl::string_view text) {
  absl::string_view digits = part;
  const bool marked = absl::ConsumePrefix(&digits, "h");
  const std::optional<int32_t> head = IndexOf(digits);
  if (!marked || !head.has_value()) {
    return Wrong(text, absl::StrCat("ends in '", part,
                                    "'; a head is written as in z.3.h2"));
  }
  if (!HasHeads(site)) {
    return Wrong(text, absl::StrCat("names a head, but ", EnumWord(site),
                                    " has none; q, k, v and z do"));
  }
  return *head;
}

}  // namespace

bool BelongsToBlock(v1::Site site) { return IsInBlocks(site); }

bool HasHeads(v1::Site site) { return IsByHead(site); }

absl::StatusOr<v1::Site> ParseSite(absl::string_view text) {
  const std::vector<v1::Site> sites = AllSites();
  for (const v1::Site site : sites) {
    if (EnumWord(site) == text) return site;
  }
  if (const std::optional<int32_t> layer = BareLayer(text)) {
    return BareLayerError(text, *layer);
  }
  return Wrong(text, absl::StrCat("is no site; the sites are ",
                                  absl::StrJoin(sites, ", ",
                                                [](std::string* out, auto one) {
                                                  out->append(EnumWord(one));
                                                })));
}

absl::StatusOr<std::vector<v1::Site>> ParseSites(absl::string_view text) {
  std::vector<v1::Site> sites;
  for (const absl::string_view word : absl::StrSplit(text, ',')) {
    ASSIGN_OR_RETURN(const v1::Site site, ParseSite(word));
    if (absl::c_linear_search(sites, site)) {
      return Wrong(text, absl::StrCat("names ", word, " twice"));
    }
    sites.push_back(site);
  }
  return sites;
}

absl::StatusOr<std::vector<int32_t>> ParseBlocks(absl::string_view text) {
  std::set<int32_t> blocks;
  if (text == "all") return std::vector<int32_t>();
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::optional<int32_t> one = IndexOf(part);
    const auto range = one.has_value()
                           ? std::make_pair(*one, *one)
                           : RangeOf(part).value_or(std::make_pair(1, 0));
    if (range.first > range.second) {
      return Wrong(text, absl::StrCat("is no list of blocks: ", kBlocksHelp));
    }
    if (range.second >= kBlockLimit) {
      return Wrong(text, absl::StrCat("names block ", range.second,
                                      "; no model has so many"));
    }
    for (int32_t block = range.first; block <= range.second; ++block) {
      blocks.insert(block);
    }
  }
  return std::vector<int32_t>(blocks.begin(), blocks.end());
}

absl::StatusOr<v1::Positions> ParsePositions(absl::string_view text) {
  v1::Positions positions;
  for (int i = v1::POSITION_SET_UNSPECIFIED + 1; i <= v1::PositionSet_MAX;
       ++i) {
    if (EnumWord(static_cast<v1::PositionSet>(i)) != text) continue;
    positions.set_set(static_cast<v1::PositionSet>(i));
    return positions;
  }
  if (const auto range = RangeOf(text)) {
    if (range->second <= range->first) {
      return Wrong(
          text, absl::StrCat("holds no position: the first is ", range->first,
                             ", and ", range->second, " is not included"));
    }
    positions.mutable_range()->set_begin(range->first);
    positions.mutable_range()->set_end(range->second);
    return positions;
  }
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::optional<int32_t> index = IndexOf(part);
    if (!index.has_value()) {
      return Wrong(text, absl::StrCat("are no positions; they count from 0: ",
                                      kPositionsHelp));
    }
    positions.mutable_indices()->add_indices(*index);
  }
  return positions;
}

absl::StatusOr<Place> ParsePlace(absl::string_view text) {
  if (const std::optional<int32_t> layer = BareLayer(text)) {
    return BareLayerError(text, *layer);
  }
  std::vector<absl::string_view> parts = absl::StrSplit(text, '.');
  if (parts.front() == "blocks") {
    parts.erase(parts.begin());
    if (parts.size() > 1) std::swap(parts[0], parts[1]);
  }
  Place place;
  ASSIGN_OR_RETURN(place.site, ParseSite(parts.front()));
  size_t used = 1;
  if (BelongsToBlock(place.site)) {
    if (used == parts.size()) {
      return Wrong(text, absl::StrCat("names no block; write e.g. ", text,
                                      ".3 or ", text, ".0-5"));
    }
    ASSIGN_OR_RETURN(place.blocks, ParseBlocks(parts[used++]));
  }
  if (used < parts.size()) {
    ASSIGN_OR_RETURN(place.head, ParseHead(parts[used++], place.site, text));
  }
  if (used < parts.size()) {
    return Wrong(
        text, absl::StrCat("goes on after its place with '", parts[used], "'"));
  }
  return place;
}

}  // namespace dissonance::cli
