#include "tests/lab/interp/fake_network.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

constexpr int kBlocks = 2;
constexpr int kWidth = 3;

std::string KeyOf(const v1::Variant& variant) {
  return absl::StrCat(variant.model(), "|", variant.adapter(), "|",
                      variant.interventions_size());
}

v1::Tensor Doubles(const std::vector<double>& values,
                   const std::vector<int64_t>& shape) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DTYPE_FLOAT64);
  tensor.mutable_shape()->Assign(shape.begin(), shape.end());
  tensor.mutable_data()->resize(values.size() * sizeof(double));
  std::memcpy(tensor.mutable_data()->data(), values.data(),
              tensor.data().size());
  return tensor;
}

std::vector<v1::SiteRef> PlacesOf(
    const google::protobuf::RepeatedField<int>& sites,
    const google::protobuf::RepeatedField<int32_t>& blocks) {
  std::vector<v1::SiteRef> places;
  std::vector<int> own(sites.begin(), sites.end());
  if (own.empty()) own.push_back(v1::SITE_RESID_POST);
  for (const int site : own) {
    for (int block = 0; block < kBlocks; ++block) {
      if (!blocks.empty() &&
          std::find(blocks.begin(), blocks.end(), block) == blocks.end()) {
        continue;
      }
      v1::SiteRef& place = places.emplace_back();
      place.set_site(static_cast<v1::Site>(site));
      if (!IsInBlocks(place.site())) break;
      place.set_block(block);
    }
  }
  return places;
}

v1::ProbeResult ProbeAt(const v1::TrainProbesRequest& request, int target,
                        int variant, const v1::SiteRef& place, double c) {
  const v1::ProbeTarget& asked = request.targets(target);
  const v1::ProbeLabels& labels =
      asked.labels(asked.labels_size() > 1 ? variant : 0);
  const std::string key =
      absl::StrCat(asked.name(), KeyOf(request.variants(variant)),
                   PlaceName(place), labels.ShortDebugString(), c);
  v1::ProbeResult probe;
  probe.set_target_index(target);
  probe.set_variant_index(variant);
  *probe.mutable_place() = place;
  probe.set_c(c);
  probe.mutable_auc()->set_mean(1 + FakeLogProb(key) / 20);
  probe.mutable_auc()->set_low(0.25);
  probe.mutable_auc()->set_high(1);
  probe.mutable_accuracy()->set_mean(0.5);
  probe.mutable_accuracy()->add_folds(0.5);
  probe.set_dummy_auc_mean(0.5);
  probe.set_p_value(0.05);
  probe.set_verdict(v1::PROBE_VERDICT_SIGNAL);
  probe.add_class_counts(3);
  probe.add_class_counts(2);
  *probe.mutable_weights()->mutable_weight() = Doubles({1, 2, 3}, {kWidth});
  *probe.mutable_direction() = Doubles({0, 0, FakeLogProb(key)}, {kWidth});
  probe.set_direction_norm(2);
  const bool tells_two = absl::c_all_of(
      labels.classes(), [](const int32_t own) { return own < 2; });
  for (int i = 0; tells_two && i < request.inputs_size(); ++i) {
    probe.add_decisions(labels.classes(i) < 0
                            ? std::numeric_limits<double>::quiet_NaN()
                            : FakeLogProb(absl::StrCat(key, i)));
  }
  return probe;
}

v1::PrincipalComponents ComponentsAt(const v1::TrainProbesRequest& request,
                                     const v1::SiteRef& place) {
  v1::PrincipalComponents components;
  *components.mutable_place() = place;
  // As where the rows have fewer directions than were asked for.
  const int count = place.site() == v1::SITE_FINAL_NORM
                        ? std::min(request.component_count(), 2)
                        : request.component_count();
  std::vector<double> values;
  for (int c = 0; c < count; ++c) components.add_variances(c + 1);
  const int rows = request.variants_size() * request.inputs_size();
  for (int i = 0; i < rows * count; ++i) {
    values.push_back(FakeLogProb(absl::StrCat(PlaceName(place), i)));
  }
  *components.mutable_projections() = Doubles(values, {rows, count});
  return components;
}

}  // namespace

absl::Status FakeNetwork::Spend() {
  if (messages_left < 0) return absl::OkStatus();
  if (messages_left == 0) return absl::UnavailableError("worker lost");
  --messages_left;
  return absl::OkStatus();
}

