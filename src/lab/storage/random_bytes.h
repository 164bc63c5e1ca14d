// Random bytes of the operating system, good enough for secrets. Thread safe.
#ifndef DISSONANCE_LAB_STORAGE_RANDOM_BYTES_H_
#define DISSONANCE_LAB_STORAGE_RANDOM_BYTES_H_

#include <cstddef>
#include <string>

namespace dissonance {

// `count` random bytes, at most 256. Ends the process if the system has none
// to give: nothing safe could follow.
std::string RandomBytes(size_t count);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_RANDOM_BYTES_H_
