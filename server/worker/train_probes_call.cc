#include "server/worker/train_probes_call.h"

#include <ATen/ops/cat.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/worker/probe_messages.h"
#include "src/base/status_macros.h"
#include "src/compute/probe/place_fits.h"
#include "src/compute/probe/principal_components.h"

namespace dissonance {
namespace {

absl::Status ClientGone() {
  return absl::CancelledError("the client went away or its deadline passed");
}

}  // namespace

// The fits of all places, sent one after the other.
class TrainProbesCall::Fits final : public EngineWork {
 public:
  // Borrows the call, which lives until Finish.
  Fits(TrainProbesCall& call, RowMatrices matrices)
      : call_(call), matrices_(std::move(matrices)) {
    const TrainProbesPlan& plan = call_.plan_;
    fits_.emplace(
        plan.probes, plan.places.size(),
        [this](size_t place) { return Rows(place); }, plan.places_at_once);
  }

  bool is_background() const override { return true; }
  bool ready() const override { return call_.has_room(); }
  bool cancelled() const override { return call_.is_cancelled_; }

  bool RunPiece() override {
    const TrainProbesPlan& plan = call_.plan_;
    switch (next_) {
      case Next::kFit:
        if (fits_->RunPiece()) break;
        error_ = SendProbes();
        if (!error_.ok()) return false;
        next_ = plan.component_count > 0 ? Next::kComponents : Next::kEnd;
        break;
      case Next::kComponents:
        SendComponents();
        next_ = Next::kEnd;
        break;
      case Next::kEnd:
        EndPlace();
        next_ = Next::kFit;
        break;
    }
    return place_ < plan.places.size();
  }

  void Finish(const absl::Status& status) override {
    // Whoever is told may ask for the memory at once.
    fits_.reset();
    matrices_.clear();
    absl::Status end = error_.ok() ? status : error_;
    if (absl::IsCancelled(end)) {
      end = call_.is_cancelled_
                ? ClientGone()
                : absl::UnavailableError("the worker is stopping; ask again");
    }
    call_.Conclude(end);
  }

 private:
  // What the next piece does of a place.
  enum class Next { kFit, kComponents, kEnd };

  // Of each variant.
  std::vector<at::Tensor> Rows(size_t place) const {
    std::vector<at::Tensor> rows;
    for (const std::vector<at::Tensor>& own : matrices_) {
      rows.push_back(own[place]);
    }
    return rows;
  }

  absl::Status SendProbes() {
    const absl::StatusOr<std::vector<FittedProbe>> probes = fits_->Take();
    if (!probes.ok()) {
      return Annotate(probes.status(), PlaceLabel(call_.plan_.places[place_]));
    }
    for (const FittedProbe& probe : *probes) {
      v1::TrainProbesResponse response;
      *response.mutable_result() =
          ResultMessage(probe, call_.plan_.places[place_], call_.plan_.dtype);
      call_.Send(std::move(response));
    }
    return absl::OkStatus();
  }

  void SendComponents() {
    v1::TrainProbesResponse response;
    *response.mutable_components() =
        ComponentsMessage(FindPrincipalComponents(at::cat(Rows(place_)),
                                                  call_.plan_.component_count),
                          call_.plan_.places[place_], call_.plan_.dtype);
    call_.Send(std::move(response));
  }

  void EndPlace() {
    for (std::vector<at::Tensor>& own : matrices_) own[place_].reset();
    ++place_;
    v1::TrainProbesResponse response;
    response.mutable_progress()->set_done_count(static_cast<int32_t>(place_));
    response.mutable_progress()->set_total_count(
        static_cast<int32_t>(call_.plan_.places.size()));
    call_.Send(std::move(response));
  }

  TrainProbesCall& call_;
  RowMatrices matrices_;
  std::optional<PlaceFits> fits_;
  size_t place_ = 0;
  Next next_ = Next::kFit;
  absl::Status error_;
};

TrainProbesCall::TrainProbesCall(Engine& engine, TrainProbesPlan plan,
                                 Priority priority)
    : StreamCall(engine), engine_(engine), plan_(std::move(plan)) {
  if (!plan_.rows.has_value()) return;
  rows_.emplace(engine, *plan_.rows, priority,
                [this](const absl::Status& status) {
                  if (status.ok()) {
                    Fit(std::move(rows_->matrices()));
                  } else {
                    Conclude(status);
                  }
                });
}

void TrainProbesCall::Start() {
  for (const ProbeProblem& problem : plan_.probes->problems()) {
    v1::TrainProbesResponse response;
    *response.mutable_folds() =
        FoldsMessage(problem, plan_.probes->row_count());
    Send(std::move(response));
  }
  if (!rows_.has_value()) {
    Fit(std::move(plan_.given));
    return;
  }
  const absl::Status taken = rows_->Allocate();
  if (taken.ok()) {
    plan_.lease.SetAllocated();
  } else {
    rows_->Fail(taken);
  }
  rows_->Start();
}

void TrainProbesCall::Fit(RowMatrices matrices) {
  auto fits = std::make_shared<Fits>(*this, std::move(matrices));
  const absl::Status submitted = engine_.SubmitWork(fits);
  if (!submitted.ok()) fits->Finish(submitted);
}

void TrainProbesCall::OnCancel() {
  is_cancelled_ = true;
  if (rows_.has_value()) rows_->Fail(ClientGone());
  engine_.Wake();
}

void TrainProbesCall::Conclude(const absl::Status& status) {
  // Whoever is told may ask for the memory at once.
  if (rows_.has_value()) rows_->matrices().clear();
  plan_.lease = {};
  if (status.ok()) {
    v1::TrainProbesResponse response;
    v1::TrainProbesSummary& summary = *response.mutable_summary();
    for (size_t v = 0;
         plan_.rows.has_value() && v < plan_.rows->variants.size(); ++v) {
      *summary.add_provenance() =
          ProvenanceOf(plan_.rows->variants[v], plan_.digest,
                       plan_.probes->options().seed, engine_.options());
    }
    Send(std::move(response));
  }
  End(status);
}

}  // namespace dissonance
