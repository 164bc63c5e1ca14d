#include "src/lab/storage/database.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "SQLiteCpp/Exception.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/base/log.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/connection.h"

namespace dissonance {
namespace {

// Readers beyond this many are closed after use.
constexpr size_t kMaxIdleReaders = 8;
constexpr char kDatabaseName[] = "/dissonance.db";

std::string AbsolutePath(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute =
      std::filesystem::absolute(path, error).lexically_normal();
  return absolute.has_filename() ? absolute : absolute.parent_path();
}

absl::Status MakeDataDirectory(const std::string& data_dir) {
  if (data_dir.empty()) {
    return absl::InvalidArgumentError("data_dir is empty: name a folder");
  }
  std::error_code error;
  if (std::filesystem::exists(data_dir, error)) return absl::OkStatus();
  if (error) {
    return absl::ErrnoToStatus(
        error.value(),
        absl::StrCat("cannot look at data directory ", data_dir));
  }
  RETURN_IF_ERROR(MakeDirectories(data_dir));
  if (::chmod(data_dir.c_str(), 0700) != 0) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot set mode of ", data_dir));
  }
  return SyncDirectory(std::filesystem::path(data_dir).parent_path());
}

absl::Status CheckIsThere(const std::string& data_dir) {
  std::error_code error;
  if (std::filesystem::exists(data_dir + kDatabaseName, error)) {
    return absl::OkStatus();
  }
  return absl::NotFoundError(
      absl::StrCat("there is no database in ", data_dir,
                   ": name the data directory of a server with --data-dir"));
}

absl::Status UseWriteAheadLog(Connection& writer, const std::string& path) {
  Query mode(writer, "PRAGMA journal_mode = WAL");
  if (mode.Next() && mode.Text(0) == "wal") return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "database ", path,
      ": its file system cannot hold a write-ahead log "
      "(a network file system?): use a --data-dir on a local disk"));
}

absl::Status RunTransaction(Connection& connection, const std::string& begin,
                            const std::string& path,
                            absl::FunctionRef<absl::Status(Connection&)> body) {
  try {
    connection.Execute(begin);
    absl::Cleanup rollback = [&connection] { connection.Rollback(); };
    RETURN_IF_ERROR(body(connection));
    connection.Execute("COMMIT");
    std::move(rollback).Cancel();
    return absl::OkStatus();
  } catch (const SQLite::Exception& error) {
    return SqlStatus(error, path);
  }
}

// A new file for this user only. ALREADY_EXISTS if there is one.
absl::Status MakeEmptyFile(const std::string& path) {
  const int fd =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0) {
    ::close(fd);
    return absl::OkStatus();
  }
  if (errno == EEXIST) {
    return absl::AlreadyExistsError(
        absl::StrCat(path, " exists: give another name, or remove it first"));
  }
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", path));
}

