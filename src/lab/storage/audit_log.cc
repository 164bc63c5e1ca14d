#include "src/lab/storage/audit_log.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/connection.h"

namespace dissonance {
namespace {

using google::protobuf::util::TimeUtil;

v1::AuditEvent EventOfRow(const Query& query) {
  v1::AuditEvent event;
  event.set_number(query.Int(0));
  *event.mutable_time() = TimeUtil::MicrosecondsToTimestamp(query.Int(1));
  event.set_user(query.Text(2));
  event.set_token(query.Text(3));
  event.set_method(query.Text(4));
  event.set_resource(query.Text(5));
  event.set_code(query.Text(6));
  event.set_request_id(query.Text(7));
  event.set_peer(query.Text(8));
  return event;
}

}  // namespace

absl::Status AuditLog::Append(const v1::AuditEvent& event) {
  return database_.Write([&](Connection& connection) {
    Query(connection,
          "INSERT INTO audit (time, user, token, method, resource, code,"
          " request_id, peer) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
          int64_t{TimeUtil::TimestampToMicroseconds(event.time())},
          event.user(), event.token(), event.method(), event.resource(),
          event.code(), event.request_id(), event.peer())
        .Run();
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<v1::AuditEvent>> AuditLog::List(
    absl::string_view user, int64_t before, int limit) {
  if (before <= 0) before = std::numeric_limits<int64_t>::max();
  const std::string sql = absl::StrCat(
      "SELECT number, time, user, token, method, resource, code, request_id,"
      " peer FROM audit WHERE ",
      user.empty() ? "? = '' AND " : "user = ? AND ",
      "number < ? ORDER BY number DESC LIMIT ?");
  std::vector<v1::AuditEvent> events;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection, sql, user, before, limit);
    while (query.Next()) events.push_back(EventOfRow(query));
    return absl::OkStatus();
  }));
  return events;
}

}  // namespace dissonance
