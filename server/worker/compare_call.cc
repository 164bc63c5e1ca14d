#include "server/worker/compare_call.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_vector_norm.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/worker/interp_messages.h"
#include "src/base/status_macros.h"
#include "src/compute/interp/logit_lens.h"

namespace dissonance {
namespace {

constexpr size_t kMaxCompared = 32;

constexpr int kMaxTop = 1000;

// What one variant says at some positions, [positions, vocab] each.
struct Outputs {
  at::Tensor logprobs;
  at::Tensor lens_logprobs;  // [blocks * positions, vocab]
};

Outputs OutputsOf(const Model& model, const CapturedRows& rows,
                  bool reproducible) {
  const std::vector<at::Tensor> residual(rows.values.begin(),
                                         rows.values.end() - 1);
  return {.logprobs = LogProbs(rows.values.back()),
          .lens_logprobs =
              LogProbs(LensLogits(model, at::cat(residual), reproducible))};
}

std::vector<double> Values(const at::Tensor& x) {
  const at::Tensor wide = x.to(at::kCPU, at::kDouble).contiguous();
  const double* data = wide.const_data_ptr<double>();
  return {data, data + wide.numel()};
}

std::vector<double> Lengths(const at::Tensor& rows) {
  return Values(at::linalg_vector_norm(rows, 2, at::IntArrayRef{-1}));
}

// How far rows x [positions, d_model] are from `first`, for each position.
std::vector<v1::ResidualDifference> DifferencesOf(const at::Tensor& x,
                                                  const at::Tensor& first) {
  const at::Tensor a = x.to(at::kDouble);
  const at::Tensor b = first.to(at::kDouble);
  const std::vector<double> distance = Lengths(a - b);
  const std::vector<double> own = Lengths(a);
  const std::vector<double> others = Lengths(b);
  const std::vector<double> products = Values((a * b).sum(-1));
  std::vector<v1::ResidualDifference> out(distance.size());
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].set_distance(distance[i]);
    if (others[i] == 0.0) continue;
    out[i].set_relative_distance(distance[i] / others[i]);
    if (own[i] != 0.0) out[i].set_cosine(products[i] / (own[i] * others[i]));
  }
  return out;
}

}  // namespace

absl::StatusOr<ComparePlan> MakeComparePlan(
    const v1::CompareVariantsRequest& request, ModelRegistry& registry,
    const RequestLimits& limits, const Cancelled& cancelled) {
  ComparePlan plan;
  plan.request = std::make_shared<const v1::CompareVariantsRequest>(request);
  if (request.top_k() < 0 || request.top_k() > kMaxTop) {
    return absl::InvalidArgumentError(absl::StrCat(
        "top_k: expected 0 to ", kMaxTop, ", found ", request.top_k()));
  }
  ASSIGN_OR_RETURN(plan.variants,
                   ResolveVariants(request.variants(), registry));
  // A position of all variants is read at once.
  if (plan.variants.size() < 2 || plan.variants.size() > kMaxCompared) {
    return absl::InvalidArgumentError(absl::StrCat("variants: expected 2 to ",
                                                   kMaxCompared, ", found ",
                                                   plan.variants.size()));
  }
  for (size_t v = 1; v < plan.variants.size(); ++v) {
    if (plan.variants[v].model.model == plan.variants[0].model.model) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "variants[", v, "]: ", plan.variants[v].model.name,
        " is another model than ", plan.variants[0].model.name,
        " of variants[0]; only variants of one model can be compared"));
  }
  const ResidentModel& model = plan.variants.front().model;
  CaptureSpec capture;
  for (int64_t b = 0; b < model.model->spec().block_count(); ++b) {
    capture.places.push_back({Site::kResidPost, b});
  }
  capture.places.push_back({Site::kLogits, -1});
  ASSIGN_OR_RETURN(capture.positions,
                   PositionsOf(request.positions(), Positions::Kind::kPrompt));
  ASSIGN_OR_RETURN(plan.capture,
                   PrepareCapture(*model.model, std::move(capture)));
  ASSIGN_OR_RETURN(plan.prompts,
                   EncodePrompts(model, request.inputs(), limits, cancelled));
  RETURN_IF_ERROR(
      CheckSize(std::vector<Prompts>(plan.variants.size(), plan.prompts),
                /*sample_count=*/1, /*new_count=*/0, limits));
  RETURN_IF_ERROR(
      CheckInPrompts(plan.capture->positions, *plan.prompts, request.inputs()));
  return plan;
}

