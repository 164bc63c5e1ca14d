// Checks that the specs of several kinds share. Messages begin with the field,
// as in "train_probes.blocks[1]: ...". Pure functions; thread safe.
//
//   const SpecFields fields("train_probes");
//   RETURN_IF_ERROR(fields.CheckVariants(spec.variants()));
//   ASSIGN_OR_RETURN(PromptSet set, fields.ReadPrompts(PromptDataOf(spec)));
//   ASSIGN_OR_RETURN(auto places, fields.Places(spec.sites(), spec.blocks(),
//                                               model.block_count()));
#ifndef DISSONANCE_LAB_INTERP_NETWORK_SPEC_H_
#define DISSONANCE_LAB_INTERP_NETWORK_SPEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/common.pb.h"
#include "google/protobuf/repeated_field.h"
#include "src/lab/eval/compute_client.h"
#include "src/lab/interp/prompt_set.h"
#include "src/lab/jobs/scheduler.h"

namespace dissonance {

inline constexpr int kMaxVariants = 16;

// What a spec says of its rows. Refers to the spec.
struct PromptData {
  absl::string_view bytes;
  absl::string_view name;
  bool is_artifact = false;
};

template <typename Spec>
PromptData PromptDataOf(const Spec& spec) {
  return {spec.data(), spec.data_name(), !spec.data_artifact().empty()};
}

class SpecFields {
 public:
  // `kind` is the spec's field in JobSpec.
  explicit SpecFields(std::string kind) : kind_(std::move(kind)) {}

  // INVALID_ARGUMENT "KIND.FIELD: WHAT".
  absl::Status Bad(absl::string_view field, absl::string_view what) const;

  // One to kMaxVariants of one model.
  absl::Status CheckVariants(
      const google::protobuf::RepeatedPtrField<v1::Variant>& variants) const;

  // CheckVariants, and that all are loaded.
  absl::Status CheckLoaded(
      const google::protobuf::RepeatedPtrField<v1::Variant>& variants,
      ComputeClient& compute) const;

  // At most 16 MiB, or 256 MiB of an artifact; and that its name is short.
  absl::Status CheckData(const PromptData& data) const;

  // CheckData, then ParsePrompts.
  absl::StatusOr<PromptSet> ReadPrompts(const PromptData& data) const;

  // All sites in all blocks, by site and then block, each once; `sites` empty:
  // resid_post; `blocks` empty: all of the model's. INVALID_ARGUMENT for
  // unknown or repeated ones, and for SITE_PATTERN and SITE_LOGITS unless
  // `any_site`.
  absl::StatusOr<std::vector<v1::SiteRef>> Places(
      const google::protobuf::RepeatedField<int>& sites,
      const google::protobuf::RepeatedField<int32_t>& blocks,
      int32_t block_count, bool any_site = false) const;

 private:
  const std::string kind_;
};

// "models/m", "models/m/adapters/a"; with interventions ", steered" behind.
std::string VariantName(const v1::Variant& variant);

// The weights of the models.
DeviceMemory MemoryOf(
    const google::protobuf::RepeatedPtrField<v1::Variant>& variants,
    ComputeClient& compute);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_NETWORK_SPEC_H_
