#include "src/compute/engine/step_batch.h"

#include <ATen/ops/isfinite.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>
#include <string>
#include <tuple>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/compute/interp/hook_plan.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

// Rows unembedded at once: bounds the logits' memory to this many times the
// vocabulary.
constexpr int64_t kUnembedRows = kPrefillTile;

std::vector<size_t> PackingOrder(const std::vector<StepItem>& items) {
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto key = [&items](size_t i) {
    return std::make_pair(!items[i].work.is_prefill, items[i].adapter.get());
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return key(a) < key(b); });
  return order;
}

void AppendPositions(const Segment& segment, std::vector<int64_t>& positions) {
  const size_t first = positions.size();
  for (int64_t i = 0; i < segment.linear_count; ++i) {
    positions.push_back(segment.past_count() + i);
  }
  const int64_t last = segment.past_count() + segment.linear_count - 1;
  const size_t tree = first + static_cast<size_t>(segment.linear_count);
  for (const int32_t parent : segment.tree_parents) {
    positions.push_back(
        1 +
        (parent < 0 ? last : positions[tree + static_cast<size_t>(parent)]));
  }
}

// A wanted row's place in the packed batch.
struct Wanted {
  StepItem* item;
  size_t index;  // within item->work.wanted
  int64_t packed_row;
};

class Packer {
 public:
  Packer(bool reproducible, std::vector<StepItem>& items) {
    batch_.reproducible = reproducible;
    for (const size_t i : PackingOrder(items)) Add(items[i]);
  }

  const TokenBatch& batch() const { return batch_; }
  std::vector<AdapterRun> TakeRuns() { return std::move(runs_); }
  const std::vector<Wanted>& wanted() const { return wanted_; }
  // REQUIRES: the packer lives on.
  std::vector<HookedRows> hooked() const {
    std::vector<HookedRows> hooked;
    for (size_t i = 0; i < items_.size(); ++i) {
      const Segment& segment = batch_.segments[i];
      hooked.push_back(
          {.row_begin = segment.row_begin,
           .positions = absl::MakeConstSpan(batch_.positions)
                            .subspan(static_cast<size_t>(segment.row_begin),
                                     static_cast<size_t>(segment.row_count())),
           .prompt_count = items_[i]->prompt_count,
           .interventions = items_[i]->interventions});
    }
    return hooked;
  }
  // Wanted rows of prompts; the rest are of generation steps.
  int64_t prefill_wanted() const { return prefill_wanted_; }

 private:
  void Add(StepItem& item) {
    const StepWork& work = item.work;
    const int64_t begin = batch_.row_count();
    Segment segment{.row_begin = begin,
                    .linear_count = work.linear_count(),
                    .tree_parents = work.tree_parents,
                    .cache = item.cache};
    batch_.token_ids.insert(batch_.token_ids.end(), work.tokens.begin(),
                            work.tokens.end());
    AppendPositions(segment, batch_.positions);
    AddRun(item, segment);
    for (size_t i = 0; i < work.wanted.size(); ++i) {
      wanted_.push_back({&item, i, begin + work.wanted[i].row});
    }
    item.results.resize(work.wanted.size());
    if (work.is_prefill) {
      batch_.prefill_rows = batch_.row_count();
      prefill_wanted_ = static_cast<int64_t>(wanted_.size());
    }
    batch_.segments.push_back(std::move(segment));
    items_.push_back(&item);
  }

  void AddRun(const StepItem& item, const Segment& segment) {
    if (item.adapter == nullptr) return;
    const bool extends =
        !runs_.empty() && item.dropout == nullptr &&
        runs_.back().dropout == nullptr &&
        runs_.back().adapter == item.adapter &&
        runs_.back().is_prefill == item.work.is_prefill &&
        runs_.back().row_begin + runs_.back().row_count == segment.row_begin;
    if (extends) {
      runs_.back().row_count += segment.row_count();
      return;
    }
    runs_.push_back({.row_begin = segment.row_begin,
                     .row_count = segment.row_count(),
                     .is_prefill = item.work.is_prefill,
                     .adapter = item.adapter,
                     .dropout = item.dropout,
                     .first_position = segment.past_count()});
  }

  TokenBatch batch_;
  std::vector<const StepItem*> items_;  // of the segments
  std::vector<AdapterRun> runs_;
  std::vector<Wanted> wanted_;
  int64_t prefill_wanted_ = 0;
};

