#include "src/lab/interp/network_spec.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

constexpr size_t kDataLimitBytes = size_t{16} << 20;
constexpr size_t kDataArtifactLimitBytes = size_t{256} << 20;
constexpr size_t kDataNameLimitBytes = 255;

using Variants = google::protobuf::RepeatedPtrField<v1::Variant>;

}  // namespace

absl::Status SpecFields::Bad(absl::string_view field,
                             absl::string_view what) const {
  return absl::InvalidArgumentError(
      absl::StrCat(kind_, ".", field, ": ", what));
}

absl::Status SpecFields::CheckVariants(const Variants& variants) const {
  if (variants.empty() || variants.size() > kMaxVariants) {
    return Bad("variants", absl::StrCat("expected 1 to ", kMaxVariants,
                                        ", found ", variants.size()));
  }
  for (int i = 1; i < variants.size(); ++i) {
    if (variants[i].model() == variants[0].model()) continue;
    return Bad(
        absl::StrCat("variants[", i, "].model"),
        absl::StrCat("expected ", variants[0].model(),
                     " as in the first one, found ", variants[i].model()));
  }
  return absl::OkStatus();
}

absl::Status SpecFields::CheckLoaded(const Variants& variants,
                                     ComputeClient& compute) const {
  RETURN_IF_ERROR(CheckVariants(variants));
  for (int i = 0; i < variants.size(); ++i) {
    RETURN_IF_ERROR(Annotate(compute.CheckVariant(variants[i]),
                             absl::StrCat(kind_, ".variants[", i, "]")));
  }
  return absl::OkStatus();
}

absl::Status SpecFields::CheckData(const PromptData& data) const {
  const size_t limit =
      data.is_artifact ? kDataArtifactLimitBytes : kDataLimitBytes;
  if (data.bytes.size() > limit) {
    return Bad("data", absl::StrCat(data.bytes.size(), " bytes; at most ",
                                    limit, ", so split the file"));
  }
  if (data.name.size() > kDataNameLimitBytes) {
    return Bad("data_name", absl::StrCat(data.name.size(), " bytes; at most ",
                                         kDataNameLimitBytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<PromptSet> SpecFields::ReadPrompts(
    const PromptData& data) const {
  RETURN_IF_ERROR(CheckData(data));
  return ParsePrompts(data.bytes, data.name.empty() ? "data" : data.name);
}

absl::StatusOr<std::vector<v1::SiteRef>> SpecFields::Places(
    const google::protobuf::RepeatedField<int>& sites,
    const google::protobuf::RepeatedField<int32_t>& blocks, int32_t block_count,
    bool any_site) const {
  std::set<int32_t> all_blocks;
  for (int i = 0; i < blocks.size(); ++i) {
    const std::string field = absl::StrCat("blocks[", i, "]");
    if (blocks[i] < 0 || blocks[i] >= block_count) {
      return Bad(field, absl::StrCat("the model has blocks 0 to ",
                                     block_count - 1, ", not ", blocks[i]));
    }
    if (!all_blocks.insert(blocks[i]).second) {
      return Bad(field, absl::StrCat(blocks[i], " is given twice"));
    }
  }
  for (int32_t b = 0; blocks.empty() && b < block_count; ++b) {
    all_blocks.insert(b);
  }
  std::set<v1::Site> all_sites;
  for (int i = 0; i < sites.size(); ++i) {
    const std::string field = absl::StrCat("sites[", i, "]");
    if (sites[i] == v1::SITE_UNSPECIFIED || !v1::Site_IsValid(sites[i])) {
      return Bad(field, absl::StrCat("there is no site ", sites[i]));
    }
    const auto site = static_cast<v1::Site>(sites[i]);
    if (!any_site && (site == v1::SITE_PATTERN || site == v1::SITE_LOGITS)) {
      return Bad(field, absl::StrCat(SiteName(site),
                                     " is not possible here; it is one of the "
                                     "stream, or of heads or the MLP"));
    }
    if (!all_sites.insert(site).second) {
      return Bad(field, absl::StrCat(SiteName(site), " is given twice"));
    }
  }
  if (all_sites.empty()) all_sites.insert(v1::SITE_RESID_POST);
  std::vector<v1::SiteRef> places;
  for (const v1::Site site : all_sites) {
    for (const int32_t block : all_blocks) {
      v1::SiteRef& place = places.emplace_back();
      place.set_site(site);
      if (!IsInBlocks(site)) break;
      place.set_block(block);
    }
  }
  return places;
}

std::string VariantName(const v1::Variant& variant) {
  return absl::StrCat(
      variant.adapter().empty() ? variant.model() : variant.adapter(),
      variant.interventions().empty() ? "" : ", steered");
}

DeviceMemory MemoryOf(const Variants& variants, ComputeClient& compute) {
  DeviceMemory memory;
  for (const v1::Variant& variant : variants) {
    memory[variant.model()] = compute.WeightBytes(variant.model());
  }
  return memory;
}

}  // namespace dissonance
