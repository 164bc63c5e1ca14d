#include "src/lab/storage/connection.h"

#include <sqlite3.h>

#include <utility>

#include "SQLiteCpp/Column.h"
#include "SQLiteCpp/Exception.h"
#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

int OpenFlags(Connection::Mode mode) {
  return mode == Connection::Mode::kReader
             ? SQLite::OPEN_READONLY
             : SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE;
}

}  // namespace

Connection::Connection(const std::string& path, Mode mode,
                       absl::Duration busy_timeout)
    : handle_(path, OpenFlags(mode),
              static_cast<int>(absl::ToInt64Milliseconds(busy_timeout))) {}

SQLite::Statement& Connection::Prepare(absl::string_view sql) {
  auto found = statements_.find(sql);
  if (found == statements_.end()) {
    std::string text(sql);
    auto statement = std::make_unique<SQLite::Statement>(handle_, text);
    found = statements_.emplace(std::move(text), std::move(statement)).first;
  }
  return *found->second;
}

Query::~Query() {
  // A statement that is not reset would hold its snapshot, and a failed one
  // reports its error again here.
  statement_.tryReset();
  statement_.clearBindings();
}

int64_t Query::Int(int index) const {
  return statement_.getColumn(index).getInt64();
}

double Query::Real(int index) const {
  return statement_.getColumn(index).getDouble();
}

std::string Query::Text(int index) const {
  return statement_.getColumn(index).getString();
}

std::optional<absl::Time> Query::Time(int index) const {
  if (statement_.isColumnNull(index)) return std::nullopt;
  return absl::FromUnixMicros(Int(index));
}

void Query::Bind(int index, absl::string_view value) {
  statement_.bind(index, std::string(value));
}

void Query::Bind(int index, Blob value) {
  // A null pointer would bind NULL instead of no bytes.
  const char* data = value.bytes.empty() ? "" : value.bytes.data();
  statement_.bindNoCopy(index, static_cast<const void*>(data),
                        static_cast<int>(value.bytes.size()));
}

void Query::Bind(int index, std::optional<absl::Time> value) {
  if (!value.has_value() || *value == absl::InfiniteFuture()) {
    statement_.bind(index);
  } else {
    statement_.bind(index, int64_t{absl::ToUnixMicros(*value)});
  }
}

absl::Status SqlStatus(const SQLite::Exception& error,
                       const std::string& path) {
  const std::string what = absl::StrCat("database ", path, ": ", error.what());
  switch (error.getErrorCode() & 0xff) {
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(absl::StrCat(
          what,
          "; nothing was changed: free space on its file system, then "
          "try again"));
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return absl::PermissionDeniedError(absl::StrCat(
          what,
          "; nothing was changed: make the file and its folder writable "
          "for this user and see that the file system is not mounted "
          "read-only"));
    case SQLITE_CANTOPEN:
      return absl::PermissionDeniedError(absl::StrCat(
          what,
          "; see that the folder is there and that this user may read "
          "and write in it"));
    case SQLITE_IOERR:
      return absl::InternalError(absl::StrCat(
          what, " (extended code ", error.getExtendedErrorCode(),
          "); nothing was changed: look for a full quota, a file size limit "
          "or a failing disk (dmesg), then try again"));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(
          absl::StrCat(what, "; ", RecoveryAdvice(path)));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::AbortedError(absl::StrCat(
          what,
          "; nothing was changed: another program holds the file, end "
          "it (e.g. an open sqlite3 shell) and try again"));
    case SQLITE_TOOBIG:
    case SQLITE_NOMEM:
      return absl::ResourceExhaustedError(
          absl::StrCat(what, "; nothing was changed"));
    default:
      return absl::InternalError(absl::StrCat(what, " (code ",
                                              error.getExtendedErrorCode(),
                                              "); nothing was changed"));
  }
}

std::string RecoveryAdvice(const std::string& path) {
  return absl::StrCat(
      "stop the server, keep a copy of the folder, then put a backup in place "
      "or salvage what can be read: sqlite3 ",
      path, " .recover | sqlite3 ", path,
      ".recovered, and move that over the old file");
}

}  // namespace dissonance
