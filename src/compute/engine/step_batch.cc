#include "src/compute/engine/step_batch.h"

#include <ATen/ops/argmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/compute/engine/sampling.h"
#include "src/compute/interp/hook_plan.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

// Rows unembedded at once: bounds the logits' memory to this many times the
// vocabulary.
constexpr int64_t kUnembedRows = kPrefillTile;

// Those that share a pass.
using PassItems = std::vector<StepItem*>;

PassItems InPackingOrder(PassItems items) {
  const auto key = [](const StepItem* item) {
    return std::make_pair(!item->work.is_prefill, item->adapter.get());
  };
  absl::c_stable_sort(items, [&](const StepItem* a, const StepItem* b) {
    return key(a) < key(b);
  });
  return items;
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

// A row that is unembedded.
struct LogitsRow {
  StepItem* item;
  std::optional<size_t> index;  // within item->work.wanted; none: kept only
  int64_t packed_row;
  int64_t wanted_row;  // its place among the rows that the final norm sees
  HookPlan* plan = nullptr;  // of its pass
};

bool Keeps(const StepItem& item, Site site) {
  return item.capture != nullptr &&
         absl::c_any_of(item.capture->places, [site](const SitePlace& place) {
           return place.site == site;
         });
}

// Whether rows are kept where only wanted rows arrive: behind the blocks and
// behind the attention of the last one.
bool KeepsAtEnd(const StepItem& item, int64_t last_block) {
  return item.capture != nullptr &&
         absl::c_any_of(item.capture->places, [&](const SitePlace& place) {
           return IsBehindBlocks(place.site) ||
                  (place.block == last_block && IsBehindAttention(place.site));
         });
}

class Packer {
 public:
  Packer(StepNumerics numerics, int64_t block_count, const PassItems& items)
      : block_count_(block_count) {
    batch_.reproducible = numerics.reproducible;
    batch_.attention_tile = numerics.attention_tile;
    for (StepItem* item : InPackingOrder(items)) Add(*item);
    batch_.first_block = items.front()->trunk.block;
    if (batch_.first_block > 0) batch_.residual = at::cat(trunks_);
  }

  const TokenBatch& batch() const { return batch_; }
  std::vector<AdapterRun> TakeRuns() { return std::move(runs_); }
  // The rows that the final norm sees.
  const std::vector<int64_t>& wanted() const { return wanted_; }
  const std::vector<LogitsRow>& logits_rows() const { return logits_rows_; }
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
           .interventions = items_[i]->interventions,
           .capture = items_[i]->capture,
           .trunk_block = items_[i]->kept_block});
    }
    return hooked;
  }
  // Gives each item what was kept of it.
  void Deliver(std::vector<CapturedRows> captured,
               std::vector<at::Tensor> trunks) const {
    for (size_t i = 0; i < items_.size(); ++i) {
      items_[i]->captured = std::move(captured[i]);
      items_[i]->kept_trunk = {.block = items_[i]->kept_block,
                               .residual = std::move(trunks[i])};
    }
  }
  // Those of prompts, which come first; the rest are of generation steps.
  int64_t prefill_logits_rows() const { return prefill_logits_rows_; }

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
    AddWanted(item, begin);
    item.results.assign(work.wanted.size(), {});
    if (work.is_prefill) {
      batch_.prefill_rows = batch_.row_count();
      prefill_logits_rows_ = static_cast<int64_t>(logits_rows_.size());
    }
    batch_.segments.push_back(std::move(segment));
    items_.push_back(&item);
    trunks_.push_back(item.trunk.residual);
  }

  void AddWanted(StepItem& item, int64_t begin) {
    std::map<int64_t, std::optional<size_t>> rows;
    if (KeepsAtEnd(item, block_count_ - 1)) {
      for (int64_t row = begin; row < batch_.row_count(); ++row) {
        const int64_t position = batch_.positions[static_cast<size_t>(row)];
        if (item.capture->positions.Contains(position, item.prompt_count)) {
          rows[row];
        }
      }
    }
    const std::vector<WantedRow>& wanted = item.work.wanted;
    for (size_t i = 0; i < wanted.size(); ++i) rows[begin + wanted[i].row] = i;
    const bool keeps_logits = Keeps(item, Site::kLogits);
    for (const auto& [row, index] : rows) {
      if (index.has_value() || keeps_logits) {
        logits_rows_.push_back(
            {&item, index, row, static_cast<int64_t>(wanted_.size())});
      }
      wanted_.push_back(row);
    }
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
                     .first_position = segment.past_count(),
                     .linear_count = segment.linear_count,
                     .tile = batch_.attention_tile});
  }

  const int64_t block_count_;
  TokenBatch batch_;
  PassItems items_;                 // of the segments
  std::vector<at::Tensor> trunks_;  // likewise
  std::vector<AdapterRun> runs_;
  std::vector<int64_t> wanted_;
  std::vector<LogitsRow> logits_rows_;
  int64_t prefill_logits_rows_ = 0;
};

