// Sites, positions, interventions, captures and tensors between API messages
// and what computes. Thread safe. Errors name the field.
#ifndef DISSONANCE_SERVER_WORKER_INTERP_MESSAGES_H_
#define DISSONANCE_SERVER_WORKER_INTERP_MESSAGES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dissonance/v1/common.pb.h"
#include "dissonance/v1/interpretability.pb.h"
#include "google/protobuf/repeated_field.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "server/worker/prompts.h"
#include "src/compute/interp/capture.h"
#include "src/compute/interp/intervention.h"
#include "src/compute/model/model.h"

namespace dissonance {

// INVALID_ARGUMENT if nothing, or something unknown, is chosen.
absl::StatusOr<Site> SiteOf(v1::Site site);
v1::SiteRef ToMessage(const SitePlace& place);

// Unset positions are `otherwise`.
absl::StatusOr<Positions> PositionsOf(const v1::Positions& positions,
                                      Positions::Kind otherwise);

// The network's places at these sites and blocks, by site, then block; no
// block: all. Sites behind the blocks come once. INVALID_ARGUMENT for no site
// or what CheckSite says.
absl::StatusOr<std::vector<SitePlace>> PlacesOf(
    const Model& model, const google::protobuf::RepeatedField<int>& sites,
    const google::protobuf::RepeatedField<int32_t>& blocks);

// The same for one place.
absl::StatusOr<SitePlace> PlaceOf(const Model& model, const v1::SiteRef& ref);

// Its numbers. INVALID_ARGUMENT for a name: whoever forwards to this worker
// puts numbers in its place.
absl::StatusOr<at::Tensor> VectorOf(const v1::VectorRef& ref);

// What PrepareCapture makes of it.
absl::StatusOr<std::shared_ptr<const CaptureSpec>> CaptureOf(
    const Model& model, const v1::CaptureSpec& capture);

// What PrepareInterventions makes of them, one for each block of each message.
absl::StatusOr<std::shared_ptr<const Interventions>> InterventionsOf(
    const Model& model,
    const google::protobuf::RepeatedPtrField<v1::Intervention>& messages);

// The candidates' tokens. INVALID_ARGUMENT for one that is not in the
// vocabulary.
absl::StatusOr<std::vector<int32_t>> CandidateTokens(
    const Model& model,
    const google::protobuf::RepeatedPtrField<v1::Candidate>& candidates);

// INVALID_ARGUMENT if a listed position, or a range's beginning, is behind a
// prompt's end, or if only generated positions are chosen.
absl::Status CheckInPrompts(const Positions& positions,
                            const std::vector<EncodedPrompt>& prompts,
                            const Inputs& inputs);

// Labels a prompt's row.
void FillLabel(int input, int64_t position, const std::vector<int32_t>& tokens,
               v1::RowLabel& label);

// INVALID_ARGUMENT if the bytes do not fit type and shape.
absl::StatusOr<at::Tensor> TensorOf(const v1::Tensor& message);

// Writes a tensor's values as `dtype`; copies once. Throws c10::Error as torch
// does.
void FillTensor(const at::Tensor& tensor, at::ScalarType dtype,
                v1::Tensor& message);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_INTERP_MESSAGES_H_
