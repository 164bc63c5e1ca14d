#include "src/lab/storage/random_bytes.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace dissonance {

std::string RandomBytes(size_t count) {
  std::string bytes(count, '\0');
  ssize_t n = 0;
  do {
    n = ::getrandom(bytes.data(), count, 0);
  } while (n < 0 && errno == EINTR);
  if (n != static_cast<ssize_t>(count)) {
    std::perror("getrandom");
    std::abort();
  }
  return bytes;
}

}  // namespace dissonance
