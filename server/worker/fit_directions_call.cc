#include "server/worker/fit_directions_call.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "server/worker/grpc_status.h"
#include "server/worker/interp_messages.h"
#include "server/worker/train_probes_plan.h"
#include "src/base/status_macros.h"
#include "src/compute/probe/direction_fit.h"

namespace dissonance {
namespace {

absl::Status ClientGone() {
  return absl::CancelledError("the client went away or its deadline passed");
}

absl::Status CheckMethod(v1::DirectionMethod method, int variant_count) {
  int expected = 1;
  switch (method) {
    case v1::DIRECTION_METHOD_MEAN_DIFFERENCE:
    case v1::DIRECTION_METHOD_CONTRAST_PCA:
      break;
    case v1::DIRECTION_METHOD_VARIANT_DIFFERENCE:
      expected = 2;
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("method: expected mean_difference, contrast_pca or "
                       "variant_difference, found ",
                       v1::DirectionMethod_IsValid(method)
                           ? v1::DirectionMethod_Name(method)
                           : absl::StrCat(static_cast<int>(method))));
  }
  if (variant_count == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "variants: expected ", expected, " for ",
      v1::DirectionMethod_Name(method), ", found ", variant_count));
}

absl::Status ReadLabels(const v1::FitDirectionsRequest& request,
                        FitDirectionsPlan& plan) {
  if (!request.labels().values().empty()) {
    return absl::InvalidArgumentError(
        "labels.values: directions tell classes apart; give labels.classes");
  }
  const auto& classes = request.labels().classes();
  const bool is_optional =
      plan.method == v1::DIRECTION_METHOD_VARIANT_DIFFERENCE;
  if (classes.empty() && is_optional) return absl::OkStatus();
  if (classes.size() != request.inputs_size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("labels.classes: expected one per input, which are ",
                     request.inputs_size(), ", found ", classes.size()));
  }
  for (int i = 0; i < classes.size(); ++i) {
    if (classes[i] >= -1 && classes[i] <= 1) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("labels.classes: ", InputLabel(request.inputs(), i),
                     " is of class ", classes[i], "; expected 0, 1 or -1"));
  }
  for (const int32_t needed : {1, 0}) {
    if (needed == 0 && is_optional) break;
    if (absl::c_linear_search(classes, needed)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("labels.classes: no input is of class ", needed));
  }
  plan.classes = {classes.begin(), classes.end()};
  return absl::OkStatus();
}

// Groups with inputs of both classes.
int32_t PairCount(const FitDirectionsPlan& plan) {
  std::map<std::string, std::pair<bool, bool>> has;
  for (size_t i = 0; i < plan.classes.size(); ++i) {
    if (plan.groups[i].empty()) continue;
    if (plan.classes[i] == 0) has[plan.groups[i]].first = true;
    if (plan.classes[i] == 1) has[plan.groups[i]].second = true;
  }
  return static_cast<int32_t>(absl::c_count_if(has, [](const auto& group) {
    return group.second.first && group.second.second;
  }));
}