v1::Provenance FakeNetwork::ProvenanceOf(const v1::Variant& variant) const {
  v1::Provenance provenance;
  provenance.set_model_digest("sha256:model");
  if (!variant.adapter().empty()) {
    provenance.set_adapter_digest(answers.adapter_digest);
  }
  provenance.set_device("cpu");
  provenance.set_dtype(v1::DTYPE_FLOAT32);
  (*provenance.mutable_versions())["libtorch"] = answers.libtorch;
  return provenance;
}

absl::StatusOr<v1::ScoreResponse> FakeNetwork::Score(
    const v1::ScoreRequest& request, const CallOptions& options) {
  RETURN_IF_ERROR(Spend());
  return answers.Score(request, options);
}

absl::StatusOr<v1::Model> FakeNetwork::GetModel(const std::string& name) {
  ASSIGN_OR_RETURN(v1::Model model, answers.GetModel(name));
  model.set_block_count(kBlocks);
  model.set_vocab_size(1000);
  return model;
}

absl::Status FakeNetwork::StreamActivations(
    const v1::StreamActivationsRequest& request, const CallOptions& /*options*/,
    MessageTaker<v1::StreamActivationsResponse> take) {
  captured.push_back(request);
  const std::vector<v1::SiteRef> places =
      PlacesOf(request.capture().sites(), request.capture().blocks());
  v1::StreamActivationsResponse end;
  for (int v = 0; v < request.variants_size(); ++v) {
    *end.mutable_summary()->add_provenance() =
        ProvenanceOf(request.variants(v));
    for (int i = 0; i < request.inputs_size(); ++i) {
      RETURN_IF_ERROR(Spend());
      v1::StreamActivationsResponse message;
      message.mutable_rows()->set_variant_index(v);
      v1::RowLabel& row = *message.mutable_rows()->add_rows();
      row.set_input_index(i);
      row.set_position(request.inputs(i).tokens().ids_size() - 1);
      RETURN_IF_ERROR(take(message));
      for (const v1::SiteRef& place : places) {
        const double first =
            FakeLogProb(absl::StrCat(KeyOf(request.variants(v)),
                                     request.inputs(i).id(), PlaceName(place)));
        v1::StreamActivationsResponse chunk;
        *chunk.mutable_chunk()->mutable_place() = place;
        *chunk.mutable_chunk()->mutable_tensor() =
            Doubles({first, 1, 2}, {1, kWidth});
        RETURN_IF_ERROR(take(chunk));
      }
      v1::StreamActivationsResponse cursor;
      cursor.set_cursor(absl::StrCat(v, "/", i));
      RETURN_IF_ERROR(take(cursor));
    }
  }
  end.mutable_summary()->set_row_count(int64_t{request.variants_size()} *
                                       request.inputs_size());
  return take(end);
}

absl::Status FakeNetwork::LogitLens(const v1::LogitLensRequest& request,
                                    const CallOptions& /*options*/,
                                    MessageTaker<v1::LogitLensResponse> take) {
  read.push_back(request);
  v1::LogitLensResponse end;
  for (int v = 0; v < request.variants_size(); ++v) {
    *end.mutable_summary()->add_provenance() =
        ProvenanceOf(request.variants(v));
    for (int i = 0; i < request.inputs_size(); ++i) {
      RETURN_IF_ERROR(Spend());
      v1::LogitLensResponse message;
      v1::LensPosition& position = *message.mutable_position();
      position.set_variant_index(v);
      position.mutable_row()->set_input_index(i);
      position.mutable_row()->set_position(4);
      std::vector<v1::SiteRef> places =
          PlacesOf(request.sites(), request.blocks());
      places.emplace_back().set_site(v1::SITE_FINAL_NORM);
      for (const v1::SiteRef& place : places) {
        v1::LensLayer& layer = *position.add_layers();
        *layer.mutable_place() = place;
        std::vector<double> logits;
        for (const v1::Candidate& candidate : request.candidates()) {
          v1::CandidateReading& reading = *layer.add_candidates();
          reading.set_name(candidate.name());
          reading.set_token_id(candidate.token_id());
          reading.set_logit(FakeLogProb(
              absl::StrCat(KeyOf(request.variants(v)), request.inputs(i).id(),
                           PlaceName(place), candidate.token_id())));
          reading.set_logprob(reading.logit() - 1);
          logits.push_back(reading.logit());
        }
        if (logits.size() >= 2) layer.set_margin(logits[0] - logits[1]);
        for (int k = 0; k < request.top_k(); ++k) {
          layer.add_top()->set_token_id(7 + k);
        }
      }
      if (request.candidates_size() >= 2) position.set_breaking_block(1);
      RETURN_IF_ERROR(take(message));
    }
  }
  return take(end);
}

