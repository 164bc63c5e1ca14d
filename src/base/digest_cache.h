// Digests of large files, remembered across restarts as long as the files do
// not change. A file counts as unchanged while its device, inode, length and
// times of modification and of status change stay the same, as in git's index;
// so a write that sets the times back is noticed too. Thread safe.
//
//   DigestCache cache("data/digests.json");
//   ASSIGN_OR_RETURN(std::string digest,
//                    cache.DigestOf(fd, path, [&] { return Hash(fd); }));
#ifndef DISSONANCE_BASE_DIGEST_CACHE_H_
#define DISSONANCE_BASE_DIGEST_CACHE_H_

#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "src/base/clock.h"

namespace dissonance {

class DigestCache {
 public:
  // Kept in the JSON file `path`. One that is missing or damaged is empty:
  // everything is computed anew. Borrows the clock.
  explicit DigestCache(std::string path, const Clock& clock = Clock::Real());

  // The digest of the open file `fd`, known under `name`: a remembered one, or
  // else what `compute` returns, which is remembered unless the file was
  // changed meanwhile or in the last seconds before. Errors are `compute`'s.
  absl::StatusOr<std::string> DigestOf(
      int fd, const std::string& name,
      absl::FunctionRef<absl::StatusOr<std::string>()> compute)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    std::string stamp;
    std::string digest;
  };

  void Keep(const std::string& name, Entry entry) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string path_;
  const Clock& clock_;
  absl::Mutex mutex_;
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_BASE_DIGEST_CACHE_H_