absl::Status CountRows(FitDirectionsPlan& plan) {
  const auto count = [&](int32_t value) {
    return static_cast<int32_t>(absl::c_count(plan.classes, value));
  };
  const auto all = static_cast<int32_t>(plan.groups.size());
  const int32_t used = plan.classes.empty() ? all : count(1);
  switch (plan.method) {
    case v1::DIRECTION_METHOD_VARIANT_DIFFERENCE:
      plan.row_counts = {used, used};
      break;
    case v1::DIRECTION_METHOD_CONTRAST_PCA:
      plan.row_counts = {PairCount(plan)};
      if (plan.row_counts[0] >= 2) break;
      return absl::InvalidArgumentError(absl::StrCat(
          "inputs: ", plan.row_counts[0],
          " groups have inputs of both classes, pairs need two; give both "
          "inputs of a pair the same group"));
    default:
      plan.row_counts = {count(1), count(0)};
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FitDirectionsPlan> MakeFitDirectionsPlan(
    const v1::FitDirectionsRequest& request, ModelRegistry& registry,
    const RequestLimits& limits, TrainingBudget& budget,
    const Cancelled& cancelled) {
  FitDirectionsPlan plan;
  if (request.method() != v1::DIRECTION_METHOD_UNSPECIFIED) {
    plan.method = request.method();
  }
  RETURN_IF_ERROR(CheckMethod(plan.method, request.variants_size()));
  RETURN_IF_ERROR(ReadLabels(request, plan));
  for (const v1::Input& input : request.inputs()) {
    plan.groups.push_back(input.group());
  }
  ASSIGN_OR_RETURN(plan.rows,
                   MakeVariantRowsPlan({.variants = request.variants(),
                                        .inputs = request.inputs(),
                                        .sites = request.sites(),
                                        .blocks = request.blocks(),
                                        .positions = request.positions()},
                                       registry, limits, cancelled));
  RETURN_IF_ERROR(CountRows(plan));
  const auto rows = static_cast<int64_t>(plan.groups.size());
  const auto variants = static_cast<int64_t>(plan.rows.variants.size());
  const int64_t widest = *absl::c_max_element(plan.rows.widths);
  // Rows in float64, differences of them and their Gram matrix.
  const int64_t fit_bytes =
      int64_t{8} * (3 * rows * variants * widest + 2 * rows * rows);
  ASSIGN_OR_RETURN(plan.lease,
                   budget.Reserve(ProbeNeed{.matrix_bytes = plan.rows.bytes(),
                                            .fit_bytes = fit_bytes,
                                            .row_count = rows,
                                            .place_count = static_cast<int64_t>(
                                                plan.rows.widths.size()),
                                            .variant_count = variants}));
  plan.digest = MessageDigest(request);
  return plan;
}

// The fits of all places, one a piece.
class FitDirectionsCall::Fits final : public EngineWork {
 public:
  // Borrows the call, which lives until Finish.
  explicit Fits(FitDirectionsCall& call) : call_(call) {}

  bool is_background() const override { return true; }
  bool cancelled() const override { return call_.is_cancelled_; }

  bool RunPiece() override {
    RowMatrices& matrices = call_.rows_.matrices();
    const SitePlace& place = call_.plan_.rows.capture->places[place_];
    const absl::StatusOr<FittedDirection> fitted = Fit(matrices);
    if (!fitted.ok()) {
      error_ = Annotate(fitted.status(), PlaceLabel(ToMessage(place)));
      return false;
    }
    v1::DirectionVector& out = *call_.response_.add_vectors();
    *out.mutable_place() = ToMessage(place);
    const int64_t heads = SiteHeads(
        call_.plan_.rows.variants.front().model.model->spec(), place.site);
    FillTensor(heads == 0 ? fitted->unit : fitted->unit.view({heads, -1}),
               at::kFloat, *out.mutable_vector());
    out.set_norm(fitted->norm);
    out.set_residual_norm(fitted->residual_norm);
    for (std::vector<at::Tensor>& own : matrices) own[place_].reset();
    return ++place_ < call_.plan_.rows.widths.size();
  }

  void Finish(const absl::Status& status) override {
    absl::Status end = error_.ok() ? status : error_;
    if (absl::IsCancelled(end)) {
      end = call_.is_cancelled_
                ? ClientGone()
                : absl::UnavailableError("the worker is stopping; ask again");
    }
    call_.Conclude(end);
  }

 private:
  absl::StatusOr<FittedDirection> Fit(const RowMatrices& matrices) const {
    const FitDirectionsPlan& plan = call_.plan_;
    const at::Tensor& rows = matrices[0][place_];
    switch (plan.method) {
      case v1::DIRECTION_METHOD_VARIANT_DIFFERENCE:
        return VariantDifference(rows, matrices[1][place_], plan.classes);
      case v1::DIRECTION_METHOD_CONTRAST_PCA:
        return ContrastPca(rows, plan.classes, plan.groups);
      default:
        return MeanDifference(rows, plan.classes);
    }
  }

  FitDirectionsCall& call_;
  size_t place_ = 0;
  absl::Status error_;
};

FitDirectionsCall::FitDirectionsCall(Engine& engine, FitDirectionsPlan plan,
                                     Priority priority,
                                     v1::FitDirectionsResponse& response)
    : engine_(engine),
      plan_(std::move(plan)),
      response_(response),
      rows_(engine, plan_.rows, priority, [this](const absl::Status& status) {
        if (!status.ok()) {
          Conclude(status);
          return;
        }
        auto fits = std::make_shared<Fits>(*this);
        const absl::Status submitted = engine_.SubmitWork(fits);
        if (!submitted.ok()) fits->Finish(submitted);
      }) {}

void FitDirectionsCall::Start() {
  const absl::Status taken = rows_.Allocate();
  if (taken.ok()) {
    plan_.lease.SetAllocated();
  } else {
    rows_.Fail(taken);
  }
  rows_.Start();
}

void FitDirectionsCall::OnCancel() {
  is_cancelled_ = true;
  rows_.Fail(ClientGone());
  engine_.Wake();
}

void FitDirectionsCall::Conclude(const absl::Status& status) {
  // Whoever is told may ask for the memory at once.
  rows_.matrices().clear();
  plan_.lease = {};
  if (status.ok()) {
    for (const ResolvedVariant& variant : plan_.rows.variants) {
      *response_.add_provenance() =
          ProvenanceOf(variant, plan_.digest, 0, engine_.options());
    }
    response_.mutable_row_counts()->Add(plan_.row_counts.begin(),
                                        plan_.row_counts.end());
  }
  // The call may be deleted by another thread from here on.
  Finish(ToGrpc(status));
}

}  // namespace dissonance
