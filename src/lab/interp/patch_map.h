// Many prompts' patches put together: a map of blocks and positions counted
// from the end, and how well an approximation agrees with the exact effects.
// Values and pure functions; thread safe.
//
//   const PatchMap map = MapOf(prompts);
//   for (const auto& [place, cell] : map) ...
#ifndef DISSONANCE_LAB_INTERP_PATCH_MAP_H_
#define DISSONANCE_LAB_INTERP_PATCH_MAP_H_

#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "absl/types/span.h"
#include "src/lab/interp/patch_record.h"

namespace dissonance {

// Where a patch was, over prompts of any lengths.
struct PatchPlace {
  bool reversed = false;
  v1::PatchMethod method = v1::PATCH_METHOD_EXACT;
  v1::Site site = v1::SITE_UNSPECIFIED;
  int block = -1;
  int head = -1;
  int offset = 0;  // -1: the decision token

  auto operator<=>(const PatchPlace&) const = default;
};

struct PatchCell {
  int64_t prompt_count = 0;
  int64_t flip_count = 0;
  // Mean over `effect_count` prompts of the share of the way from the target to
  // the source; nullopt if both are equal in all.
  int64_t effect_count = 0;
  std::optional<double> effect;
  double delta = 0;  // mean logit A - logit B after the patch
};

using PatchMap = std::map<PatchPlace, PatchCell>;

// Share of the way from the target's delta to the source's; nullopt if they are
// equal.
std::optional<double> PatchEffect(const PatchedRun& run, const PatchRow& row);

PatchMap MapOf(absl::Span<const PatchedPrompt> prompts);

// How an approximation goes with the exact changes of delta, over all prompts,
// blocks and positions.
struct PatchAgreement {
  int64_t count = 0;
  // nullopt with fewer than 2 or all equal.
  std::optional<double> pearson;
  std::optional<double> spearman;
};

// By direction and site.
std::map<std::pair<bool, v1::Site>, PatchAgreement> AgreementOf(
    absl::Span<const PatchedPrompt> prompts);

// nullopt with fewer than 2 numbers or where those of one side are all equal.
// REQUIRES: as many of each.
std::optional<double> Pearson(absl::Span<const double> a,
                              absl::Span<const double> b);
// The same of ranks; equal numbers share their mean rank.
std::optional<double> Spearman(absl::Span<const double> a,
                               absl::Span<const double> b);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_PATCH_MAP_H_