CompareCall::CompareCall(Engine& engine, ComparePlan plan, Priority priority)
    : ReadingCall(
          engine, priority, plan.request->inputs_size(),
          kReadingRows / static_cast<int64_t>(plan.capture->places.size() *
                                              plan.variants.size())),
      plan_(std::move(plan)) {}

std::vector<ReadingMember> CompareCall::MembersOf(int64_t unit) const {
  std::vector<ReadingMember> members;
  for (const ResolvedVariant& variant : plan_.variants) {
    members.push_back({.variant = variant.ForEngine(),
                       .tokens = TokensOf(unit),
                       .capture = plan_.capture});
  }
  return members;
}

void CompareCall::Read(int64_t unit, const std::vector<CapturedRows>& rows) {
  const Model& model = *plan_.variants.front().model.model;
  const std::vector<int32_t>& tokens = TokensOf(unit);
  const std::vector<int64_t>& positions = rows.front().positions;
  const auto count = static_cast<int64_t>(positions.size());
  const bool reproducible = engine_options().reproducible;
  std::vector<v1::CompareVariantsResponse> responses(positions.size());
  for (size_t p = 0; p < positions.size(); ++p) {
    FillLabel(static_cast<int>(unit), positions[p], tokens,
              *responses[p].mutable_position()->mutable_row());
  }
  const Outputs first = OutputsOf(model, rows.front(), reproducible);
  for (size_t v = 0; v < rows.size(); ++v) {
    const Outputs own =
        v == 0 ? first : OutputsOf(model, rows[v], reproducible);
    const std::vector<double> kl = KlDivergence(own.logprobs, first.logprobs);
    const std::vector<double> reverse =
        KlDivergence(first.logprobs, own.logprobs);
    const std::vector<double> lens_kl =
        KlDivergence(own.lens_logprobs, first.lens_logprobs);
    const std::vector<LensReading> read =
        ReadLogits(rows[v].values.back(), {}, plan_.request->top_k());
    for (size_t p = 0; p < positions.size(); ++p) {
      v1::VariantReading& out =
          *responses[p].mutable_position()->add_readings();
      out.set_variant_index(static_cast<int32_t>(v));
      const auto next = static_cast<size_t>(positions[p]) + 1;
      if (next < tokens.size()) {
        out.set_next_token_logprob(
            own.logprobs[static_cast<int64_t>(p)][tokens[next]].item<double>());
      }
      out.set_kl(v == 0 ? 0.0 : kl[p]);
      out.set_reverse_kl(v == 0 ? 0.0 : reverse[p]);
      for (const auto& [token, logprob] : read[p].top) {
        v1::TokenLogprob& top = *out.add_top();
        top.set_token_id(token);
        top.set_logprob(logprob);
      }
    }
    if (v == 0) continue;
    for (int64_t block = 0; block < model.spec().block_count(); ++block) {
      const auto b = static_cast<size_t>(block);
      std::vector<v1::ResidualDifference> differences =
          DifferencesOf(rows[v].values[b], rows.front().values[b]);
      for (size_t p = 0; p < positions.size(); ++p) {
        v1::ResidualDifference& own_difference = differences[p];
        own_difference.set_block(static_cast<int32_t>(block));
        own_difference.set_lens_kl(lens_kl[b * static_cast<size_t>(count) + p]);
        *responses[p]
             .mutable_position()
             ->mutable_readings(static_cast<int>(v))
             ->add_residual() = own_difference;
      }
    }
  }
  for (v1::CompareVariantsResponse& response : responses) {
    SendOf(unit, std::move(response));
  }
}

v1::CompareVariantsResponse CompareCall::Summary() const {
  v1::CompareVariantsResponse response;
  const std::string digest = MessageDigest(*plan_.request);
  for (const ResolvedVariant& variant : plan_.variants) {
    *response.mutable_summary()->add_provenance() =
        ProvenanceOf(variant, digest, 0, engine_options());
  }
  return response;
}

}  // namespace dissonance
