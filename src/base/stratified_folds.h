// Rows divided into folds so that every fold has about its share of every class
// and no group is in two of them. Pure; thread safe. What trains probes and
// what asks for them find the same folds with it.
//
//   std::vector<int32_t> fold = StratifiedFolds(
//       {.classes = classes, .class_count = 2, .groups = groups},
//       /*shares=*/{0.2, 0.2, 0.2, 0.2, 0.2}, key);
#ifndef DISSONANCE_BASE_STRATIFIED_FOLDS_H_
#define DISSONANCE_BASE_STRATIFIED_FOLDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace dissonance {

struct GroupedRows {
  std::vector<int32_t> classes;  // of each row, from 0
  int64_t class_count = 1;
  std::vector<int32_t> groups;  // of each row, numbered from 0
};

// The fold of each row. Groups come in an order that `key` picks, larger ones
// first; each goes where the squares of the folds' shares of its classes, and
// of all rows, grow least (as scikit-learn's StratifiedGroupKFold does in
// spirit). Groups of one row give folds whose counts of a class differ by one
// at most. O(groups * folds * classes).
std::vector<int32_t> StratifiedFolds(const GroupedRows& rows,
                                     const std::vector<double>& shares,
                                     uint64_t key);

// The folds that probes are cross-validated in, all of one share.
std::vector<int32_t> CrossValidationFolds(const GroupedRows& rows,
                                          int64_t fold_count, uint64_t seed);

// INVALID_ARGUMENT unless each fold has every class and leaves some of it to
// train on. `fold` is each row's; -1: in none.
absl::Status CheckFolds(const GroupedRows& rows,
                        const std::vector<int32_t>& fold, int64_t fold_count);

// Numbers of the groups of `rows`, whose names are in `names`; a row without a
// name is a group of its own.
std::vector<int32_t> NumberGroups(const std::vector<std::string>& names,
                                  const std::vector<int64_t>& rows);

}  // namespace dissonance

#endif  // DISSONANCE_BASE_STRATIFIED_FOLDS_H_
