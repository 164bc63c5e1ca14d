#include "src/lab/interp/patch_map.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace dissonance {
namespace {

std::vector<double> RanksOf(absl::Span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]]) {
      ++end;
    }
    const double rank = static_cast<double>(begin + end - 1) / 2;
    for (; begin < end; ++begin) ranks[order[begin]] = rank;
  }
  return ranks;
}

// Where a row of one prompt is, apart from the method.
using RowKey = std::tuple<v1::Site, int, int, int>;

RowKey KeyOf(const PatchRow& row) {
  return {row.site, row.block, row.head, row.position};
}

// Changes of delta in pairs.
struct Changes {
  std::vector<double> exact;
  std::vector<double> approximate;
};

void AddChanges(const PatchedRun& exact, const PatchedRun& approximate,
                std::map<std::pair<bool, v1::Site>, Changes>& changes) {
  std::map<RowKey, double> exact_rows;
  for (const PatchRow& row : exact.rows) {
    exact_rows[KeyOf(row)] = row.delta - exact.delta_target;
  }
  for (const PatchRow& row : approximate.rows) {
    const auto same = exact_rows.find(KeyOf(row));
    if (same == exact_rows.end()) continue;
    Changes& pairs = changes[{exact.run.reversed, row.site}];
    pairs.exact.push_back(same->second);
    pairs.approximate.push_back(row.delta - approximate.delta_target);
  }
}

}  // namespace

std::optional<double> PatchEffect(const PatchedRun& run, const PatchRow& row) {
  const double whole = run.delta_source - run.delta_target;
  if (whole == 0) return std::nullopt;
  return (row.delta - run.delta_target) / whole;
}

PatchMap MapOf(absl::Span<const PatchedPrompt> prompts) {
  PatchMap map;
  for (const PatchedPrompt& prompt : prompts) {
    for (const PatchedRun& run : prompt.runs) {
      for (const PatchRow& row : run.rows) {
        PatchCell& cell = map[{.reversed = run.run.reversed,
                               .method = run.run.method,
                               .site = row.site,
                               .block = row.block,
                               .head = row.head,
                               .offset = row.position - prompt.token_count}];
        ++cell.prompt_count;
        cell.flip_count += row.flip ? 1 : 0;
        cell.delta += row.delta;
        const std::optional<double> effect = PatchEffect(run, row);
        if (!effect.has_value()) continue;
        ++cell.effect_count;
        cell.effect = cell.effect.value_or(0) + *effect;
      }
    }
  }
  for (auto& [place, cell] : map) {
    cell.delta /= static_cast<double>(cell.prompt_count);
    if (cell.effect.has_value()) {
      *cell.effect /= static_cast<double>(cell.effect_count);
    }
  }
  return map;
}

std::map<std::pair<bool, v1::Site>, PatchAgreement> AgreementOf(
    absl::Span<const PatchedPrompt> prompts) {
  std::map<std::pair<bool, v1::Site>, Changes> changes;
  for (const PatchedPrompt& prompt : prompts) {
    for (const PatchedRun& exact : prompt.runs) {
      if (exact.run.method != v1::PATCH_METHOD_EXACT) continue;
      for (const PatchedRun& other : prompt.runs) {
        if (other.run.method == v1::PATCH_METHOD_ATTRIBUTION &&
            other.run.reversed == exact.run.reversed) {
          AddChanges(exact, other, changes);
        }
      }
    }
  }
  std::map<std::pair<bool, v1::Site>, PatchAgreement> agreement;
  for (const auto& [key, pairs] : changes) {
    agreement[key] = {.count = std::ssize(pairs.exact),
                      .pearson = Pearson(pairs.exact, pairs.approximate),
                      .spearman = Spearman(pairs.exact, pairs.approximate)};
  }
  return agreement;
}

std::optional<double> Pearson(absl::Span<const double> a,
                              absl::Span<const double> b) {
  if (a.size() < 2) return std::nullopt;
  const auto count = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / count;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / count;
  double product = 0;
  double squares_a = 0;
  double squares_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += (a[i] - mean_a) * (b[i] - mean_b);
    squares_a += (a[i] - mean_a) * (a[i] - mean_a);
    squares_b += (b[i] - mean_b) * (b[i] - mean_b);
  }
  if (squares_a == 0 || squares_b == 0) return std::nullopt;
  return std::clamp(product / std::sqrt(squares_a) / std::sqrt(squares_b), -1.0,
                    1.0);
}

std::optional<double> Spearman(absl::Span<const double> a,
                               absl::Span<const double> b) {
  return Pearson(RanksOf(a), RanksOf(b));
}

}  // namespace dissonance
