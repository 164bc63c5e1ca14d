// Who changed what. Rows are only ever added. Thread safe. Borrows the
// database.
//
//   RETURN_IF_ERROR(audit.Append(event));   // durable when it returns
#ifndef DISSONANCE_LAB_STORAGE_AUDIT_LOG_H_
#define DISSONANCE_LAB_STORAGE_AUDIT_LOG_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/admin.pb.h"
#include "src/lab/storage/database.h"

namespace dissonance {

class AuditLog {
 public:
  explicit AuditLog(Database& database) : database_(database) {}

  // Durably adds an event; its number is given by the log.
  absl::Status Append(const v1::AuditEvent& event);
  // Newest first, numbers below `before` (0: from the newest), of `user`
  // ("users/USER"; empty: everybody), at most `limit`.
  absl::StatusOr<std::vector<v1::AuditEvent>> List(absl::string_view user,
                                                   int64_t before, int limit);

 private:
  Database& database_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_AUDIT_LOG_H_
