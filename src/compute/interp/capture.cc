#include "src/compute/interp/capture.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"

namespace dissonance {

absl::StatusOr<std::shared_ptr<const CaptureSpec>> PrepareCapture(
    const Model& model, CaptureSpec capture) {
  if (capture.places.empty()) {
    return absl::InvalidArgumentError("there is no place to capture");
  }
  RETURN_IF_ERROR(CheckPositions(capture.positions));
  RETURN_IF_ERROR(SortIndices(capture.positions).status());
  std::set<SitePlace> seen;
  for (SitePlace& place : capture.places) {
    RETURN_IF_ERROR(CheckSite(model.spec(), place.site, place.block));
    if (IsBehindBlocks(place.site)) place.block = -1;
    if (!seen.insert(place).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          SiteName(place.site),
          place.block < 0 ? "" : absl::StrCat(" of block ", place.block),
          " is asked for twice"));
    }
  }
  return std::make_shared<const CaptureSpec>(std::move(capture));
}

int64_t LatestEntry(const DecoderSpec& spec, const CaptureSpec& capture) {
  int64_t latest = spec.block_count() - 1;
  for (const SitePlace& place : capture.places) {
    latest = std::min(latest, LatestEntry(spec, place.site, place.block));
  }
  return latest;
}

int64_t CaptureRowBytes(const Model& model, const CaptureSpec& capture,
                        int64_t tokens) {
  int64_t components = 0;
  for (const SitePlace& place : capture.places) {
    const int64_t heads = SiteHeads(model.spec(), place.site);
    const int64_t width = place.site == Site::kPattern
                              ? tokens
                              : SiteWidth(model.spec(), place.site);
    components += std::max<int64_t>(heads, 1) * width;
  }
  return components *
         static_cast<int64_t>(model.weights().embed.element_size());
}

}  // namespace dissonance
