// What a power cut would leave of a folder: of each file the bytes of its last
// fsync, of each folder the names of its last fsync. Files that were never
// flushed are left empty. The process's fsync and fdatasync are replaced by
// ones that note this, also for libraries, so link it into binaries of its own.
//
// Thread safe. Notes from its making until Stop; one at a time.
//
//   DurableDisk disk(folder.path());
//   ASSERT_TRUE(WriteFileAtomically(folder.File("a"), "bytes").ok());
//   disk.Stop();
//   for (int cut = 0; cut <= disk.sync_count(); ++cut) {
//     const TempFolder left;
//     disk.WriteTo(left.path(), cut);
//   }
#ifndef DISSONANCE_TESTS_TESTING_DURABLE_DISK_H_
#define DISSONANCE_TESTS_TESTING_DURABLE_DISK_H_

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace dissonance {

class DurableDisk {
 public:
  // `root` has to be there; what it holds by then is not durable.
  explicit DurableDisk(const std::string& root);
  ~DurableDisk();
  DurableDisk(const DurableDisk&) = delete;
  DurableDisk& operator=(const DurableDisk&) = delete;

  void Stop();
  // How many files and folders were flushed so far.
  int sync_count() const;
  // Makes in the empty folder `path` what a power cut after the first
  // `sync_count` flushes would leave of the root.
  void WriteTo(const std::string& path, int sync_count) const;
  // From now on a flush of what has `part` in its path fails with EIO; empty:
  // none.
  void FailSyncsOf(const std::string& part);

  // What the replaced functions do: 0 to go on, or an error number.
  int OnSync(int fd);

 private:
  struct State {
    std::map<ino_t, std::shared_ptr<const std::string>> files;
    std::map<ino_t, std::map<std::string, ino_t>> folders;
  };

  static void WriteFolder(const State& state, ino_t folder,
                          const std::string& path);

  const std::string root_;
  const ino_t root_inode_;
  mutable absl::Mutex mutex_;
  std::string failing_ ABSL_GUARDED_BY(mutex_);
  // After so many flushes; the folders of the first are all empty.
  std::vector<State> states_ ABSL_GUARDED_BY(mutex_) = {State()};
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_TESTING_DURABLE_DISK_H_
