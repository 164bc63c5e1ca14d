#include "tests/endurance/soak_calls.h"

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "src/base/sha256.h"
#include "tests/endurance/tiny_world.h"
#include "tests/server/server_fixture.h"

namespace dissonance {
namespace {

// Of a failure's message, so that those of one cause count as one.
constexpr size_t kMessageLimit = 300;
// Ids of the tiny model's tokenizer that are neither special nor out of range.
constexpr int kFirstToken = 10;
constexpr int kTokenCount = 1700;

}  // namespace

absl::Status SoakLedger::Compare(const std::string& request,
                                 const std::string& reply) {
  const std::string digest = Sha256Of(reply);
  const absl::MutexLock lock(&mutex_);
  ++compared_count_;
  const auto [first, is_new] = first_.emplace(request, digest);
  if (is_new || first->second == digest) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(request, ": the reply is not the first one's"));
}

void SoakLedger::Count(const std::string& kind, const absl::Status& status) {
  const absl::MutexLock lock(&mutex_);
  Tally& tally = tallies_[kind];
  if (status.ok()) {
    ++tally.ok;
    return;
  }
  ++tally.failed;
  ++failures_[absl::StrCat(kind, ": ",
                           status.ToString().substr(0, kMessageLimit))];
}

std::map<std::string, SoakLedger::Tally> SoakLedger::tallies() const {
  const absl::MutexLock lock(&mutex_);
  return tallies_;
}

std::vector<std::string> SoakLedger::failures() const {
  const absl::MutexLock lock(&mutex_);
  std::vector<std::string> out;
  for (const auto& [what, count] : failures_) {
    out.push_back(absl::StrCat(what, " (", count, " times)"));
  }
  return out;
}

int64_t SoakLedger::compared_count() const {
  const absl::MutexLock lock(&mutex_);
  return compared_count_;
}

std::vector<CallKind> CallKinds() {
  std::vector<CallKind> kinds = ComputeCallKinds();
  for (const CallKind& kind : RecordCallKinds()) kinds.push_back(kind);
  return kinds;
}

std::vector<CallKind> CallKindsNamed(absl::Span<const std::string> names) {
  std::vector<CallKind> kinds = CallKinds();
  std::erase_if(kinds, [names](const CallKind& kind) {
    return !names.empty() && !absl::c_linear_search(names, kind.name);
  });
  return kinds;
}

int Draw(const SoakCall& call, int limit) {
  return static_cast<int>(call.random() % static_cast<uint64_t>(limit));
}

v1::Variant VariantOf(int number) {
  v1::Variant variant;
  variant.set_model(kTinyModel);
  if (number % 3 == 1) variant.set_adapter(kTinyAdapter);
  if (number % 3 == 2) variant.set_adapter(kDropoutAdapter);
  return variant;
}

v1::Input PromptOf(int number) {
  v1::Input input;
  for (int t = 0; t < 16 + number * 7 % 64; ++t) {
    input.mutable_tokens()->add_ids(kFirstToken +
                                    (number * 31 + t * 13) % kTokenCount);
  }
  return input;
}

}  // namespace dissonance
