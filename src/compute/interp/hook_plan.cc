#include "src/compute/interp/hook_plan.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "src/compute/model/row_ops.h"

namespace dissonance {
namespace {

using Op = Intervention::Op;

at::Tensor VectorAt(const Intervention& own, int64_t position) {
  if (own.vector.dim() == 1) return own.vector;
  const std::vector<int64_t>& indices = own.positions.indices;
  return own.vector.select(
      0, std::find(indices.begin(), indices.end(), position) - indices.begin());
}

bool AreConsecutive(const std::vector<int64_t>& rows) {
  for (size_t i = 1; i < rows.size(); ++i) {
    if (rows[i] != rows[i - 1] + 1) return false;
  }
  return true;
}

// The vectors of an edit's rows, [1, width] if they are all the same, else
// [rows, width].
at::Tensor Vectors(const std::vector<at::Tensor>& of_rows) {
  std::map<const void*, int64_t> numbers;
  std::vector<at::Tensor> different;
  std::vector<int64_t> which;
  for (const at::Tensor& vector : of_rows) {
    const auto [it, is_new] = numbers.try_emplace(
        vector.const_data_ptr(), static_cast<int64_t>(different.size()));
    if (is_new) different.push_back(vector);
    which.push_back(it->second);
  }
  const at::Tensor stacked = at::stack(different);
  if (different.size() == 1) return stacked;
  return stacked.index_select(
      0, at::tensor(which, at::kLong).to(stacked.device()));
}

at::Tensor Coefficients(const std::vector<double>& of_rows,
                        const at::Tensor& like) {
  const bool is_double = like.scalar_type() == at::kDouble;
  return at::tensor(of_rows, at::kDouble)
      .to(like.options().dtype(is_double ? at::kDouble : at::kFloat))
      .unsqueeze(1);
}

// `operand` [1 or rows, width or 1] for rows [rows, (heads,) width].
void Change(Op op, at::Tensor operand, const at::Tensor& rows) {
  if (rows.dim() == 3) operand = operand.unsqueeze(1);
  switch (op) {
    case Op::kAdd:
      rows.add_(operand);
      break;
    case Op::kSet:
      rows.copy_(operand.expand_as(rows));
      break;
    case Op::kScale:
      rows.mul_(operand);
      break;
    case Op::kProjectOut:
      rows.sub_(RowDots(rows, operand.expand_as(rows)).mul(operand));
      break;
  }
}

}  // namespace

HookPlan::HookPlan(const std::vector<HookedRows>& sequences,
                   const std::vector<int64_t>& wanted) {
  std::map<EditKey, Edit> edits;
  for (const HookedRows& sequence : sequences) {
    if (sequence.interventions != nullptr) {
      AddSequence(sequence, wanted, edits);
    }
  }
  // By place, then by turn.
  for (auto& [key, edit] : edits) {
    const Place& place = std::get<0>(key);
    places_[place].push_back(std::move(edit));
    blocks_.insert(place.second);
  }
}

void HookPlan::AddSequence(const HookedRows& sequence,
                           const std::vector<int64_t>& wanted,
                           std::map<EditKey, Edit>& edits) {
  // Changes so far at each place: an intervention's turn there.
  std::map<Place, int64_t> turns;
  for (const Intervention& own : *sequence.interventions) {
    const Place place = {own.site, own.block};
    const int64_t turn = turns[place]++;
    const int64_t head = own.head.value_or(-1);
    for (size_t i = 0; i < sequence.positions.size(); ++i) {
      const int64_t position = sequence.positions[i];
      if (!own.positions.Contains(position, sequence.prompt_count)) continue;
      int64_t row = sequence.row_begin + static_cast<int64_t>(i);
      if (own.site == Site::kFinalNorm) {
        const auto at = std::lower_bound(wanted.begin(), wanted.end(), row);
        if (at == wanted.end() || *at != row) continue;
        row = at - wanted.begin();
      }
      Edit& edit = edits[{place, turn, own.op, head}];
      edit.op = own.op;
      edit.head = own.head;
      edit.rows.push_back(row);
      edit.coefficients.push_back(own.coefficient);
      if (own.op != Op::kScale) {
        edit.vectors.push_back(VectorAt(own, position));
      }
    }
  }
}

void HookPlan::Visit(Site site, int64_t block, at::Tensor& x) {
  const auto place = places_.find({site, block});
  if (place == places_.end()) return;
  for (const Edit& edit : place->second) Apply(edit, x);
}

void HookPlan::Apply(const Edit& edit, at::Tensor& x) {
  at::Tensor own = edit.head.has_value() ? x.select(1, *edit.head) : x;
  const auto count = static_cast<int64_t>(edit.rows.size());
  const bool is_range = AreConsecutive(edit.rows);
  at::Tensor index;
  at::Tensor rows;
  if (is_range) {
    rows = own.narrow(0, edit.rows.front(), count);
  } else {
    index = at::tensor(edit.rows, at::kLong).to(x.device());
    rows = own.index_select(0, index);
  }
  Change(edit.op,
         edit.op == Op::kScale ? Coefficients(edit.coefficients, x)
                               : Vectors(edit.vectors),
         rows);
  if (!is_range) own.index_copy_(0, index, rows);
}

}  // namespace dissonance
