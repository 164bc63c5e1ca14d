// Numbers spread over 64 bits: seeds of independent streams from counters.
// Thread safe.
#ifndef DISSONANCE_BASE_MIX_H_
#define DISSONANCE_BASE_MIX_H_

#include <cstdint>

namespace dissonance {

// SplitMix64 (Steele, Lea & Flood 2014).
constexpr uint64_t Mix(uint64_t value) {
  value += 0x9E3779B97F4A7C15ULL;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31);
}

}  // namespace dissonance

#endif  // DISSONANCE_BASE_MIX_H_
