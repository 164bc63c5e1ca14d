#include "src/compute/interp/hook_plan.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <utility>

#include "src/compute/model/row_ops.h"

namespace dissonance {
namespace {

using Op = Intervention::Op;

at::Tensor VectorAt(const Intervention& own, int64_t position) {
  if (own.vector.dim() == 1) return own.vector;
  const std::vector<int64_t>& indices = own.positions.indices;  // ascending
  return own.vector.select(
      0, std::lower_bound(indices.begin(), indices.end(), position) -
             indices.begin());
}

bool AreConsecutive(const std::vector<int64_t>& rows) {
  for (size_t i = 1; i < rows.size(); ++i) {
    if (rows[i] != rows[i - 1] + 1) return false;
  }
  return true;
}

// Where these rows are among `all`, ascending; without those that are not.
std::vector<int64_t> PlacesOf(const std::vector<int64_t>& rows,
                              const std::vector<int64_t>& all) {
  std::vector<int64_t> places;
  for (const int64_t row : rows) {
    const auto at = std::lower_bound(all.begin(), all.end(), row);
    if (at == all.end() || *at != row) continue;
    places.push_back(at - all.begin());
  }
  return places;
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

// `rows` of x along its first dimension, as a tensor of their own.
at::Tensor CopyRows(const at::Tensor& x, const std::vector<int64_t>& rows) {
  if (AreConsecutive(rows)) {
    return x.narrow(0, rows.front(), static_cast<int64_t>(rows.size())).clone();
  }
  return x.index_select(0, at::tensor(rows, at::kLong).to(x.device()));
}

void Apply(Op op, std::optional<int64_t> head, const std::vector<int64_t>& at,
           const at::Tensor& operand, at::Tensor& x) {
  at::Tensor own = head.has_value() ? x.select(1, *head) : x;
  if (AreConsecutive(at)) {
    Change(op, operand,
           own.narrow(0, at.front(), static_cast<int64_t>(at.size())));
    return;
  }
  const at::Tensor index = at::tensor(at, at::kLong).to(x.device());
  const at::Tensor rows = own.index_select(0, index);
  Change(op, operand, rows);
  own.index_copy_(0, index, rows);
}

}  // namespace

HookPlan::HookPlan(const std::vector<HookedRows>& sequences,
                   std::vector<int64_t> wanted)
    : wanted_(std::move(wanted)),
      captured_(sequences.size()),
      trunks_(sequences.size()) {
  std::map<EditKey, Edit> edits;
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (sequences[i].interventions != nullptr) AddEdits(sequences[i], edits);
    if (sequences[i].capture != nullptr) AddKeeps(sequences[i], i);
    if (sequences[i].trunk_block > 0) {
      trunk_keeps_[{Site::kResidPost, sequences[i].trunk_block - 1}].push_back(
          {.sequence = i,
           .row_begin = sequences[i].row_begin,
           .row_count = static_cast<int64_t>(sequences[i].positions.size())});
    }
  }
  // By place, then by turn.
  for (auto& [key, edit] : edits) {
    edits_[std::get<0>(key)].push_back(std::move(edit));
  }
}

void HookPlan::AddEdits(const HookedRows& sequence,
                        std::map<EditKey, Edit>& edits) {
  // Changes so far at each place: an intervention's turn there.
  std::map<SitePlace, int64_t> turns;
  for (const Intervention& own : *sequence.interventions) {
    const SitePlace place = {own.site, own.block};
    const int64_t turn = turns[place]++;
    const int64_t head = own.head.value_or(-1);
    for (size_t i = 0; i < sequence.positions.size(); ++i) {
      const int64_t position = sequence.positions[i];
      if (!own.positions.Contains(position, sequence.prompt_count)) continue;
      Edit& edit = edits[{place, turn, own.op, head}];
      edit.op = own.op;
      edit.head = own.head;
      edit.rows.push_back(sequence.row_begin + static_cast<int64_t>(i));
      edit.coefficients.push_back(own.coefficient);
      if (own.op != Op::kScale) {
        edit.vectors.push_back(VectorAt(own, position));
      }
    }
  }
}

void HookPlan::AddKeeps(const HookedRows& sequence, size_t number) {
  const CaptureSpec& capture = *sequence.capture;
  CapturedRows& captured = captured_[number];
  std::vector<int64_t> rows;
  for (size_t i = 0; i < sequence.positions.size(); ++i) {
    const int64_t position = sequence.positions[i];
    if (!capture.positions.Contains(position, sequence.prompt_count)) continue;
    captured.positions.push_back(position);
    rows.push_back(sequence.row_begin + static_cast<int64_t>(i));
  }
  if (rows.empty()) return;
  captured.values.resize(capture.places.size());
  const bool is_whole = Located(rows).size() < rows.size();
  for (size_t i = 0; i < capture.places.size(); ++i) {
    keeps_[capture.places[i]].push_back(
        {.sequence = number, .place = i, .rows = rows});
    if (is_whole && IsBehindAttention(capture.places[i].site)) {
      whole_blocks_.insert(capture.places[i].block);
    }
  }
}

std::vector<int64_t> HookPlan::Located(const std::vector<int64_t>& rows) const {
  return PlacesOf(rows, wanted_);
}

HookPlan::Edit HookPlan::Located(const Edit& edit) const {
  Edit located;
  located.op = edit.op;
  located.head = edit.head;
  for (size_t i = 0; i < edit.rows.size(); ++i) {
    const std::vector<int64_t> row = Located({edit.rows[i]});
    if (row.empty()) continue;
    located.rows.push_back(row.front());
    located.coefficients.push_back(edit.coefficients[i]);
    if (!edit.vectors.empty()) located.vectors.push_back(edit.vectors[i]);
  }
  return located;
}

void HookPlan::Visit(Site site, int64_t block, at::Tensor& x) {
  KeepTrunks({site, block}, x);
  const bool shows_wanted = ShowsWanted(site);
  if (const auto at = edits_.find({site, block}); at != edits_.end()) {
    for (const Edit& whole : at->second) {
      const Edit edit = shows_wanted ? Located(whole) : whole;
      if (edit.rows.empty()) continue;
      Apply(edit.op, edit.head, edit.rows,
            edit.op == Op::kScale ? Coefficients(edit.coefficients, x)
                                  : Vectors(edit.vectors),
            x);
    }
  }
  if (const auto at = keeps_.find({site, block}); at != keeps_.end()) {
    KeepRows(at->second, shows_wanted, x);
  }
}

void HookPlan::KeepTrunks(SitePlace place, const at::Tensor& x) {
  const auto at = trunk_keeps_.find(place);
  if (at == trunk_keeps_.end()) return;
  for (const TrunkKeep& keep : at->second) {
    trunks_[keep.sequence] =
        x.narrow(0, keep.row_begin, keep.row_count).clone();
  }
}

void HookPlan::KeepRows(const std::vector<Keep>& keeps, bool shows_wanted,
                        const at::Tensor& x) {
  // Each has a copy of its own: a slow reader's rows hold no other's memory.
  for (const Keep& keep : keeps) {
    captured_[keep.sequence].values[keep.place] =
        CopyRows(x, shows_wanted ? Located(keep.rows) : keep.rows);
  }
}

bool HookPlan::WantsPattern(int64_t block, int64_t row_begin,
                            int64_t row_count) const {
  const auto keeps = keeps_.find({Site::kPattern, block});
  if (keeps == keeps_.end()) return false;
  return std::any_of(keeps->second.begin(), keeps->second.end(),
                     [&](const Keep& keep) {
                       const int64_t first = keep.rows.front() - row_begin;
                       return first >= 0 && first < row_count;
                     });
}

void HookPlan::VisitPattern(int64_t block, int64_t row_begin,
                            const at::Tensor& pattern) {
  for (const Keep& keep : keeps_.at({Site::kPattern, block})) {
    const int64_t first = keep.rows.front() - row_begin;
    if (first < 0 || first >= pattern.size(0)) continue;  // another sequence's
    std::vector<int64_t> rows = keep.rows;
    for (int64_t& row : rows) row -= row_begin;
    captured_[keep.sequence].values[keep.place] = CopyRows(pattern, rows);
  }
}

void HookPlan::VisitLogits(const std::vector<int64_t>& rows,
                           const at::Tensor& logits) {
  const auto keeps = keeps_.find({Site::kLogits, -1});
  if (keeps == keeps_.end()) return;
  for (const Keep& keep : keeps->second) {
    const std::vector<int64_t> kept_rows = PlacesOf(keep.rows, rows);
    if (kept_rows.empty()) continue;
    at::Tensor& kept = captured_[keep.sequence].values[keep.place];
    const at::Tensor own = CopyRows(logits, kept_rows);
    kept = kept.defined() ? at::cat({kept, own}) : own;
  }
}

std::vector<CapturedRows> HookPlan::TakeCaptured() {
  return std::move(captured_);
}

}  // namespace dissonance