// Log-probabilities of the rows' target tokens, one after another.
at::Tensor TargetLogprobs(const at::Tensor& logprobs,
                          absl::Span<const LogitsRow> wanted) {
  std::vector<int64_t> places;
  const int64_t vocab = logprobs.size(1);
  for (size_t row = 0; row < wanted.size(); ++row) {
    if (!wanted[row].index.has_value()) continue;
    const StepWork& work = wanted[row].item->work;
    for (const int32_t token : work.wanted[*wanted[row].index].target_tokens) {
      places.push_back(static_cast<int64_t>(row) * vocab + token);
    }
  }
  return logprobs.flatten()
      .index_select(0, at::tensor(places, at::kLong).to(logprobs.device()))
      .to(at::kCPU, at::kDouble);
}

// Results of wanted rows from their logits [rows, vocab].
void ReadRows(const at::Tensor& logits, absl::Span<const LogitsRow> wanted) {
  const bool is_double = logits.scalar_type() == at::kDouble;
  const at::Tensor wide = is_double ? logits : logits.to(at::kFloat);
  const at::Tensor logprobs = at::log_softmax(wide, -1);  // [rows, vocab]
  // Of logits: two that differ may round to one log-probability.
  const at::Tensor best_token = wide.argmax(-1);
  const at::Tensor best = logprobs.gather(1, best_token.unsqueeze(1));
  const at::Tensor picked = TargetLogprobs(logprobs, wanted);
  const at::Tensor best_cpu = best.to(at::kCPU, at::kDouble);
  const at::Tensor token_cpu = best_token.to(at::kCPU);
  const double* next = picked.const_data_ptr<double>();
  for (size_t row = 0; row < wanted.size(); ++row) {
    if (!wanted[row].index.has_value()) continue;
    StepItem& item = *wanted[row].item;
    RowResult& result = item.results[*wanted[row].index];
    const WantedRow& asked = item.work.wanted[*wanted[row].index];
    result.target_logprobs.assign(next, next + asked.target_tokens.size());
    next += asked.target_tokens.size();
    result.best_token =
        static_cast<int32_t>(token_cpu.const_data_ptr<int64_t>()[row]);
    result.best_logprob = best_cpu.const_data_ptr<double>()[row];
    if (asked.top_count > 0) {
      result.top =
          TopTokens(logprobs[static_cast<int64_t>(row)], asked.top_count);
    }
    if (asked.whole) {
      const auto at = static_cast<int64_t>(row);
      result.logits = wide[at].to(at::kCPU);
      result.logprobs = logprobs[at].to(at::kCPU);
    }
  }
}

bool IsFinite(const RowResult& result) {
  return std::isfinite(result.best_logprob) &&
         absl::c_all_of(result.target_logprobs,
                        [](double x) { return std::isfinite(x); });
}

bool IsFinite(const CapturedRows& captured) {
  return absl::c_all_of(captured.values, [](const at::Tensor& rows) {
    return at::isfinite(rows).all().item<bool>();
  });
}

// Remembers the first site whose activations are not all finite.
class NonFiniteFinder final : public SiteVisitor {
 public:
  bool NeedsAllRows(int64_t) const override { return true; }
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

// Interventions and captures first, then whoever looks on at plain sites.
class ChainedVisitor final : public SiteVisitor {
 public:
  ChainedVisitor(SiteVisitor& first, SiteVisitor& second)
      : first_(first), second_(second) {}
  bool NeedsAllRows(int64_t block) const override {
    return first_.NeedsAllRows(block) || second_.NeedsAllRows(block);
  }
  void Narrowed() override {
    first_.Narrowed();
    second_.Narrowed();
  }
  void Visit(Site site, int64_t block, at::Tensor& x) override {
    first_.Visit(site, block, x);
    second_.Visit(site, block, x);
  }
  bool WantsPattern(int64_t block, int64_t row_begin,
                    int64_t row_count) const override {
    return first_.WantsPattern(block, row_begin, row_count);
  }
  void VisitPattern(int64_t block, int64_t row_begin,
                    const at::Tensor& pattern) override {
    first_.VisitPattern(block, row_begin, pattern);
  }

 private:
  SiteVisitor& first_;
  SiteVisitor& second_;
};

// Items that begin with the same block, as one pass.
struct Pass {
  Pass(const Model& model, StepNumerics numerics, const PassItems& items)
      : packer(numerics, model.spec().block_count(), items),
        delta(packer.TakeRuns(), numerics.reproducible),
        plan(packer.hooked(), packer.wanted()) {}

