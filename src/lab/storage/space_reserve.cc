#include "src/lab/storage/space_reserve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dissonance {

void SpaceReserve::Hold() {
  const absl::MutexLock lock(&mutex_);
  struct stat file {};
  const bool held = ::stat(path_.c_str(), &file) == 0 && file.st_size == kBytes;
  if (held) return;
  const int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return;
  const bool taken = ::posix_fallocate(fd, 0, kBytes) == 0;
  ::close(fd);
  if (!taken) ::unlink(path_.c_str());
}

bool SpaceReserve::Release() {
  const absl::MutexLock lock(&mutex_);
  return ::unlink(path_.c_str()) == 0;
}

}  // namespace dissonance
