// One row of activations for each input, of each variant, at each place: what
// probes and directions are fitted to. The prompts run in the engine; rows stay
// on the model's device, in matrices of their own.
//
//   ASSIGN_OR_RETURN(VariantRowsPlan plan, MakeVariantRowsPlan(asked, ...));
//   VariantRows rows(engine, plan, priority,
//                    [](const absl::Status& status) { ... });
//   RETURN_IF_ERROR(rows.Allocate());
//   rows.Start();
//   rows.matrices()[variant][place];  // once it has ended
#ifndef DISSONANCE_SERVER_WORKER_VARIANT_ROWS_H_
#define DISSONANCE_SERVER_WORKER_VARIANT_ROWS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/common.pb.h"
#include "google/protobuf/repeated_field.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "server/worker/prompts.h"
#include "server/worker/task_group.h"
#include "server/worker/variants.h"
#include "src/compute/engine/engine.h"
#include "src/compute/interp/capture.h"

namespace dissonance {

// ResolveVariants; INVALID_ARGUMENT if they are of several models.
absl::StatusOr<std::vector<ResolvedVariant>> ResolveVariantsOfOneModel(
    const google::protobuf::RepeatedPtrField<v1::Variant>& variants,
    ModelRegistry& registry);

// The fields of a request that say which rows; borrowed.
struct AskedRows {
  const google::protobuf::RepeatedPtrField<v1::Variant>& variants;
  const Inputs& inputs;
  const google::protobuf::RepeatedField<int>& sites;
  const google::protobuf::RepeatedField<int32_t>& blocks;
  const v1::Positions& positions;
};

// Values.
struct VariantRowsPlan {
  std::vector<ResolvedVariant> variants;  // of one model
  std::vector<std::string> labels;        // of each input: "inputs[3] (q4)"
  Prompts prompts;
  std::shared_ptr<const CaptureSpec> capture;
  std::vector<int64_t> widths;  // of each place, heads flattened
  at::ScalarType dtype = at::kFloat;

  // All matrices together.
  int64_t bytes() const;
};

// Sites: resid_post if there are none; positions: the prompt's last if unset.
// Errors name the field.
absl::StatusOr<VariantRowsPlan> MakeVariantRowsPlan(const AskedRows& asked,
                                                    ModelRegistry& registry,
                                                    const RequestLimits& limits,
                                                    const Cancelled& cancelled);

// [inputs, width] in the plan's type, of each variant and place.
using RowMatrices = std::vector<std::vector<at::Tensor>>;

// Thread safe, but for matrices().
class VariantRows {
 public:
  // `on_end` is called once, on the engine's thread; it may delete this.
  // Borrows engine and plan.
  VariantRows(Engine& engine, const VariantRowsPlan& plan, Priority priority,
              std::function<void(const absl::Status&)> on_end);

  // Takes the matrices' memory. Call once, first.
  absl::Status Allocate();
  // Queues all prompts. Call once.
  void Start();
  // Ends it with this status, within a step.
  void Fail(const absl::Status& status) { group_.Fail(status); }

  // The rows of several positions are averaged, in float64; the same bits
  // whatever else runs. REQUIRES: it has ended well, or not begun.
  RowMatrices& matrices() { return matrices_; }

 private:
  class Unit;

  absl::StatusOr<std::vector<int64_t>> Submit(size_t variant, size_t input);

  Engine& engine_;
  const VariantRowsPlan& plan_;
  const Priority priority_;
  RowMatrices matrices_;
  TaskGroup group_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_VARIANT_ROWS_H_
