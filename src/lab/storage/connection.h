// One SQLite connection with its prepared statements, and the one way to run
// them. Private to this folder. Not thread safe: Database hands a connection
// to one thread at a time. Throws SQLite::Exception; Database::Write and Read
// turn that into a Status.
//
//   Query query(connection, "SELECT spec FROM jobs WHERE name = ?", name);
//   if (!query.Next()) return absl::NotFoundError(...);
//   spec.ParseFromString(query.Bytes(0));
#ifndef DISSONANCE_LAB_STORAGE_CONNECTION_H_
#define DISSONANCE_LAB_STORAGE_CONNECTION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "SQLiteCpp/Database.h"
#include "SQLiteCpp/Statement.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace dissonance {

class Connection {
 public:
  enum class Mode { kWriter, kReader };

  Connection(const std::string& path, Mode mode, absl::Duration busy_timeout);

  // Compiled on its first use, kept for the connection's life.
  SQLite::Statement& Prepare(absl::string_view sql);
  // Runs statements that take no parameters.
  void Execute(const std::string& sql) { handle_.exec(sql); }
  // Ends the transaction, if one is open, without its changes. Never throws.
  void Rollback() noexcept { handle_.tryExec("ROLLBACK"); }

 private:
  SQLite::Database handle_;
  std::map<std::string, std::unique_ptr<SQLite::Statement>, std::less<>>
      statements_;
};

// A parameter that is bytes, not text.
struct Blob {
  absl::string_view bytes;
};

// One run of a statement. At most one at a time for the same SQL. Blob
// parameters must outlive it.
class Query {
 public:
  // Binds `parameters` to the question marks, in order.
  template <typename... Parameters>
  Query(Connection& connection, absl::string_view sql,
        const Parameters&... parameters)
      : statement_(connection.Prepare(sql)) {
    int index = 0;
    (Bind(++index, parameters), ...);
  }
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  // Steps to the next row; false after the last.
  bool Next() { return statement_.executeStep(); }
  // Runs to the end; returns the number of rows changed.
  int Run() { return statement_.exec(); }

  // Column `index` (from 0) of the row.
  int64_t Int(int index) const;
  int32_t Int32(int index) const { return static_cast<int32_t>(Int(index)); }
  double Real(int index) const;
  std::string Text(int index) const;
  std::string Bytes(int index) const { return Text(index); }
  std::optional<absl::Time> Time(int index) const;

 private:
  void Bind(int index, int32_t value) { statement_.bind(index, value); }
  void Bind(int index, int64_t value) { statement_.bind(index, value); }
  void Bind(int index, double value) { statement_.bind(index, value); }
  void Bind(int index, absl::string_view value);
  void Bind(int index, Blob value);
  // Microseconds since 1970; NULL for nullopt and InfiniteFuture.
  void Bind(int index, std::optional<absl::Time> value);

  SQLite::Statement& statement_;
};

// A failure of SQLite as a Status: what, which file, what to do next.
absl::Status SqlStatus(const SQLite::Exception& error, const std::string& path);

// What to do about a damaged database.
std::string RecoveryAdvice(const std::string& path);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_CONNECTION_H_
