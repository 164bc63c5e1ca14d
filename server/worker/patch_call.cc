#include "server/worker/patch_call.h"

#include <ATen/ops/cat.h>

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/worker/grpc_status.h"
#include "server/worker/interp_messages.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

absl::Status CheckPairs(const PatchPlan& plan) {
  for (size_t i = 0; i < plan.target_prompts->size(); ++i) {
    const size_t source = (*plan.source_prompts)[i].tokens.size();
    const size_t target = (*plan.target_prompts)[i].tokens.size();
    if (source == target) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "source_inputs[", i, "] has ", source, " tokens, inputs[", i, "] has ",
        target, "; both need as many, so that positions correspond"));
  }
  return absl::OkStatus();
}

absl::Status ReadPrompts(const v1::PatchRequest& request,
                         const RequestLimits& limits,
                         const Cancelled& cancelled, PatchPlan& plan) {
  ASSIGN_OR_RETURN(
      plan.target_prompts,
      EncodePrompts(plan.target.model, request.inputs(), limits, cancelled));
  plan.source_prompts = plan.target_prompts;
  if (!request.source_inputs().empty()) {
    if (request.source_inputs_size() != request.inputs_size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "source_inputs: expected none or one per input, which are ",
          request.inputs_size(), ", found ", request.source_inputs_size()));
    }
    absl::StatusOr<Prompts> prompts = EncodePrompts(
        plan.source.model, request.source_inputs(), limits, cancelled);
    if (!prompts.ok()) return Annotate(prompts.status(), "source_inputs");
    plan.source_prompts = *std::move(prompts);
  }
  return CheckPairs(plan);
}

std::vector<PatchPlace> PatchesOf(const DecoderSpec& spec,
                                  const std::vector<SitePlace>& places,
                                  bool each_head) {
  std::vector<PatchPlace> patches;
  for (size_t p = 0; p < places.size(); ++p) {
    const int64_t heads = each_head ? SiteHeads(spec, places[p].site) : 0;
    if (heads == 0) patches.push_back({.captured = p});
    for (int64_t head = 0; head < heads; ++head) {
      patches.push_back({.captured = p, .head = head});
    }
  }
  return patches;
}

absl::Status CheckMethod(const PatchPlan& plan) {
  switch (plan.request->method()) {
    case v1::PATCH_METHOD_UNSPECIFIED:
    case v1::PATCH_METHOD_EXACT:
      return absl::OkStatus();
    case v1::PATCH_METHOD_ATTRIBUTION:
      if (plan.target.interventions == nullptr) return absl::OkStatus();
      return absl::InvalidArgumentError(
          "method: attribution has no gradient through target's interventions; "
          "leave them out, or ask for PATCH_METHOD_EXACT");
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("method: ", static_cast<int>(plan.request->method()),
                       " is none that is known here"));
  }
}

absl::Status ReadPlaces(const v1::PatchRequest& request,
                        const RequestLimits& limits, PatchPlan& plan) {
  const Model& model = *plan.target.model.model;
  CaptureSpec capture;
  ASSIGN_OR_RETURN(capture.places,
                   PlacesOf(model, request.sites(), request.blocks()));
  for (const SitePlace& place : capture.places) {
    if (place.site != Site::kPattern && place.site != Site::kLogits) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "sites: ", SiteName(place.site), " can be looked at, not changed"));
  }
  ASSIGN_OR_RETURN(
      capture.positions,
      PositionsOf(request.positions(), Positions::Kind::kLastPrompt));
  RETURN_IF_ERROR(CheckInPrompts(capture.positions, *plan.target_prompts,
                                 request.inputs()));
  plan.places = PatchesOf(model.spec(), capture.places, request.each_head());
  int64_t patches = 0;
  int64_t tokens = 0;
  for (const EncodedPrompt& prompt : *plan.target_prompts) {
    const auto count = static_cast<int64_t>(prompt.tokens.size());
    std::vector<int64_t>& own = plan.positions.emplace_back();
    for (int64_t position = 0; position < count; ++position) {
      if (capture.positions.Contains(position, count)) own.push_back(position);
    }
    const auto added = static_cast<int64_t>(own.size() * plan.places.size());
    patches += added;
    const bool is_exact = request.method() != v1::PATCH_METHOD_ATTRIBUTION;
    tokens += is_exact ? added * count : count;
  }
  if (patches > limits.items) {
    return OverLimit("patches", patches, limits.items, "items");
  }
  if (tokens > limits.tokens) {
    return OverLimit("tokens of all patched prompts", tokens, limits.tokens,
                     "tokens");
  }
  ASSIGN_OR_RETURN(plan.capture, PrepareCapture(model, std::move(capture)));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PatchPlan> MakePatchPlan(const v1::PatchRequest& request,
                                        ModelRegistry& registry,
                                        const RequestLimits& limits,
                                        const Cancelled& cancelled) {
  PatchPlan plan;
  plan.request = std::make_shared<const v1::PatchRequest>(request);
  absl::StatusOr<ResolvedVariant> source =
      ResolveVariant(request.source(), registry);
  if (!source.ok()) return Annotate(source.status(), "source");
  plan.source = *std::move(source);
  absl::StatusOr<ResolvedVariant> target =
      ResolveVariant(request.target(), registry);
  if (!target.ok()) return Annotate(target.status(), "target");
  plan.target = *std::move(target);
  RETURN_IF_ERROR(CheckMethod(plan));
  if (plan.source.model.model != plan.target.model.model) {
    return absl::InvalidArgumentError(absl::StrCat(
        "source: ", plan.source.model.name, " is another model than target's, ",
        plan.target.model.name));
  }
  if (request.candidates_size() != 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "candidates: expected two, found ", request.candidates_size()));
  }
  ASSIGN_OR_RETURN(plan.candidates, CandidateTokens(*plan.target.model.model,
                                                    request.candidates()));
  if (plan.candidates[0] == plan.candidates[1]) {
    return absl::InvalidArgumentError(
        absl::StrCat("candidates: both are token ", plan.candidates[0]));
  }
  RETURN_IF_ERROR(ReadPrompts(request, limits, cancelled, plan));
  RETURN_IF_ERROR(ReadPlaces(request, limits, plan));
  return plan;
}

