#include "src/lab/jobs/ulid.h"

#include <algorithm>

#include "absl/time/time.h"
#include "src/lab/storage/random_bytes.h"

namespace dissonance {
namespace {

constexpr absl::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr size_t kLength = 26;
constexpr size_t kTimeBytes = 6;

using Bytes = std::array<uint8_t, 16>;

uint64_t MillisecondsOf(const Bytes& bytes) {
  uint64_t milliseconds = 0;
  for (size_t i = 0; i < kTimeBytes; ++i) {
    milliseconds = milliseconds << 8 | bytes.at(i);
  }
  return milliseconds;
}

// The number, written with 5 bits a character, two zero bits in front.
std::string Encode(const Bytes& bytes) {
  std::string text(kLength, '0');
  for (size_t i = 0; i < kLength; ++i) {
    unsigned int digit = 0;
    for (size_t bit = 5 * i; bit < 5 * i + 5; ++bit) {
      digit <<= 1;
      if (bit < 2) continue;
      const size_t at = bit - 2;
      digit |= bytes.at(at / 8) >> (7 - at % 8) & 1U;
    }
    text.at(i) = kAlphabet.at(digit);
  }
  return text;
}

// REQUIRES: IsUlid(text).
Bytes Decode(absl::string_view text) {
  Bytes bytes{};
  for (size_t i = 0; i < kLength; ++i) {
    const size_t digit = kAlphabet.find(text.at(i));
    for (size_t bit = std::max<size_t>(5 * i, 2); bit < 5 * i + 5; ++bit) {
      const size_t at = bit - 2;
      const auto value = static_cast<uint8_t>(digit >> (5 * i + 4 - bit) & 1U);
      bytes.at(at / 8) |= static_cast<uint8_t>(value << (7 - at % 8));
    }
  }
  return bytes;
}

}  // namespace

bool IsUlid(absl::string_view text) {
  // 128 bits: the first character holds three of them.
  return text.size() == kLength && text.front() <= '7' &&
         text.find_first_not_of(kAlphabet) == absl::string_view::npos;
}

UlidGenerator::UlidGenerator(const Clock& clock, absl::string_view after)
    : clock_(clock) {
  if (IsUlid(after)) last_ = Decode(after);
}

std::string UlidGenerator::Next() {
  const auto now = static_cast<uint64_t>(
      std::max<int64_t>(absl::ToUnixMillis(clock_.Now()), 0));
  absl::MutexLock lock(&mutex_);
  if (now > MillisecondsOf(last_)) {
    for (size_t i = 0; i < kTimeBytes; ++i) {
      last_.at(i) =
          static_cast<uint8_t>(now >> (8 * (kTimeBytes - 1 - i)) & 0xff);
    }
    const std::string random = RandomBytes(last_.size() - kTimeBytes);
    std::copy(random.begin(), random.end(), last_.begin() + kTimeBytes);
  } else {
    // A carry out of the random part goes into the time: still greater.
    for (size_t i = last_.size(); i-- > 0 && ++last_.at(i) == 0;) {
    }
  }
  return Encode(last_);
}

}  // namespace dissonance
