#include "src/base/stratified_folds.h"

#include <algorithm>
#include <cstddef>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "src/base/mix.h"
#include "src/base/shuffle.h"

namespace dissonance {
namespace {

constexpr uint64_t kFoldStream = 0x666F6C64;  // "fold"

// Rows of one group, by class and in all.
struct Group {
  std::vector<double> counts;
  double size = 0.0;
};

std::vector<Group> GroupsOf(const GroupedRows& rows) {
  std::vector<Group> groups;
  for (size_t row = 0; row < rows.groups.size(); ++row) {
    const auto group = static_cast<size_t>(rows.groups[row]);
    if (group >= groups.size()) groups.resize(group + 1);
    Group& own = groups[group];
    own.counts.resize(static_cast<size_t>(rows.class_count));
    ++own.counts[static_cast<size_t>(rows.classes[row])];
    ++own.size;
  }
  return groups;
}

// How much a fold's share, squared, grows.
double Growth(double before, double added, double total) {
  if (added == 0.0) return 0.0;
  return ((before + added) * (before + added) - before * before) /
         (total * total);
}

}  // namespace

std::vector<int32_t> StratifiedFolds(const GroupedRows& rows,
                                     const std::vector<double>& shares,
                                     uint64_t key) {
  const std::vector<Group> groups = GroupsOf(rows);
  const auto classes = static_cast<size_t>(rows.class_count);
  Group total{.counts = std::vector<double>(classes), .size = 0.0};
  for (const int32_t own : rows.classes) {
    ++total.counts[static_cast<size_t>(own)];
    ++total.size;
  }
  std::vector<int64_t> order =
      ShuffledIndices(static_cast<int64_t>(groups.size()), key);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return groups[static_cast<size_t>(a)].size >
           groups[static_cast<size_t>(b)].size;
  });
  std::vector<Group> folds(shares.size(), {std::vector<double>(classes), 0.0});
  std::vector<int32_t> fold_of_group(groups.size());
  for (const int64_t next : order) {
    const Group& group = groups[static_cast<size_t>(next)];
    size_t best = 0;
    double least = 0.0;
    for (size_t f = 0; f < folds.size(); ++f) {
      double growth = Growth(folds[f].size, group.size, total.size);
      for (size_t c = 0; c < classes; ++c) {
        growth += Growth(folds[f].counts[c], group.counts[c], total.counts[c]);
      }
      growth /= shares[f];
      if (f == 0 || growth < least) {
        best = f;
        least = growth;
      }
    }
    for (size_t c = 0; c < classes; ++c) {
      folds[best].counts[c] += group.counts[c];
    }
    folds[best].size += group.size;
    fold_of_group[static_cast<size_t>(next)] = static_cast<int32_t>(best);
  }
  std::vector<int32_t> fold(rows.groups.size());
  for (size_t row = 0; row < fold.size(); ++row) {
    fold[row] = fold_of_group[static_cast<size_t>(rows.groups[row])];
  }
  return fold;
}

std::vector<int32_t> CrossValidationFolds(const GroupedRows& rows,
                                          int64_t fold_count, uint64_t seed) {
  const std::vector<double> shares(static_cast<size_t>(fold_count),
                                   1.0 / static_cast<double>(fold_count));
  return StratifiedFolds(rows, shares, Mix(Mix(seed) ^ kFoldStream));
}

absl::Status CheckFolds(const GroupedRows& rows,
                        const std::vector<int32_t>& fold, int64_t fold_count) {
  const auto classes = static_cast<size_t>(rows.class_count);
  std::vector<int64_t> totals(classes);
  std::vector<std::vector<int64_t>> counts(static_cast<size_t>(fold_count),
                                           std::vector<int64_t>(classes));
  for (size_t i = 0; i < fold.size(); ++i) {
    const auto own = static_cast<size_t>(rows.classes[i]);
    ++totals[own];
    if (fold[i] < 0) continue;
    ++counts[static_cast<size_t>(fold[i])][own];
  }
  for (size_t f = 0; f < counts.size(); ++f) {
    for (size_t c = 0; c < classes; ++c) {
      if (counts[f][c] > 0 && counts[f][c] < totals[c]) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "fold ", f, " has ", counts[f][c], " of ", totals[c],
          " inputs of class ", c,
          "; every fold needs some and has to leave some. Use fewer folds, or "
          "smaller groups"));
    }
  }
  return absl::OkStatus();
}

std::vector<int32_t> NumberGroups(const std::vector<std::string>& names,
                                  const std::vector<int64_t>& rows) {
  std::unordered_map<std::string, int32_t> known;
  std::vector<int32_t> groups;
  int32_t next = 0;
  for (const int64_t row : rows) {
    const std::string& name = names[static_cast<size_t>(row)];
    if (name.empty()) {
      groups.push_back(next++);
      continue;
    }
    const auto [at, is_new] = known.try_emplace(name, next);
    if (is_new) ++next;
    groups.push_back(at->second);
  }
  return groups;
}

}  // namespace dissonance