// Collects the source's rows of one input.
class PatchCall::Source final : public GenerateListener {
 public:
  // Borrows the call, which lives until its members have left.
  Source(PatchCall& call, size_t input)
      : call_(call), input_(input), steps_(call.plan_.capture->places.size()) {}

  bool OnToken(GeneratedToken /*token*/) override { return false; }
  void OnCaptured(CapturedRows rows) override {
    for (size_t p = 0; p < steps_.size(); ++p) {
      steps_[p].push_back(std::move(rows.values[p]));
    }
  }
  void OnEnd(absl::StatusOr<FinishReason> reason) override {
    absl::Status status = reason.status();
    if (status.ok()) {
      status = CatchTorch("patches", [&] {
        std::vector<at::Tensor> rows;
        for (const std::vector<at::Tensor>& own : steps_) {
          rows.push_back(at::cat(own));
        }
        call_.AddPatches(input_, rows);
      });
    }
    if (!status.ok()) {
      call_.group_.Fail(Annotate(status, call_.LabelOf(input_)));
    }
    call_.group_.Leave();
  }

 private:
  PatchCall& call_;
  const size_t input_;
  std::vector<std::vector<at::Tensor>> steps_;  // of each place
};

PatchCall::PatchCall(Engine& engine, PatchPlan plan, Priority priority,
                     v1::PatchResponse& response)
    : engine_(engine),
      plan_(std::move(plan)),
      priority_(priority),
      response_(response),
      deltas_(plan_.positions.size()),
      group_(engine, [this](const absl::Status& status) { Conclude(status); }) {
}

void PatchCall::Start() {
  for (size_t i = 0; i < deltas_.size() && !group_.has_failed(); ++i) {
    deltas_[i].patched.resize(plan_.places.size() * plan_.positions[i].size());
    group_.Add([this, i] {
      return SubmitScore(plan_.source.ForEngine(),
                         (*plan_.source_prompts)[i].tokens, i,
                         deltas_[i].source);
    });
    group_.Add([this, i] {
      return SubmitScore(plan_.target.ForEngine(),
                         (*plan_.target_prompts)[i].tokens, i,
                         deltas_[i].target);
    });
    AddSource(i);
  }
  group_.Leave();
}

void PatchCall::AddSource(size_t input) {
  group_.Add([this, input]() -> absl::StatusOr<Numbers> {
    GenerateTask task;
    task.prompt = (*plan_.source_prompts)[input].tokens;
    task.max_new_tokens = 0;
    task.capture = plan_.capture;
    const absl::StatusOr<int64_t> number = engine_.SubmitGenerate(
        plan_.source.ForEngine(), std::move(task),
        std::make_shared<Source>(*this, input), priority_);
    if (!number.ok()) return Annotate(number.status(), LabelOf(input));
    return Numbers{*number};
  });
}

absl::StatusOr<PatchCall::Numbers> PatchCall::SubmitScore(
    const EngineVariant& variant, const std::vector<int32_t>& tokens,
    size_t input, double& delta) {
  const absl::StatusOr<int64_t> number = engine_.SubmitScore(
      variant,
      {.prompt = tokens,
       .continuations = {{plan_.candidates[0]}, {plan_.candidates[1]}}},
      [this, input, &delta](const absl::StatusOr<ScoreResult>& result) {
        if (result.ok()) {
          // What normalises both is the same.
          delta = result->continuations[0].logprob -
                  result->continuations[1].logprob;
        } else {
          group_.Fail(Annotate(result.status(), LabelOf(input)));
        }
        group_.Leave();
      },
      priority_);
  if (!number.ok()) return Annotate(number.status(), LabelOf(input));
  return Numbers{*number};
}