  // The final norm of the wanted rows [wanted, d_model].
  at::Tensor Forward(const Decoder& decoder, SiteVisitor* visitor) {
    SiteVisitor* hooks = plan.empty() ? visitor : &plan;
    std::optional<ChainedVisitor> chained;
    if (!plan.empty() && visitor != nullptr) {
      hooks = &chained.emplace(plan, *visitor);
    }
    return decoder.Forward(packer.batch(), packer.wanted(),
                           {.delta = &delta, .visitor = hooks});
  }

  Packer packer;
  BatchDelta delta;
  HookPlan plan;
};

// The rows of a step that are unembedded, of all its passes.
struct UnembeddedRows {
  at::Tensor hidden;  // [wanted, d_model], also of rows that are only kept
  std::vector<LogitsRow> rows;
  int64_t prefill = 0;  // rows before those of generation steps

  void Add(Pass& pass, const at::Tensor& wanted) {
    const int64_t before = hidden.defined() ? hidden.size(0) : 0;
    hidden = before > 0 ? at::cat({hidden, wanted}) : wanted;
    for (LogitsRow row : pass.packer.logits_rows()) {
      row.wanted_row += before;
      row.plan = &pass.plan;
      rows.push_back(row);
    }
    prefill += pass.packer.prefill_logits_rows();
  }
};

// Shows each pass's plan its rows of logits [rows, vocab].
void VisitLogits(absl::Span<const LogitsRow> rows, const at::Tensor& logits) {
  for (size_t begin = 0; begin < rows.size();) {
    HookPlan* plan = rows[begin].plan;
    std::vector<int64_t> packed;
    for (size_t i = begin; i < rows.size() && rows[i].plan == plan; ++i) {
      packed.push_back(rows[i].packed_row);
    }
    plan->VisitLogits(packed,
                      logits.narrow(0, static_cast<int64_t>(begin),
                                    static_cast<int64_t>(packed.size())));
    begin += packed.size();
  }
}

// Unembeds the rows, a few at once, and fills their items' results.
void ReadLogits(const Decoder& decoder, StepNumerics numerics,
                const UnembeddedRows& all) {
  const auto count = static_cast<int64_t>(all.rows.size());
  for (int64_t begin = 0; begin < count; begin += kUnembedRows) {
    const auto rows = absl::MakeConstSpan(all.rows).subspan(
        static_cast<size_t>(begin), static_cast<size_t>(kUnembedRows));
    std::vector<int64_t> places;
    for (const LogitsRow& row : rows) places.push_back(row.wanted_row);
    const at::Tensor hidden =
        count == all.hidden.size(0)
            ? all.hidden.narrow(0, begin, static_cast<int64_t>(rows.size()))
            : all.hidden.index_select(
                  0, at::tensor(places, at::kLong).to(all.hidden.device()));
    const at::Tensor logits = decoder.Unembed(
        hidden, {.prefill = std::max<int64_t>(0, all.prefill - begin),
                 .tiled = numerics.reproducible});
    VisitLogits(rows, logits);
    ReadRows(logits, rows);
  }
}

}  // namespace

void RunStep(const Model& model, StepNumerics numerics,
             std::vector<StepItem>& items, SiteVisitor* visitor) {
  const c10::InferenceMode inference;
  // Generation steps begin with the embedding: their pass is the last.
  std::map<int64_t, PassItems, std::greater<>> by_block;
  for (StepItem& item : items) by_block[item.trunk.block].push_back(&item);
  std::deque<Pass> passes;
  UnembeddedRows unembedded;
  for (const auto& [block, own] : by_block) {
    Pass& pass = passes.emplace_back(model, numerics, own);
    unembedded.Add(pass, pass.Forward(model.decoder(), visitor));
  }
  ReadLogits(model.decoder(), numerics, unembedded);
  for (Pass& pass : passes) {
    pass.packer.Deliver(pass.plan.TakeCaptured(), pass.plan.TakeTrunks());
  }
}

absl::Status CheckFinite(const Model& model, StepNumerics numerics,
                         const StepItem& item) {
  bool finite = absl::c_all_of(
      item.results, [](const RowResult& row) { return IsFinite(row); });
  RETURN_IF_ERROR(CatchTorch(
      "captured rows", [&] { finite = finite && IsFinite(item.captured); }));
  if (finite) return absl::OkStatus();
  NonFiniteFinder finder;
  std::vector<StepItem> alone = {item};
  RETURN_IF_ERROR(CatchTorch("search for numbers that are not finite", [&] {
    RunStep(model, numerics, alone, &finder);
  }));
  return absl::InternalError(absl::StrCat(
      "numbers are not finite: the first that are not are ",
      finder.found().empty() ? "the logits" : finder.found(),
      "; look for NaN or infinity in the weights or the adapter, or for a "
      "number that exceeds the dtype's range"));
}

void CommitStep(const StepItem& item) {
  if (item.cache != nullptr) item.cache->Advance(item.work.linear_count());
}

}  // namespace dissonance
