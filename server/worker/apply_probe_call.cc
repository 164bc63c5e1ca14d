#include "server/worker/apply_probe_call.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/worker/grpc_status.h"
#include "server/worker/interp_messages.h"
#include "server/worker/variant_rows.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// Of one answer, which goes out in one message.
constexpr int64_t kMaxProjections = 4'000'000;

absl::Status CheckAnswer(const ApplyProbePlan& plan) {
  int64_t rows = 0;
  for (const EncodedPrompt& prompt : *plan.prompts) {
    const auto count = static_cast<int64_t>(prompt.tokens.size());
    for (int64_t position = 0; position < count; ++position) {
      if (plan.capture->positions.Contains(position, count)) ++rows;
    }
  }
  rows *= static_cast<int64_t>(plan.variants.size());
  const int64_t projections = rows * plan.request->meters_size();
  if (projections <= kMaxProjections) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "meters: ", projections, " projections over variants, inputs and ",
      "positions, the limit of one answer is ", kMaxProjections,
      "; ask for fewer inputs, positions or meters at once"));
}

}  // namespace

absl::StatusOr<ApplyProbePlan> MakeApplyProbePlan(
    const v1::ApplyProbeRequest& request, ModelRegistry& registry,
    const RequestLimits& limits, const Cancelled& cancelled) {
  ApplyProbePlan plan;
  plan.request = std::make_shared<const v1::ApplyProbeRequest>(request);
  ASSIGN_OR_RETURN(plan.variants,
                   ResolveVariantsOfOneModel(request.variants(), registry));
  const ResidentModel& model = plan.variants.front().model;
  ASSIGN_OR_RETURN(plan.meters, Meters::Create(*model.model, request.meters()));
  if (plan.meters == nullptr) {
    return absl::InvalidArgumentError("meters: expected at least one");
  }
  CaptureSpec capture;
  capture.places = plan.meters->places();
  ASSIGN_OR_RETURN(
      capture.positions,
      PositionsOf(request.positions(), Positions::Kind::kLastPrompt));
  ASSIGN_OR_RETURN(plan.capture,
                   PrepareCapture(*model.model, std::move(capture)));
  ASSIGN_OR_RETURN(plan.prompts,
                   EncodePrompts(model, request.inputs(), limits, cancelled));
  RETURN_IF_ERROR(
      CheckInPrompts(plan.capture->positions, *plan.prompts, request.inputs()));
  RETURN_IF_ERROR(
      CheckSize(std::vector<Prompts>(plan.variants.size(), plan.prompts),
                /*sample_count=*/1, /*new_count=*/0, limits));
  RETURN_IF_ERROR(CheckAnswer(plan));
  return plan;
}

// One input by one variant.
class ApplyProbeCall::Unit final : public GenerateListener {
 public:
  // Borrows the call, which lives until its units have left.
  Unit(ApplyProbeCall& call, int64_t number)
      : call_(call), number_(static_cast<size_t>(number)) {}

  bool OnToken(GeneratedToken /*token*/) override { return false; }
  void OnCaptured(CapturedRows rows) override {
    std::vector<Meters::Reading>& own = call_.readings_[number_];
    for (Meters::Reading& reading : call_.plan_.meters->Read(rows)) {
      own.push_back(std::move(reading));
    }
  }
  void OnEnd(absl::StatusOr<FinishReason> reason) override {
    if (!reason.ok()) {
      const auto input =
          static_cast<int>(number_) % call_.plan_.request->inputs_size();
      call_.group_.Fail(Annotate(
          reason.status(), InputLabel(call_.plan_.request->inputs(), input)));
    }
    call_.group_.Leave();
  }

 private:
  ApplyProbeCall& call_;
  const size_t number_;
};

ApplyProbeCall::ApplyProbeCall(Engine& engine, ApplyProbePlan plan,
                               Priority priority,
                               v1::ApplyProbeResponse& response)
    : engine_(engine),
      plan_(std::move(plan)),
      priority_(priority),
      response_(response),
      readings_(plan_.variants.size() * plan_.prompts->size()),
      group_(engine, [this](const absl::Status& status) {
        alarm_.Set(std::chrono::system_clock::now(),
                   [this, status](bool /*ok*/) { Respond(status); });
      }) {}

void ApplyProbeCall::Start() {
  const auto count = static_cast<int64_t>(readings_.size());
  for (int64_t unit = 0; unit < count && !group_.has_failed(); ++unit) {
    group_.Add([this, unit] { return Submit(unit); });
  }
  group_.Leave();
}

absl::StatusOr<std::vector<int64_t>> ApplyProbeCall::Submit(int64_t unit) {
  const int64_t inputs = plan_.request->inputs_size();
  const auto input = static_cast<size_t>(unit % inputs);
  GenerateTask task;
  task.prompt = (*plan_.prompts)[input].tokens;
  task.max_new_tokens = 0;
  task.capture = plan_.capture;
  const absl::StatusOr<int64_t> number = engine_.SubmitGenerate(
      plan_.variants[static_cast<size_t>(unit / inputs)].ForEngine(),
      std::move(task), std::make_shared<Unit>(*this, unit), priority_);
  if (number.ok()) return std::vector<int64_t>{*number};
  return Annotate(number.status(),
                  InputLabel(plan_.request->inputs(), static_cast<int>(input)));
}

void ApplyProbeCall::OnCancel() {
  group_.Fail(
      absl::CancelledError("the client went away or its deadline passed"));
}

void ApplyProbeCall::Respond(const absl::Status& status) {
  const int inputs = plan_.request->inputs_size();
  for (size_t unit = 0; status.ok() && unit < readings_.size(); ++unit) {
    const int input = static_cast<int>(unit) % inputs;
    for (const Meters::Reading& own : readings_[unit]) {
      v1::ProbeReading& out = *response_.add_readings();
      out.set_variant_index(static_cast<int32_t>(unit) / inputs);
      FillLabel(input, own.position,
                (*plan_.prompts)[static_cast<size_t>(input)].tokens,
                *out.mutable_row());
      out.mutable_projections()->Add(own.projections.begin(),
                                     own.projections.end());
    }
  }
  if (status.ok()) {
    const std::string digest = MessageDigest(*plan_.request);
    for (const ResolvedVariant& variant : plan_.variants) {
      *response_.add_provenance() =
          ProvenanceOf(variant, digest, 0, engine_.options());
    }
  }
  // The call may be deleted by another thread from here on.
  Finish(ToGrpc(status));
}

}  // namespace dissonance