absl::StatusOr<EngineVariant> PatchCall::Patched(const PatchPlace& place,
                                                 int64_t position,
                                                 const at::Tensor& row) const {
  const SitePlace& where = plan_.capture->places[place.captured];
  Intervention patch;
  patch.site = where.site;
  patch.block = where.block;
  patch.positions = Positions::Indices({position});
  patch.op = Intervention::Op::kSet;
  Interventions patches;
  if (row.dim() == 1) {
    patch.vector = row;
    patches.push_back(patch);
  } else {
    for (int64_t head = 0; head < row.size(0); ++head) {
      if (place.head.value_or(head) != head) continue;
      patch.head = head;
      patch.vector = row[head];
      patches.push_back(patch);
    }
  }
  ASSIGN_OR_RETURN(
      const std::shared_ptr<const Interventions> ready,
      PrepareInterventions(*plan_.target.model.model, std::move(patches)));
  EngineVariant variant = plan_.target.ForEngine();
  // The target's own changes come first, the patch has the last word.
  auto all = std::make_shared<Interventions>();
  if (variant.interventions != nullptr) *all = *variant.interventions;
  all->insert(all->end(), ready->begin(), ready->end());
  variant.interventions = std::move(all);
  return variant;
}

void PatchCall::AddAttribution(size_t input,
                               const std::vector<at::Tensor>& rows) {
  AttributionTask task{.model = plan_.target.model.model,
                       .adapter = plan_.target.adapter,
                       .tokens = (*plan_.target_prompts)[input].tokens,
                       .candidates = {plan_.candidates[0], plan_.candidates[1]},
                       .captured = plan_.capture->places,
                       .rows = rows,
                       .positions = plan_.positions[input],
                       .patches = plan_.places};
  group_.Add([this, input, own = std::move(task)]() -> absl::StatusOr<Numbers> {
    RETURN_IF_ERROR(engine_.SubmitWork(std::make_shared<AttributionWork>(
        own, [this] { return group_.has_failed(); },
        [this, input](absl::StatusOr<std::vector<double>> changes) {
          if (changes.ok()) {
            deltas_[input].patched = *std::move(changes);
          } else {
            group_.Fail(Annotate(changes.status(), LabelOf(input)));
          }
          group_.Leave();
        })));
    return Numbers();
  });
}

void PatchCall::AddPatches(size_t input, const std::vector<at::Tensor>& rows) {
  if (is_attribution()) return AddAttribution(input, rows);
  const size_t position_count = plan_.positions[input].size();
  for (size_t p = 0; p < plan_.places.size(); ++p) {
    for (size_t i = 0; i < position_count; ++i) {
      group_.Add([this, input, p, i, own = rows[plan_.places[p].captured],
                  to = p * position_count + i] {
        return SubmitPatch(input, p, i, own[static_cast<int64_t>(i)],
                           deltas_[input].patched[to]);
      });
    }
  }
}

absl::StatusOr<PatchCall::Numbers> PatchCall::SubmitPatch(size_t input,
                                                          size_t place,
                                                          size_t position,
                                                          const at::Tensor& row,
                                                          double& delta) {
  absl::StatusOr<EngineVariant> variant = absl::UnknownError("not made");
  RETURN_IF_ERROR(CatchTorch("patch", [&] {
    variant =
        Patched(plan_.places[place], plan_.positions[input][position], row);
  }));
  if (!variant.ok()) return Annotate(variant.status(), LabelOf(input));
  return SubmitScore(*variant, (*plan_.target_prompts)[input].tokens, input,
                     delta);
}

void PatchCall::OnCancel() {
  group_.Fail(
      absl::CancelledError("the client went away or its deadline passed"));
}

void PatchCall::Conclude(const absl::Status& status) {
  if (status.ok()) FillResponse();
  // The call may be deleted by another thread from here on.
  Finish(ToGrpc(status));
}

void PatchCall::FillResponse() {
  for (size_t i = 0; i < deltas_.size(); ++i) {
    const Deltas& own = deltas_[i];
    size_t next = 0;
    for (const PatchPlace& place : plan_.places) {
      for (const int64_t position : plan_.positions[i]) {
        const double patched = own.patched[next++];
        const double after = is_attribution() ? own.target + patched : patched;
        v1::PatchResult& result = *response_.add_results();
        result.set_input_index(static_cast<int32_t>(i));
        *result.mutable_place() =
            ToMessage(plan_.capture->places[place.captured]);
        if (place.head.has_value()) {
          result.set_head(static_cast<int32_t>(*place.head));
        }
        result.set_position(static_cast<int32_t>(position));
        result.set_delta_before(own.target);
        result.set_delta_after(after);
        result.set_pair_prob_before(Sigmoid(own.target));
        result.set_pair_prob_after(Sigmoid(after));
        result.set_flip((own.target > 0) != (after > 0));
        result.set_delta_source(own.source);
      }
    }
  }
  const std::string digest = MessageDigest(*plan_.request);
  for (const ResolvedVariant* variant : {&plan_.source, &plan_.target}) {
    *response_.add_provenance() =
        ProvenanceOf(*variant, digest, 0, engine_.options());
  }
}

}  // namespace dissonance
