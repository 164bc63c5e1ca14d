#include "server/worker/score_plan.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/worker/score_items.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr int kMaxSamples = 1000;
constexpr size_t kDigestPrefix = 7;  // "sha256:"

absl::Status CheckShape(const v1::ScoreRequest& request,
                        const RequestLimits& limits) {
  if (request.items().empty()) {
    return absl::InvalidArgumentError("items: expected at least one");
  }
  if (request.items_size() > limits.items) {
    return OverLimit("items", request.items_size(), limits.items, "items");
  }
  if (!request.has_dropout()) return absl::OkStatus();
  const int samples = request.dropout().sample_count();
  if (samples < 1 || samples > kMaxSamples) {
    return absl::InvalidArgumentError(
        absl::StrCat("dropout.sample_count: expected 1 to ", kMaxSamples,
                     ", found ", samples));
  }
  return absl::OkStatus();
}

void FillContinuation(const std::vector<int32_t>& tokens,
                      const ContinuationResult& result,
                      v1::ContinuationScore& out) {
  out.set_logprob(result.logprob);
  out.mutable_token_logprobs()->Assign(result.token_logprobs.begin(),
                                       result.token_logprobs.end());
  out.mutable_token_ids()->Assign(tokens.begin(), tokens.end());
  out.set_is_greedy(result.is_greedy);
}

// `results` are those of the item's groups.
void FillItem(const EncodedItem& item, absl::Span<const ScoreResult> results,
              v1::ItemScore& out) {
  out.set_prompt_token_count(item.prompt_token_count);
  size_t count = 0;
  for (const ContextGroup& group : item.groups) {
    count += group.continuations.size();
  }
  for (size_t i = 0; i < count; ++i) out.add_continuations();
  for (size_t g = 0; g < item.groups.size(); ++g) {
    const ContextGroup& group = item.groups[g];
    for (size_t c = 0; c < group.continuations.size(); ++c) {
      FillContinuation(group.task.continuations[c], results[g].continuations[c],
                       *out.mutable_continuations(group.continuations[c]));
    }
  }
}

}  // namespace

std::vector<ScoreTaskPlace> ScorePlan::Tasks() const {
  std::vector<ScoreTaskPlace> places;
  for (int v = 0; v < static_cast<int>(variants.size()); ++v) {
    for (int i = 0; i < static_cast<int>(variants[v].items->size()); ++i) {
      const int groups =
          static_cast<int>((*variants[v].items)[i].groups.size());
      for (int s = 0; s < variants[v].computed_samples; ++s) {
        for (int g = 0; g < groups; ++g) places.push_back({v, i, s, g});
      }
    }
  }
  return places;
}

std::string ScorePlan::ItemLabel(const ScoreTaskPlace& place) const {
  return dissonance::ItemLabel(place.item, ItemOf(place).id);
}

EngineVariant ScorePlan::VariantOf(const ScoreTaskPlace& place) const {
  const PlannedVariant& variant = variants[place.variant];
  EngineVariant out = variant.network.ForEngine();
  if (has_dropout && out.adapter != nullptr && out.adapter->dropout() > 0.0) {
    Sha256 mixed;
    mixed.UpdateFramed(absl::StrCat(dropout_seed));
    mixed.UpdateFramed(absl::StrCat(place.sample));
    const std::string& id = ItemOf(place).id;
    mixed.UpdateFramed(id.empty() ? absl::StrCat(place.item) : id);
    DropoutKey key;
    // 16 hex digits always fit.
    (void)absl::SimpleHexAtoi(mixed.Finish().substr(kDigestPrefix, 16),
                              &key.value);
    out.dropout = key;
  }
  return out;
}

absl::StatusOr<ScorePlan> MakeScorePlan(const v1::ScoreRequest& request,
                                        ModelRegistry& registry,
                                        const RequestLimits& limits,
                                        const Cancelled& cancelled) {
  RETURN_IF_ERROR(CheckShape(request, limits));
  ScorePlan plan;
  plan.has_dropout = request.has_dropout();
  plan.input_digest = MessageDigest(request);
  ASSIGN_OR_RETURN(std::vector<ResolvedVariant> variants,
                   ResolveVariants(request.variants(), registry));
  if (plan.has_dropout) {
    plan.sample_count = request.dropout().sample_count();
    plan.dropout_seed = request.dropout().seed();
  }
  std::map<const Model*, std::shared_ptr<const EncodedItems>> encoded;
  int64_t tokens = 0;
  for (ResolvedVariant& network : variants) {
    std::shared_ptr<const EncodedItems>& items =
        encoded[network.model.model.get()];
    if (items == nullptr) {
      ASSIGN_OR_RETURN(items,
                       EncodeItems(network.model, request, limits, cancelled));
    }
    const bool is_random = plan.has_dropout && network.adapter != nullptr &&
                           network.adapter->dropout() > 0.0;
    const int samples = is_random ? plan.sample_count : 1;
    for (const EncodedItem& item : *items) {
      // Samples that are equal are copied into the response.
      tokens += item.token_count * samples +
                item.continuation_token_count * (plan.sample_count - samples);
    }
    if (tokens > limits.tokens) {
      return OverLimit("tokens over variants and dropout samples", tokens,
                       limits.tokens, "tokens");
    }
    plan.variants.push_back({.network = std::move(network),
                             .computed_samples = samples,
                             .items = items});
  }
  return plan;
}

v1::ScoreResponse MakeScoreResponse(const ScorePlan& plan,
                                    absl::Span<const ScoreResult> results,
                                    const EngineOptions& engine) {
  v1::ScoreResponse response;
  int64_t computed_tokens = 0;
  size_t next = 0;
  for (int v = 0; v < static_cast<int>(plan.variants.size()); ++v) {
    const PlannedVariant& variant = plan.variants[v];
    for (int i = 0; i < static_cast<int>(variant.items->size()); ++i) {
      const EncodedItem& item = (*variant.items)[i];
      for (int s = 0; s < plan.sample_count; ++s) {
        if (s >= variant.computed_samples) {
          const v1::ItemScore same = *response.scores().rbegin();
          *response.add_scores() = same;
          response.mutable_scores()->rbegin()->set_sample_index(s);
          continue;
        }
        v1::ItemScore& score = *response.add_scores();
        score.set_variant_index(v);
        score.set_item_index(i);
        score.set_sample_index(s);
        const absl::Span<const ScoreResult> own =
            results.subspan(next, item.groups.size());
        next += item.groups.size();
        FillItem(item, own, score);
        for (const ScoreResult& result : own) {
          computed_tokens += result.computed_tokens;
        }
      }
    }
    *response.add_provenance() = ProvenanceOf(
        variant.network, plan.input_digest, plan.dropout_seed, engine);
  }
  response.set_computed_token_count(computed_tokens);
  return response;
}

}  // namespace dissonance