// Results of wanted rows [begin, begin + hidden rows), from their final norms.
void ReadRows(const Decoder& decoder, const at::Tensor& hidden, RowKinds kinds,
              absl::Span<const Wanted> wanted) {
  const at::Tensor logits = decoder.Unembed(hidden, kinds);
  const bool is_double = logits.scalar_type() == at::kDouble;
  const at::Tensor logprobs = at::log_softmax(
      is_double ? logits : logits.to(at::kFloat), -1);  // [rows, vocab]
  const auto [best, best_token] = logprobs.max(-1);

  std::vector<int64_t> places;
  const int64_t vocab = logprobs.size(1);
  for (size_t row = 0; row < wanted.size(); ++row) {
    const StepWork& work = wanted[row].item->work;
    for (const int32_t token : work.wanted[wanted[row].index].target_tokens) {
      places.push_back(static_cast<int64_t>(row) * vocab + token);
    }
  }
  const at::Tensor picked =
      logprobs.flatten()
          .index_select(0, at::tensor(places, at::kLong).to(logprobs.device()))
          .to(at::kCPU, at::kDouble);
  const at::Tensor best_cpu = best.to(at::kCPU, at::kDouble);
  const at::Tensor token_cpu = best_token.to(at::kCPU);
  const double* next = picked.const_data_ptr<double>();
  for (size_t row = 0; row < wanted.size(); ++row) {
    StepItem& item = *wanted[row].item;
    RowResult& result = item.results[wanted[row].index];
    const size_t targets =
        item.work.wanted[wanted[row].index].target_tokens.size();
    result.target_logprobs.assign(next, next + targets);
    next += targets;
    result.best_token =
        static_cast<int32_t>(token_cpu.const_data_ptr<int64_t>()[row]);
    result.best_logprob = best_cpu.const_data_ptr<double>()[row];
  }
}

bool IsFinite(const RowResult& result) {
  return std::isfinite(result.best_logprob) &&
         absl::c_all_of(result.target_logprobs,
                        [](double x) { return std::isfinite(x); });
}

// Remembers the first site whose activations are not all finite.
class NonFiniteFinder final : public SiteVisitor {
 public:
  bool Watches(int64_t) const override { return true; }
  void Visit(Site site, int64_t block, at::Tensor& x) override {
    if (!found_.empty() || at::isfinite(x).all().item<bool>()) return;
    found_ = block < 0 ? std::string(SiteName(site))
                       : absl::StrCat(SiteName(site), " of block ", block);
  }
  // Empty while there is none.
  const std::string& found() const { return found_; }

 private:
  std::string found_;
};

// Interventions first, then whoever looks on.
class ChainedVisitor final : public SiteVisitor {
 public:
  ChainedVisitor(SiteVisitor& first, SiteVisitor& second)
      : first_(first), second_(second) {}
  bool Watches(int64_t block) const override {
    return first_.Watches(block) || second_.Watches(block);
  }
  void Visit(Site site, int64_t block, at::Tensor& x) override {
    first_.Visit(site, block, x);
    second_.Visit(site, block, x);
  }

 private:
  SiteVisitor& first_;
  SiteVisitor& second_;
};

}  // namespace

void RunStep(const Model& model, bool reproducible,
             std::vector<StepItem>& items, SiteVisitor* visitor) {
  const c10::InferenceMode inference;
  Packer packer(reproducible, items);
  const BatchDelta delta(packer.TakeRuns(), reproducible);
  const std::vector<Wanted>& wanted = packer.wanted();
  std::vector<int64_t> rows;
  rows.reserve(wanted.size());
  for (const Wanted& want : wanted) rows.push_back(want.packed_row);
  HookPlan plan(packer.hooked(), rows);
  SiteVisitor* hooks = plan.empty() ? visitor : &plan;
  std::optional<ChainedVisitor> chained;
  if (!plan.empty() && visitor != nullptr) {
    hooks = &chained.emplace(plan, *visitor);
  }
  const at::Tensor hidden = model.decoder().Forward(
      packer.batch(), rows, {.delta = &delta, .visitor = hooks});
  for (int64_t begin = 0; begin < hidden.size(0); begin += kUnembedRows) {
    const int64_t count = std::min(kUnembedRows, hidden.size(0) - begin);
    const int64_t prefill =
        std::max<int64_t>(0, packer.prefill_wanted() - begin);
    ReadRows(model.decoder(), hidden.narrow(0, begin, count),
             {.prefill = prefill, .tiled = reproducible},
             absl::MakeConstSpan(wanted).subspan(static_cast<size_t>(begin),
                                                 static_cast<size_t>(count)));
  }
}

absl::Status CheckFinite(const Model& model, bool reproducible,
                         const StepItem& item) {
  if (absl::c_all_of(item.results, IsFinite)) return absl::OkStatus();
  NonFiniteFinder finder;
  std::vector<StepItem> alone = {item};
  RETURN_IF_ERROR(CatchTorch("search for numbers that are not finite", [&] {
    RunStep(model, reproducible, alone, &finder);
  }));
  return absl::InternalError(absl::StrCat(
      "log-probabilities are not finite: the first numbers that are not are ",
      finder.found().empty() ? "the logits" : finder.found(),
      "; look for NaN or infinity in the weights or the adapter, or for a "
      "number that exceeds the dtype's range"));
}

void CommitStep(const StepItem& item) {
  if (item.cache != nullptr) item.cache->Advance(item.work.linear_count());
}

}  // namespace dissonance
