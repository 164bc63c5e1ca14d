#include "server/worker/activations_call.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/sum.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "server/worker/generate_plan.h"
#include "server/worker/interp_messages.h"
#include "src/base/status_macros.h"
#include "src/compute/text/text_stream.h"

namespace dissonance {
namespace {

// Bytes of a chunk, but for a row that has more.
constexpr int64_t kChunkBytes = int64_t{1} << 20;

}  // namespace

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
    const auto& stops = call.plan_.request->generation().stop_strings();
    if (!stops.empty()) {
      // Checked likewise.
      text_.emplace(*network().model.tokenizer, tokens_,
                    std::vector<std::string>(stops.begin(), stops.end()));
    }
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
    if (!text_.has_value()) return true;
    // What can't be decoded holds no stop string.
    const absl::StatusOr<TextStream::Piece> piece = text_->Add(token.token);
    return !piece.ok() || !piece->has_stopped;
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
          call_.plan_.CursorBehind(call_.plan_.first_unit + number_));
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
            return absl::OkStatus();
          });
    }
  }

  ActivationsCall& call_;
  const int64_t number_;
  size_t variant_ = 0;
  int input_ = 0;
  int64_t prompt_count_ = 0;
  at::ScalarType dtype_ = at::kFloat;
  std::optional<TextStream> text_;  // where stop strings are looked for
  std::vector<int32_t> tokens_;     // prompt and generated
  std::vector<at::Tensor> mean_;    // of each place; the sum until the end
  int64_t mean_count_ = 0;
  int64_t last_position_ = 0;
};

ActivationsCall::ActivationsCall(Engine& engine, ActivationsPlan plan,
                                 Priority priority, ActivationStore* store)
    : OrderedStream(engine),
      engine_(engine),
      plan_(std::move(plan)),
      priority_(priority),
      // What goes on in the middle is no whole answer.
      recording_(store == nullptr || plan_.first_unit > 0
                     ? nullptr
                     : store->Record(plan_.digest)),
      group_(engine, [this](const absl::Status& status) { Conclude(status); }) {
}

void ActivationsCall::Start() {
  const int64_t count = plan_.unit_count() - plan_.first_unit;
  for (int64_t unit = 0; unit < count && !group_.has_failed(); ++unit) {
    group_.Add([this, unit] { return Submit(unit); });
  }
  group_.Leave();
}

absl::StatusOr<std::vector<int64_t>> ActivationsCall::Submit(int64_t number) {
  auto unit = std::make_shared<Unit>(*this, number);
  const absl::StatusOr<int64_t> submitted = engine_.SubmitGenerate(
      unit->network().ForEngine(), unit->Task(), unit, priority_);
  if (!submitted.ok()) return Annotate(submitted.status(), unit->Label());
  return std::vector<int64_t>{*submitted};
}

void ActivationsCall::OnCancel() {
  group_.Fail(
      absl::CancelledError("the client went away or its deadline passed"));
}

void ActivationsCall::OnMessage(const v1::StreamActivationsResponse& message) {
  if (recording_ == nullptr) return;
  if (!message.has_summary()) {
    recording_->Add(message);
    return;
  }
  recording_->Commit();
  recording_.reset();
}

void ActivationsCall::Conclude(const absl::Status& status) {
  if (status.ok()) {
    v1::StreamActivationsResponse response;
    *response.mutable_summary() =
        SummaryOf(plan_, row_count_, /*from_store=*/false, engine_.options());
    Send(std::move(response));
  }
  End(status);
}

}  // namespace dissonance
