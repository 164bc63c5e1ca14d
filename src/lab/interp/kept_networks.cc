#include "src/lab/interp/kept_networks.h"

#include "absl/strings/str_cat.h"
#include "src/lab/eval/network_difference.h"

namespace dissonance {

std::string NetworkName(const v1::Variant& variant) {
  return variant.adapter().empty() ? variant.model() : variant.adapter();
}

absl::Status KeptNetworks::Resume(size_t recorded_count) {
  if (recorded_count == 0) return absl::OkStatus();
  provenance_.assign(job_.job().provenance().begin(),
                     job_.job().provenance().end());
  if (provenance_.size() == names_.size()) return absl::OkStatus();
  return absl::DataLossError(
      "results are recorded, but not which weights they come from");
}

absl::Status KeptNetworks::Keep(absl::Span<const v1::Provenance> provenance,
                                size_t recorded_count) {
  if (provenance.size() != names_.size()) {
    return absl::InternalError(absl::StrCat(provenance.size(),
                                            " provenances came back for ",
                                            names_.size(), " variants"));
  }
  if (provenance_.empty()) {
    provenance_.assign(provenance.begin(), provenance.end());
    for (v1::Provenance& each : provenance_) {
      each.set_input_digest(input_digest_);
      each.set_seed(seed_);
    }
    return job_.SetProvenance(provenance_);
  }
  for (size_t i = 0; i < names_.size(); ++i) {
    const std::string changed =
        NetworkDifference(provenance_[i], provenance[i]);
    if (changed.empty()) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        names_[i], " changed after ", recorded_count, " records (", changed,
        "); create a new job rather than mix two networks in one result"));
  }
  return absl::OkStatus();
}

}  // namespace dissonance