absl::Status SyncFile(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
  const absl::Cleanup close_fd = [fd] { ::close(fd); };
  if (::fsync(fd) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot flush ", path));
}

// Not SQLite's backup of pages: that copies damage and free pages with the
// rest. One statement is one snapshot, so nothing that is written meanwhile
// makes it begin again.
absl::Status CopyInto(Connection& connection, const std::string& path) {
  RETURN_IF_ERROR(MakeEmptyFile(path));
  absl::Cleanup remove = [&path] { ::unlink(path.c_str()); };
  Query(connection, "VACUUM INTO ?", absl::string_view(path)).Run();
  RETURN_IF_ERROR(SyncFile(path));
  RETURN_IF_ERROR(SyncDirectory(std::filesystem::path(path).parent_path()));
  std::move(remove).Cancel();
  return absl::OkStatus();
}

int64_t SchemaVersion(Connection& connection) {
  Query query(connection, "PRAGMA user_version");
  return query.Next() ? query.Int(0) : 0;
}

// What an upgrade changes can't be changed back. Replaces the copy of an
// earlier try: the database may have been used since.
absl::Status CopyBeforeUpgrade(Connection& connection, const std::string& path,
                               int64_t newest) {
  const int64_t version = SchemaVersion(connection);
  if (version == 0 || version >= newest) return absl::OkStatus();
  const std::string copy = absl::StrCat(path, ".schema-", version, ".backup");
  const std::string unfinished = copy + ".tmp.upgrade";
  ::unlink(unfinished.c_str());
  RETURN_IF_ERROR(CopyInto(connection, unfinished));
  if (::rename(unfinished.c_str(), copy.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot replace ", copy));
  }
  RETURN_IF_ERROR(SyncDirectory(std::filesystem::path(path).parent_path()));
  Log(LogLevel::kInfo, "copied the database before its upgrade",
      {{"copy", copy}, {"from_schema", version}, {"to_schema", newest}});
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> Database::Open(Options options) {
  options.data_dir = AbsolutePath(options.data_dir);
  if (options.must_exist) RETURN_IF_ERROR(CheckIsThere(options.data_dir));
  RETURN_IF_ERROR(MakeDataDirectory(options.data_dir));
  ASSIGN_OR_RETURN(DataDirLock lock, DataDirLock::Acquire(options.data_dir));
  std::unique_ptr<Database> database(new Database(options, std::move(lock)));
  RETURN_IF_ERROR(database->OpenWriter(options));
  RETURN_IF_ERROR(SyncDirectory(options.data_dir));
  return database;
}

Database::Database(const Options& options, DataDirLock lock)
    : data_dir_(options.data_dir),
      path_(options.data_dir + kDatabaseName),
      busy_timeout_(options.busy_timeout),
      lock_(std::move(lock)) {}

Database::~Database() {
  // The writer goes last: closing the last connection tidies the WAL up.
  absl::MutexLock lock(&readers_mutex_);
  idle_readers_.clear();
}

absl::Status Database::OpenWriter(const Options& options) {
  absl::MutexLock lock(&write_mutex_);
  try {
    auto writer = std::make_unique<Connection>(path_, Connection::Mode::kWriter,
                                               busy_timeout_);
    RETURN_IF_ERROR(
        CheckSchema(*writer, path_, options.migrations, options.allow_upgrade));
    RETURN_IF_ERROR(UseWriteAheadLog(*writer, path_));
    writer->Execute("PRAGMA synchronous = FULL");
    writer->Execute("PRAGMA foreign_keys = ON");
    writer->Execute("PRAGMA trusted_schema = OFF");
    RETURN_IF_ERROR(CopyBeforeUpgrade(
        *writer, path_, static_cast<int64_t>(options.migrations.size())));
    ApplyMigrations(*writer, options.migrations);
    writer_ = std::move(writer);
    return absl::OkStatus();
  } catch (const SQLite::Exception& error) {
    return SqlStatus(error, path_);
  }
}

absl::Status Database::Write(
    absl::FunctionRef<absl::Status(Connection&)> body) {
  absl::MutexLock lock(&write_mutex_);
  return RunTransaction(*writer_, "BEGIN IMMEDIATE", path_, body);
}

absl::Status Database::Read(absl::FunctionRef<absl::Status(Connection&)> body) {
  ASSIGN_OR_RETURN(std::unique_ptr<Connection> reader, TakeReader());
  const absl::Status status = RunTransaction(*reader, "BEGIN", path_, body);
  absl::MutexLock lock(&readers_mutex_);
  if (idle_readers_.size() < kMaxIdleReaders) {
    idle_readers_.push_back(std::move(reader));
  }
  return status;
}

absl::Status Database::BackupTo(const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> reader, TakeReader());
  try {
    return CopyInto(*reader, path);
  } catch (const SQLite::Exception& error) {
    return Annotate(SqlStatus(error, path_),
                    absl::StrCat("cannot write the copy ", path));
  }
}

absl::StatusOr<std::unique_ptr<Connection>> Database::TakeReader() {
  {
    absl::MutexLock lock(&readers_mutex_);
    if (!idle_readers_.empty()) {
      std::unique_ptr<Connection> reader = std::move(idle_readers_.back());
      idle_readers_.pop_back();
      return reader;
    }
  }
  try {
    return std::make_unique<Connection>(path_, Connection::Mode::kReader,
                                        busy_timeout_);
  } catch (const SQLite::Exception& error) {
    return SqlStatus(error, path_);
  }
}

}  // namespace dissonance
