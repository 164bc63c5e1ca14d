#include "src/lab/docgen/near_duplicates.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "src/base/mix.h"

namespace dissonance {
namespace {

constexpr size_t kHashes = 128;
constexpr size_t kBandRows = 4;
constexpr size_t kShingleWords = 5;

using Signature = std::array<uint64_t, kHashes>;

// FNV-1a, the same on every machine.
uint64_t HashOf(absl::string_view word) {
  uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : word) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  }
  return hash;
}

Signature SignatureOf(const std::string& text) {
  const std::string lower = absl::AsciiStrToLower(text);
  std::vector<uint64_t> words;
  for (const absl::string_view word :
       absl::StrSplit(lower, absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty())) {
    words.push_back(HashOf(word));
  }
  Signature signature;
  signature.fill(std::numeric_limits<uint64_t>::max());
  const size_t length = std::min(kShingleWords, words.size());
  for (size_t begin = 0; length > 0 && begin + length <= words.size();
       ++begin) {
    uint64_t shingle = 0;
    for (size_t i = 0; i < length; ++i) {
      shingle = Mix(shingle ^ words[begin + i]);
    }
    for (size_t i = 0; i < kHashes; ++i) {
      signature[i] = std::min(signature[i], Mix(shingle ^ Mix(i)));
    }
  }
  return signature;
}

double Similarity(const Signature& a, const Signature& b) {
  size_t equal = 0;
  for (size_t i = 0; i < kHashes; ++i) equal += a[i] == b[i] ? 1 : 0;
  return static_cast<double>(equal) / kHashes;
}

}  // namespace

std::vector<NearDuplicate> FindNearDuplicates(
    absl::Span<const std::string> texts, double threshold) {
  std::vector<Signature> signatures;
  signatures.reserve(texts.size());
  for (const std::string& text : texts) {
    signatures.push_back(SignatureOf(text));
  }
  // Of each band and its hashes the first text that had them.
  std::map<std::pair<size_t, uint64_t>, std::vector<size_t>> bands;
  std::vector<NearDuplicate> found;
  for (size_t text = 0; text < texts.size(); ++text) {
    std::set<size_t> candidates;
    std::vector<std::vector<size_t>*> own;
    for (size_t band = 0; band < kHashes / kBandRows; ++band) {
      uint64_t key = 0;
      for (size_t i = 0; i < kBandRows; ++i) {
        key = Mix(key ^ signatures[text][band * kBandRows + i]);
      }
      own.push_back(&bands[{band, key}]);
      candidates.insert(own.back()->begin(), own.back()->end());
    }
    bool is_duplicate = false;
    for (const size_t other : candidates) {
      const double similarity = Similarity(signatures[other], signatures[text]);
      if (similarity < threshold) continue;
      found.push_back(
          {.first = other, .second = text, .similarity = similarity});
      is_duplicate = true;
      break;
    }
    // What is like it is like the one before, too.
    if (is_duplicate) continue;
    for (std::vector<size_t>* band : own) band->push_back(text);
  }
  std::sort(found.begin(), found.end(),
            [](const NearDuplicate& a, const NearDuplicate& b) {
              return std::pair(a.first, a.second) <
                     std::pair(b.first, b.second);
            });
  return found;
}

}  // namespace dissonance
