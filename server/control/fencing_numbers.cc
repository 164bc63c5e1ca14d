#include "server/control/fencing_numbers.h"

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr uint64_t kNumberLimitBytes = 64;
constexpr int kOwnerOnly = 0600;

absl::StatusOr<int64_t> NumberIn(const std::string& file) {
  const absl::StatusOr<std::string> text = ReadFile(file, kNumberLimitBytes);
  if (absl::IsNotFound(text.status())) return 0;
  RETURN_IF_ERROR(text.status());
  int64_t number = 0;
  if (absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &number)) {
    return number;
  }
  return absl::DataLossError(
      absl::StrCat(file,
                   " does not hold a number; write one into it that is greater "
                   "than any fencing number in the log"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<FencingNumbers>> FencingNumbers::Open(
    std::string file) {
  ASSIGN_OR_RETURN(const int64_t last, NumberIn(file));
  return std::unique_ptr<FencingNumbers>(
      new FencingNumbers(std::move(file), last));
}

absl::StatusOr<int64_t> FencingNumbers::Next() {
  const absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(
      WriteFileAtomically(file_, absl::StrCat(last_ + 1, "\n"), kOwnerOnly));
  return ++last_;
}

}  // namespace dissonance
