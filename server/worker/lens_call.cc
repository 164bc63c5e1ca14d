#include "server/worker/lens_call.h"

#include <ATen/ops/cat.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/worker/interp_messages.h"
#include "src/base/status_macros.h"
#include "src/compute/interp/logit_lens.h"

namespace dissonance {
namespace {

constexpr int kMaxTop = 1000;

// The layers from first to last, then the model's own output.
absl::StatusOr<std::shared_ptr<const CaptureSpec>> LayersOf(
    const Model& model, const v1::LogitLensRequest& request) {
  auto sites = request.sites();
  if (sites.empty()) sites.Add(v1::SITE_RESID_POST);
  CaptureSpec capture;
  ASSIGN_OR_RETURN(capture.places, PlacesOf(model, sites, request.blocks()));
  for (const SitePlace& place : capture.places) {
    if (!IsBehindBlocks(place.site) &&
        SiteHeads(model.spec(), place.site) == 0 &&
        place.site != Site::kMlpHidden) {
      continue;
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "sites: the lens reads rows of the residual stream's width "
        "(resid_pre, resid_mid, resid_post, attn_out, mlp_out), not ",
        SiteName(place.site)));
  }
  std::stable_sort(capture.places.begin(), capture.places.end(),
                   [](const SitePlace& a, const SitePlace& b) {
                     return std::pair(a.block, a.site) <
                            std::pair(b.block, b.site);
                   });
  capture.places.push_back({Site::kLogits, -1});
  ASSIGN_OR_RETURN(
      capture.positions,
      PositionsOf(request.positions(), Positions::Kind::kLastPrompt));
  return PrepareCapture(model, std::move(capture));
}

void FillLayer(const v1::LogitLensRequest& request, const LensReading& reading,
               v1::LensLayer& layer) {
  for (int c = 0; c < request.candidates_size(); ++c) {
    const TokenReading& own = reading.tokens[static_cast<size_t>(c)];
    v1::CandidateReading& out = *layer.add_candidates();
    out.set_name(request.candidates(c).name());
    out.set_token_id(request.candidates(c).token_id());
    out.set_logit(own.logit);
    out.set_logprob(own.logprob);
    out.set_prob(std::exp(own.logprob));
    out.set_rank(static_cast<int32_t>(own.rank));
  }
  if (reading.tokens.size() >= 2) {
    layer.set_margin(reading.tokens[0].logit - reading.tokens[1].logit);
  }
  for (const auto& [token, logprob] : reading.top) {
    v1::TokenLogprob& top = *layer.add_top();
    top.set_token_id(token);
    top.set_logprob(logprob);
  }
}

// The block from which on the margin keeps the sign of the model's output, at
// the last of the sites; behind the last block if only the output itself has
// it.
void SetBreakingBlock(int64_t block_count, v1::LensPosition& position) {
  const auto& layers = position.layers();
  if (!layers.rbegin()->has_margin()) return;
  const bool sign = layers.rbegin()->margin() > 0;
  auto block = static_cast<int32_t>(block_count);
  for (auto layer = layers.rbegin() + 1; layer != layers.rend(); ++layer) {
    const bool is_same_site =
        layer->place().site() == (layers.rbegin() + 1)->place().site();
    if (!is_same_site || (layer->margin() > 0) != sign) break;
    block = layer->place().block();
  }
  position.set_breaking_block(block);
}

}  // namespace

absl::StatusOr<LensPlan> MakeLensPlan(const v1::LogitLensRequest& request,
                                      ModelRegistry& registry,
                                      const RequestLimits& limits,
                                      const Cancelled& cancelled) {
  LensPlan plan;
  plan.request = std::make_shared<const v1::LogitLensRequest>(request);
  if (request.top_k() < 0 || request.top_k() > kMaxTop) {
    return absl::InvalidArgumentError(absl::StrCat(
        "top_k: expected 0 to ", kMaxTop, ", found ", request.top_k()));
  }
  ASSIGN_OR_RETURN(plan.variants,
                   ResolveVariants(request.variants(), registry));
  for (const ResolvedVariant& variant : plan.variants) {
    const Model& model = *variant.model.model;
    ASSIGN_OR_RETURN(std::shared_ptr<const CaptureSpec> layers,
                     LayersOf(model, request));
    plan.captures.push_back(std::move(layers));
    ASSIGN_OR_RETURN(plan.candidates,
                     CandidateTokens(model, request.candidates()));
  }
  ASSIGN_OR_RETURN(
      plan.prompts,
      EncodeForVariants(plan.variants, request.inputs(), limits, cancelled));
  RETURN_IF_ERROR(
      CheckSize(plan.prompts, /*sample_count=*/1, /*new_count=*/0, limits));
  for (size_t v = 0; v < plan.variants.size(); ++v) {
    RETURN_IF_ERROR(CheckInPrompts(plan.captures[v]->positions,
                                   *plan.prompts[v], request.inputs()));
  }
  return plan;
}

LensCall::LensCall(Engine& engine, LensPlan plan, Priority priority)
    : ReadingCall(engine, priority, plan.unit_count(),
                  kReadingRows / plan.most_layers()),
      plan_(std::move(plan)) {}

std::vector<ReadingMember> LensCall::MembersOf(int64_t unit) const {
  const size_t variant = VariantOf(unit);
  return {{.variant = plan_.variants[variant].ForEngine(),
           .tokens = TokensOf(unit),
           .capture = plan_.captures[variant]}};
}

void LensCall::Read(int64_t unit, const std::vector<CapturedRows>& rows) {
  const size_t variant = VariantOf(unit);
  const Model& model = *plan_.variants[variant].model.model;
  const CapturedRows& own = rows.front();
  const size_t positions = own.positions.size();
  // Layer by layer: [layers * positions, d_model].
  const at::Tensor hidden = at::cat(
      std::vector<at::Tensor>(own.values.begin(), own.values.end() - 1));
  const int64_t top_k = plan_.request->top_k();
  std::vector<LensReading> readings =
      ReadLogits(LensLogits(model, hidden, engine_options().reproducible),
                 plan_.candidates, top_k);
  for (LensReading& output :
       ReadLogits(own.values.back(), plan_.candidates, top_k)) {
    readings.push_back(std::move(output));
  }
  const std::vector<SitePlace>& places = plan_.captures[variant]->places;
  for (size_t p = 0; p < positions; ++p) {
    v1::LogitLensResponse response;
    v1::LensPosition& out = *response.mutable_position();
    out.set_variant_index(static_cast<int32_t>(variant));
    FillLabel(InputOf(unit), own.positions[p], TokensOf(unit),
              *out.mutable_row());
    for (size_t l = 0; l < places.size(); ++l) {
      v1::LensLayer& layer = *out.add_layers();
      *layer.mutable_place() = ToMessage(
          l + 1 == places.size() ? SitePlace{Site::kFinalNorm, -1} : places[l]);
      FillLayer(*plan_.request, readings[l * positions + p], layer);
    }
    SetBreakingBlock(model.spec().block_count(), out);
    SendOf(unit, std::move(response));
  }
}

v1::LogitLensResponse LensCall::Summary() const {
  v1::LogitLensResponse response;
  const std::string digest = MessageDigest(*plan_.request);
  for (const ResolvedVariant& variant : plan_.variants) {
    *response.mutable_summary()->add_provenance() =
        ProvenanceOf(variant, digest, 0, engine_options());
  }
  return response;
}

}  // namespace dissonance
