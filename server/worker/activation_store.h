// Answers of StreamActivations kept on disk by the digest of all that they
// depend on, so that the same question is computed once. Bounded in bytes; the
// least recently used answers go first. Nothing depends on the store: where
// the disk fails or is nearly full an answer is not kept, and a damaged one is
// told by its checksum, so nobody waits for the disk; files that have not
// changed since this process wrote them are read without. Thread safe; reads
// and writes files on the caller's thread. One process at a time owns a folder.
//
//   ASSIGN_OR_RETURN(auto store, ActivationStore::Open(folder, 4 << 30));
//   auto recording = store->Record(digest);
//   for (const auto& message : answer) recording->Add(message);
//   recording->Commit();
//   std::unique_ptr<ActivationStore::Reader> kept = store->Find(digest);
#ifndef DISSONANCE_SERVER_WORKER_ACTIVATION_STORE_H_
#define DISSONANCE_SERVER_WORKER_ACTIVATION_STORE_H_

#include <cstdint>
#include <fstream>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "dissonance/v1/interpretability.pb.h"
#include "google/protobuf/io/zero_copy_stream_impl.h"
#include "src/base/sha256.h"

namespace dissonance {

class ActivationStore {
 public:
  using Message = v1::StreamActivationsResponse;

  // Keeps what an earlier process left in the folder, as far as it fits, and
  // removes what it was writing.
  static absl::StatusOr<std::unique_ptr<ActivationStore>> Open(
      std::string folder, int64_t limit_bytes);

  // An answer on its way into the store; dropped unless Commit is called.
  // Borrows the store. Not thread safe.
  class Recording {
   public:
    ~Recording();
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;

    // The next message. Once they are more than half of what the store holds,
    // or one can't be written, nothing is kept.
    void Add(const Message& message);
    // Call once, last.
    void Commit();

   private:
    friend class ActivationStore;
    Recording(ActivationStore& store, std::string digest);
    // False if it was dropped.
    bool Append(const Message& message);
    void Drop(absl::string_view why);

    ActivationStore& store_;
    const std::string digest_;
    const std::string temporary_;  // where it is until Commit
    std::ofstream file_;           // closed once dropped
    Sha256 checksum_;              // of all messages
    int64_t bytes_ = 0;
  };

  // A kept answer; stays readable if it is removed meanwhile. Not thread safe.
  class Reader {
   public:
    // The next message; false behind the last one. DATA_LOSS if the file turns
    // out to be damaged; what was read of it before must not be used.
    absl::StatusOr<bool> Next(Message& message);

   private:
    friend class ActivationStore;
    Reader(std::string path, int fd, bool checks)
        : path_(std::move(path)), checks_(checks), input_(fd) {
      input_.SetCloseOnDelete(true);
    }

    const std::string path_;
    const bool checks_;  // the checksum
    google::protobuf::io::FileInputStream input_;
    Sha256 checksum_;
  };

  std::unique_ptr<Recording> Record(const std::string& digest);
  // Null if there is none.
  std::unique_ptr<Reader> Find(const std::string& digest)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Removes an answer, e.g. one that is damaged.
  void Remove(const std::string& digest) ABSL_LOCKS_EXCLUDED(mutex_);

  // Of all answers, also those being recorded.
  int64_t bytes() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    int64_t bytes = 0;
    std::list<std::string>::iterator use;
    // When this process changed the file last; 0: it has not written it.
    int64_t own_time = 0;
  };

  ActivationStore(std::string folder, int64_t limit_bytes)
      : folder_(std::move(folder)), limit_bytes_(limit_bytes) {}

  std::string PathOf(const std::string& digest) const;
  std::string NewTemporary(const std::string& digest)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status TakeOver() ABSL_LOCKS_EXCLUDED(mutex_);
  // Makes room for a recording that grows; false if there is none.
  bool Reserve(int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  void Release(int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  // A recording that has reserved its bytes is in place now.
  void Insert(const std::string& digest, int64_t bytes)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Erase(const std::string& digest) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string folder_;
  const int64_t limit_bytes_;
  mutable absl::Mutex mutex_;
  int64_t next_recording_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::list<std::string> uses_ ABSL_GUARDED_BY(mutex_);  // least recent first
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_ACTIVATION_STORE_H_
