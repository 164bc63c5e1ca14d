#include "src/compute/probe/place_fit.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/compute/probe/problem_fit.h"

namespace dissonance {
namespace {

absl::Status CheckRows(const at::Tensor& rows, size_t variant) {
  // Only finite numbers have a finite sum. It may overflow.
  if (rows.sum().isfinite().item<bool>()) return absl::OkStatus();
  const at::Tensor finite = rows.isfinite().all(1);  // [rows]
  if (finite.all().item<bool>()) return absl::OkStatus();
  const int64_t row = finite.logical_not().nonzero()[0].item<int64_t>();
  return absl::InvalidArgumentError(
      absl::StrCat("variant ", variant, ": row ", row,
                   " has a number that is not finite; leave its input out, or "
                   "look at how it was computed"));
}

}  // namespace

class PlaceFit::Impl {
 public:
  Impl(std::shared_ptr<const ProbePlan> plan, std::vector<at::Tensor> rows)
      : plan_(std::move(plan)), rows_(std::move(rows)) {}

  bool RunPiece() {
    if (fit_ == nullptr) {
      if (next_ == plan_->problems().size()) return false;
      fit_ =
          std::make_unique<ProblemFit>(*plan_, plan_->problems()[next_], rows_);
    }
    if (fit_->RunPiece()) return true;
    absl::StatusOr<std::vector<FittedProbe>> probes = fit_->Take();
    fit_.reset();
    if (!probes.ok()) {
      status_ = probes.status();
      return false;
    }
    for (FittedProbe& probe : *probes) probes_.push_back(std::move(probe));
    return ++next_ < plan_->problems().size();
  }

  absl::StatusOr<std::vector<FittedProbe>> Take() {
    if (!status_.ok()) return status_;
    return std::move(probes_);
  }

 private:
  const std::shared_ptr<const ProbePlan> plan_;
  const std::vector<at::Tensor> rows_;
  size_t next_ = 0;
  std::unique_ptr<ProblemFit> fit_;
  std::vector<FittedProbe> probes_;
  absl::Status status_;
};

absl::StatusOr<std::unique_ptr<PlaceFit>> PlaceFit::Create(
    std::shared_ptr<const ProbePlan> plan, std::vector<at::Tensor> rows) {
  for (size_t v = 0; v < rows.size(); ++v) {
    RETURN_IF_ERROR(CheckRows(rows[v], v));
  }
  return std::unique_ptr<PlaceFit>(
      new PlaceFit(std::make_unique<Impl>(std::move(plan), std::move(rows))));
}

PlaceFit::PlaceFit(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PlaceFit::~PlaceFit() = default;

bool PlaceFit::RunPiece() { return impl_->RunPiece(); }
absl::StatusOr<std::vector<FittedProbe>> PlaceFit::Take() {
  return impl_->Take();
}

int64_t PlaceFit::Bytes(const ProbePlan& plan, int64_t width) {
  return ProblemFit::Bytes(plan, width);
}

}  // namespace dissonance
