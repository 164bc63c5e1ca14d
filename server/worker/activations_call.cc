#include "server/worker/activations_call.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/sum.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/worker/generate_plan.h"
#include "server/worker/interp_messages.h"
#include "server/worker/model_messages.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// Bytes of a chunk, but for a row that has more.
constexpr int64_t kChunkBytes = int64_t{1} << 20;

// "UNITS:DIGEST": how many units of which request have arrived.
std::string CursorBehind(int64_t unit, const std::string& digest) {
  return absl::StrCat(unit + 1, ":", digest);
}

absl::StatusOr<int64_t> UnitsBefore(const std::string& cursor,
                                    const ActivationsPlan& plan) {
  if (cursor.empty()) return 0;
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(cursor, absl::MaxSplits(':', 1));
  int64_t units = 0;
  if (!absl::SimpleAtoi(parts.first, &units) || units < 0 ||
      units > plan.unit_count()) {
    return absl::InvalidArgumentError(
        "cursor: not one that StreamActivations gave");
  }
  if (parts.second == plan.digest) return units;
  return absl::FailedPreconditionError(
      "cursor: it belongs to another request, or a model or adapter has "
      "changed since; begin anew without it");
}

// What must be the same for a cursor to go on: the request but its cursor, and
// the networks by content.
std::string DigestOf(const ActivationsPlan& plan) {
  v1::StreamActivationsRequest request = *plan.request;
  request.clear_cursor();
  std::string all = MessageDigest(request);
  for (const ResolvedVariant& variant : plan.variants) {
    absl::StrAppend(
        &all, " ", variant.model.model->digest(), " ",
        variant.adapter == nullptr ? "" : variant.adapter->digest());
  }
  return Sha256Of(all);
}

