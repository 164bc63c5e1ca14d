#include "src/lab/interp/ask_networks.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"

namespace dissonance {

absl::StatusOr<std::vector<v1::Provenance>> AskNetworks(
    InterpClient& compute, absl::Span<const v1::Variant> variants,
    const v1::Input& input, const CallOptions& call) {
  v1::StreamActivationsRequest request;
  for (const v1::Variant& variant : variants) {
    *request.add_variants() = variant;
  }
  *request.add_inputs() = input;
  request.mutable_capture()->add_sites(v1::SITE_FINAL_NORM);
  request.mutable_capture()->mutable_positions()->set_set(
      v1::POSITION_SET_LAST_PROMPT);
  std::vector<v1::Provenance> provenance;
  RETURN_IF_ERROR(compute.StreamActivations(
      request, call, [&](const v1::StreamActivationsResponse& message) {
        if (message.has_summary()) {
          provenance.assign(message.summary().provenance().begin(),
                            message.summary().provenance().end());
        }
        return absl::OkStatus();
      }));
  return provenance;
}

std::vector<std::string> VariantLabels(absl::Span<const v1::Variant> variants) {
  std::vector<std::string> labels;
  std::set<std::string> used;
  for (const v1::Variant& variant : variants) {
    const std::string& adapter = variant.adapter();
    std::string label =
        adapter.empty() ? "base" : adapter.substr(adapter.rfind('/') + 1);
    if (!variant.interventions().empty()) label += "-steered";
    std::string free = label;
    for (int number = 2; !used.insert(free).second; ++number) {
      free = absl::StrCat(label, "-", number);
    }
    labels.push_back(std::move(free));
  }
  return labels;
}

}  // namespace dissonance
