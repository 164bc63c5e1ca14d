#include "client/cli/detached.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace dissonance::cli {
namespace {

constexpr char kUrl[] = "dissonance/detached";

}  // namespace

absl::Status DetachedFrom(absl::string_view job) {
  absl::Status status =
      absl::CancelledError(absl::StrCat("detached from ", job));
  status.SetPayload(kUrl, absl::Cord());
  return status;
}

bool IsDetached(const absl::Status& status) {
  return status.GetPayload(kUrl).has_value();
}

}  // namespace dissonance::cli
