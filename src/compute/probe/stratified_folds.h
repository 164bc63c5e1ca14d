// Rows divided into folds so that every fold has about its share of every class
// and no group is in two of them. Pure; thread safe.
//
//   std::vector<int32_t> fold = StratifiedFolds(
//       {.classes = classes, .class_count = 2, .groups = groups},
//       /*shares=*/{0.2, 0.2, 0.2, 0.2, 0.2}, key);
#ifndef DISSONANCE_COMPUTE_PROBE_STRATIFIED_FOLDS_H_
#define DISSONANCE_COMPUTE_PROBE_STRATIFIED_FOLDS_H_

#include <cstdint>
#include <vector>

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

}  // namespace dissonance

#endif  // DISSONANCE_COMPUTE_PROBE_STRATIFIED_FOLDS_H_