absl::StatusOr<at::ScalarType> WireType(v1::DType asked, const Model& model) {
  ASSIGN_OR_RETURN(const std::optional<at::ScalarType> dtype,
                   FromMessage(asked));
  if (dtype.has_value()) return *dtype;
  return model.dtype() == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace

absl::StatusOr<ActivationsPlan> MakeActivationsPlan(
    const v1::StreamActivationsRequest& request, const ModelRegistry& registry,
    const RequestLimits& limits, const Cancelled& cancelled) {
  ActivationsPlan plan;
  plan.request = std::make_shared<const v1::StreamActivationsRequest>(request);
  ASSIGN_OR_RETURN(plan.variants,
                   ResolveVariants(request.variants(), registry));
  for (const ResolvedVariant& variant : plan.variants) {
    const Model& model = *variant.model.model;
    absl::StatusOr<std::shared_ptr<const CaptureSpec>> capture =
        CaptureOf(model, request.capture());
    if (!capture.ok()) return Annotate(capture.status(), "capture");
    plan.captures.push_back(*std::move(capture));
    RETURN_IF_ERROR(Annotate(
        WireType(request.capture().dtype(), model).status(), "capture"));
    if (request.has_generation()) {
      RETURN_IF_ERROR(Annotate(
          GenerationTaskOf(request.generation(), variant.model).status(),
          "generation"));
    }
  }
  ASSIGN_OR_RETURN(
      plan.prompts,
      EncodeForVariants(plan.variants, request.inputs(), limits, cancelled));
  for (size_t v = 0; v < plan.variants.size() && !request.has_generation();
       ++v) {
    RETURN_IF_ERROR(CheckInPrompts(plan.captures[v]->positions,
                                   *plan.prompts[v], request.inputs()));
  }
  plan.digest = DigestOf(plan);
  ASSIGN_OR_RETURN(plan.first_unit, UnitsBefore(request.cursor(), plan));
  return plan;
}

// One input by one variant.
class ActivationsCall::Unit final : public GenerateListener {
 public:
  // Borrows the call, which lives until its units have left. `number` counts
  // the units of this call.
  Unit(ActivationsCall& call, int64_t number) : call_(call), number_(number) {
    const int64_t place = call.plan_.first_unit + number;
    const int64_t inputs = call.plan_.request->inputs_size();
    variant_ = static_cast<size_t>(place / inputs);
    input_ = static_cast<int>(place % inputs);
    tokens_ =
        (*call.plan_.prompts[variant_])[static_cast<size_t>(input_)].tokens;
    prompt_count_ = static_cast<int64_t>(tokens_.size());
    // Checked when the plan was made.
    dtype_ = *WireType(call.plan_.request->capture().dtype(),
                       *network().model.model);
  }

  const ResolvedVariant& network() const {
    return call_.plan_.variants[variant_];
  }
  std::string Label() const {
    return InputLabel(call_.plan_.request->inputs(), input_);
  }
  GenerateTask Task() const {
    const v1::StreamActivationsRequest& request = *call_.plan_.request;
    GenerateTask task;
    task.max_new_tokens = 0;
    if (request.has_generation()) {
      task = *GenerationTaskOf(request.generation(), network().model);
    }
    task.prompt = tokens_;
    task.capture = call_.plan_.captures[variant_];
    return task;
  }

  bool ready() const override { return call_.HasRoom(number_); }
  bool OnToken(GeneratedToken token) override {
    tokens_.push_back(token.token);
    return true;
  }
  void OnCaptured(CapturedRows rows) override {
    if (call_.plan_.request->capture().reduction() == v1::REDUCTION_MEAN) {
      AddToMean(rows);
    } else {
      SendRows(rows);
    }
  }
  void OnEnd(absl::StatusOr<FinishReason> reason) override {
    if (reason.ok()) {
      if (mean_count_ > 0) SendMean();
      v1::StreamActivationsResponse last;
      last.set_cursor(
          CursorBehind(call_.plan_.first_unit + number_, call_.plan_.digest));
      call_.SendOf(number_, std::move(last));
      call_.Complete(number_);
    } else {
      call_.group_.Fail(Annotate(reason.status(), Label()));
    }
    call_.group_.Leave();
  }

 private:
  const std::vector<SitePlace>& places() const {
    return call_.plan_.captures[variant_]->places;
  }

  void AddToMean(const CapturedRows& rows) {
    mean_.resize(places().size());
    for (size_t p = 0; p < rows.values.size(); ++p) {
      const at::Tensor sum =
          at::sum(rows.values[p].to(at::kDouble), /*dim=*/0, /*keepdim=*/true);
      mean_[p] = mean_[p].defined() ? mean_[p] + sum : sum;
    }
    mean_count_ += static_cast<int64_t>(rows.positions.size());
    last_position_ = rows.positions.back();
  }

  void SendMean() {
    for (at::Tensor& sum : mean_) {
      sum = sum / static_cast<double>(mean_count_);
    }
    SendRows({.positions = {last_position_}, .values = std::move(mean_)});
  }

  void SendRows(const CapturedRows& rows) {
    v1::StreamActivationsResponse labels;
    v1::ActivationRows& announced = *labels.mutable_rows();
    announced.set_variant_index(static_cast<int32_t>(variant_));
    for (const int64_t position : rows.positions) {
      v1::RowLabel& row = *announced.add_rows();
      FillLabel(input_, position, tokens_, row);
      row.set_generated(position >= prompt_count_);
    }
    call_.SendOf(number_, std::move(labels));
    for (size_t p = 0; p < rows.values.size(); ++p) {
      SendChunks(places()[p], rows.values[p]);
    }
    call_.row_count_ += static_cast<int64_t>(rows.positions.size());
  }

  void SendChunks(const SitePlace& place, const at::Tensor& rows) {
    const int64_t count = rows.size(0);
    const int64_t row_bytes =
        rows.numel() / count * static_cast<int64_t>(c10::elementSize(dtype_));
    const int64_t step =
        std::max<int64_t>(1, kChunkBytes / std::max<int64_t>(row_bytes, 1));
    for (int64_t begin = 0; begin < count; begin += step) {
      const int64_t size = std::min(step, count - begin);
      call_.SendOf(
          number_, size * row_bytes,
          [place, begin, dtype = dtype_, own = rows.narrow(0, begin, size)](
              v1::StreamActivationsResponse& response) {
            v1::ActivationChunk& chunk = *response.mutable_chunk();
            *chunk.mutable_place() = ToMessage(place);
            chunk.set_first_row(static_cast<int32_t>(begin));
            FillTensor(own, dtype, *chunk.mutable_tensor());
          });
    }
  }

  ActivationsCall& call_;
  const int64_t number_;
  size_t variant_ = 0;
  int input_ = 0;
  int64_t prompt_count_ = 0;
  at::ScalarType dtype_ = at::kFloat;
  std::vector<int32_t> tokens_;   // prompt and generated
  std::vector<at::Tensor> mean_;  // of each place; the sum until the end
  int64_t mean_count_ = 0;
  int64_t last_position_ = 0;
};

ActivationsCall::ActivationsCall(Engine& engine, ActivationsPlan plan,
                                 Priority priority)
    : OrderedStream(engine),
      engine_(engine),
      plan_(std::move(plan)),
      priority_(priority),
      group_(engine, [this](const absl::Status& status) { Conclude(status); }) {
}

void ActivationsCall::Start() {
  const int64_t count = plan_.unit_count() - plan_.first_unit;
  for (int64_t unit = 0; unit < count && !group_.has_failed(); ++unit) {
    Submit(unit);
  }
  group_.Leave();
}

void ActivationsCall::Submit(int64_t number) {
  group_.Enter();
  auto unit = std::make_shared<Unit>(*this, number);
  const absl::StatusOr<int64_t> submitted = engine_.SubmitGenerate(
      unit->network().ForEngine(), unit->Task(), unit, priority_);
  group_.Entered(submitted.ok() ? submitted
                                : Annotate(submitted.status(), unit->Label()));
}

void ActivationsCall::OnCancel() {
  group_.Fail(
      absl::CancelledError("the client went away or its deadline passed"));
}

void ActivationsCall::Conclude(const absl::Status& status) {
  if (status.ok()) {
    v1::StreamActivationsResponse response;
    v1::ActivationSummary& summary = *response.mutable_summary();
    const std::string digest = MessageDigest(*plan_.request);
    const v1::Sampling& sampling = plan_.request->generation().sampling();
    for (const ResolvedVariant& variant : plan_.variants) {
      *summary.add_provenance() = ProvenanceOf(
          variant, digest, sampling.temperature() > 0 ? sampling.seed() : 0,
          engine_.options());
    }
    summary.set_row_count(row_count_);
    Send(std::move(response));
  }
  End(status);
}

}  // namespace dissonance
