// The server's one database, <data_dir>/dissonance.db, and the lock that keeps
// a second server off the same folder. SQLite in WAL mode, synchronous=FULL:
// what Write returned OK for survives a power cut. One connection writes,
// under a mutex; readers have their own and never wait for it. SQL is written
// in this folder only; everybody else uses the stores: JobStore, ModelStore,
// TokenStore, ArtifactIndex. Thread safe. Owns the lock and the connections;
// must outlive the stores over it.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<Database> database,
//                    Database::Open({.data_dir = "/var/lib/dissonance"}));
//   JobStore jobs(*database);
//   TokenStore tokens(*database);
#ifndef DISSONANCE_LAB_STORAGE_DATABASE_H_
#define DISSONANCE_LAB_STORAGE_DATABASE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "src/lab/storage/data_dir_lock.h"
#include "src/lab/storage/migrations.h"

namespace dissonance {

class Connection;

class Database {
 public:
  struct Options {
    // Made with mode 0700 if missing.
    std::string data_dir = {};
    // Whether a database of an older release is brought up to date; without it
    // such a database is refused. Before the first step a copy is made beside
    // it, <path>.schema-N.backup, N being the version that it has.
    bool allow_upgrade = false;
    // Whether a missing database is NOT_FOUND instead of made.
    bool must_exist = false;
    // How long a statement waits for a lock held by another program.
    absl::Duration busy_timeout = absl::Seconds(5);
    // The schema's history. Only tests give another one.
    absl::Span<const Migration> migrations = Migrations();
  };

  // Takes the folder's lock, then opens or makes the database. Every refusal
  // says what to do: FAILED_PRECONDITION for a folder that another process
  // uses (with its pid), a database of a newer or older release, or one that
  // another program made; DATA_LOSS for a damaged one; PERMISSION_DENIED or
  // RESOURCE_EXHAUSTED (disk full) with the path. A refused file is unchanged.
  static absl::StatusOr<std::unique_ptr<Database>> Open(Options options);

  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Runs `body` in one write transaction and commits it durably if it returns
  // OK; else nothing of it is kept. SQLite's exceptions become a Status here.
  // `body` must not call Write or Read.
  absl::Status Write(absl::FunctionRef<absl::Status(Connection&)> body);

  // Runs `body` on one consistent snapshot that holds every finished Write.
  absl::Status Read(absl::FunctionRef<absl::Status(Connection&)> body);

  // Writes all that is committed now to a new file, as one database without a
  // log, durably. Writers go on meanwhile and wait for nothing; their log grows
  // by what they write. ALREADY_EXISTS if there is a file. DATA_LOSS if the
  // database is damaged: unlike a copy of its bytes, this reads all of it.
  absl::Status BackupTo(const std::string& path);

  // Absolute where data_dir was.
  const std::string& path() const { return path_; }
  const std::string& data_dir() const { return data_dir_; }

 private:
  Database(const Options& options, DataDirLock lock);

  absl::Status OpenWriter(const Options& options);
  absl::StatusOr<std::unique_ptr<Connection>> TakeReader();

  const std::string data_dir_;
  const std::string path_;
  const absl::Duration busy_timeout_;
  const DataDirLock lock_;
  absl::Mutex write_mutex_;
  std::unique_ptr<Connection> writer_ ABSL_GUARDED_BY(write_mutex_)
      ABSL_PT_GUARDED_BY(write_mutex_);
  absl::Mutex readers_mutex_;
  std::vector<std::unique_ptr<Connection>> idle_readers_
      ABSL_GUARDED_BY(readers_mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_DATABASE_H_