absl::StatusOr<v1::PatchResponse> FakeNetwork::Patch(
    const v1::PatchRequest& /*request*/, const CallOptions& /*options*/) {
  return absl::UnimplementedError("not needed here");
}

absl::Status FakeNetwork::TrainProbes(
    const v1::TrainProbesRequest& request, const CallOptions& /*options*/,
    MessageTaker<v1::TrainProbesResponse> take) {
  trained.push_back(request);
  v1::TrainProbesResponse folds;
  for (int t = 0; t < request.targets_size(); ++t) {
    for (int v = 0; v < request.variants_size(); ++v) {
      folds.mutable_folds()->set_target_index(t);
      folds.mutable_folds()->set_variant_index(v);
      folds.mutable_folds()->mutable_fold_of_input()->Resize(
          request.inputs_size(), 1);
      RETURN_IF_ERROR(take(folds));
    }
  }
  std::vector<v1::SiteRef> places = PlacesOf(request.sites(), request.blocks());
  if (!request.activations().empty()) {
    places.assign(1, request.activations(0).places(0).place());
  }
  if (places.size() > most_places) {
    return absl::ResourceExhaustedError("too many places");
  }
  google::protobuf::RepeatedField<double> c_values =
      request.options().c_values();
  if (c_values.empty()) c_values.Add(0.1);
  for (const v1::SiteRef& place : places) {
    RETURN_IF_ERROR(Spend());
    v1::TrainProbesResponse message;
    for (int t = 0; t < request.targets_size(); ++t) {
      for (int v = 0; v < request.variants_size(); ++v) {
        for (const double c : c_values) {
          *message.mutable_result() = ProbeAt(request, t, v, place, c);
          RETURN_IF_ERROR(take(message));
        }
      }
    }
    if (request.component_count() > 0) {
      *message.mutable_components() = ComponentsAt(request, place);
      RETURN_IF_ERROR(take(message));
    }
    message.mutable_progress();
    RETURN_IF_ERROR(take(message));
  }
  v1::TrainProbesResponse end;
  end.mutable_summary();
  for (const v1::Variant& variant : request.variants()) {
    if (request.activations().empty()) {
      *end.mutable_summary()->add_provenance() = ProvenanceOf(variant);
    }
  }
  return take(end);
}

absl::StatusOr<v1::FitDirectionsResponse> FakeNetwork::FitDirections(
    const v1::FitDirectionsRequest& request, const CallOptions& /*options*/) {
  RETURN_IF_ERROR(Spend());
  fitted.push_back(request);
  v1::FitDirectionsResponse response;
  for (const int32_t block : {0, 1}) {
    v1::DirectionVector& vector = *response.add_vectors();
    vector.mutable_place()->set_site(v1::SITE_RESID_POST);
    vector.mutable_place()->set_block(block);
    const float numbers[] = {0.6F, 0.8F};
    vector.mutable_vector()->set_dtype(v1::DTYPE_FLOAT32);
    vector.mutable_vector()->add_shape(2);
    vector.mutable_vector()->set_data(numbers, sizeof(numbers));
    vector.set_norm(2.5);
    vector.set_residual_norm(10);
  }
  for (const v1::Variant& variant : request.variants()) {
    *response.add_provenance() = ProvenanceOf(variant);
  }
  response.add_row_counts(3);
  return response;
}

absl::Status FakeNetwork::Generate(const v1::GenerateRequest& /*request*/,
                                   const CallOptions& /*options*/,
                                   MessageTaker<v1::GenerateResponse>
                                   /*take*/) {
  return absl::UnimplementedError("not needed here");
}

google::protobuf::RepeatedPtrField<v1::Variant> BaseAndAdapter() {
  google::protobuf::RepeatedPtrField<v1::Variant> variants;
  variants.Add()->set_model("models/m");
  v1::Variant& adapter = *variants.Add();
  adapter.set_model("models/m");
  adapter.set_adapter("models/m/adapters/a");
  return variants;
}

int RunThroughLosses(JobKind& kind, const v1::JobSpec& spec,
                     FakeNetwork& network, FakeJob& job) {
  for (int lost = 0;; ++lost) {
    network.messages_left = lost;
    const absl::Status status = kind.Run(spec, job);
    network.messages_left = -1;
    if (!absl::IsUnavailable(status)) {
      return status.ok() ? lost : -1;
    }
  }
}

}  // namespace dissonance
