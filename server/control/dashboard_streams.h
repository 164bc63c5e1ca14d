// What the dashboard streams: server-sent events of the first page and of one
// job, and artifacts. Each is made while its client reads it, so one that does
// not read holds a piece and no more; it ends when the client goes away, its
// token ends or the server drains. Thread safe.
//
//   DashboardStreams streams(parts);
//   return streams.Overview(http);
#ifndef DISSONANCE_SERVER_CONTROL_DASHBOARD_STREAMS_H_
#define DISSONANCE_SERVER_CONTROL_DASHBOARD_STREAMS_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/control/dashboard_overview.h"
#include "server/control/http_server.h"
#include "server/control/stream_seats.h"

namespace dissonance {

class DashboardStreams {
 public:
  explicit DashboardStreams(const DashboardParts& parts) : parts_(parts) {}

  // Events "server", "figures", "jobs", "models" and "users" as they change.
  // The last one is "error", unless the client went away.
  absl::StatusOr<HttpResponse> Overview(const HttpRequest& http);

  // Events "event" of the job that `http.name` names, after the one of the
  // header Last-Event-ID, and "job" when it has ended, or "error".
  absl::StatusOr<HttpResponse> Job(const HttpRequest& http);

  // The bytes of the artifact that `http.name` names, never as a page.
  absl::StatusOr<HttpResponse> Artifact(const HttpRequest& http);

 private:
  absl::StatusOr<StreamSeats::Seat> SeatOf(const HttpRequest& http);

  const DashboardParts parts_;
  StreamSeats seats_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_DASHBOARD_STREAMS_H_
