// The dashboard, a page for people on the HTTP port: its files, and under /api
// what it shows and does, as calls of the public API with the caller's token.
// So everybody sees what he sees over gRPC, within his token's scope and rate.
// docs/operations.md tells of it. Thread safe.
//
//   DashboardRoutes({.gate = api.gate(), .calls = api.local_calls(),
//                    .figures = ..., .trouble = ...})
#ifndef DISSONANCE_SERVER_CONTROL_DASHBOARD_API_H_
#define DISSONANCE_SERVER_CONTROL_DASHBOARD_API_H_

#include "server/control/dashboard_overview.h"
#include "server/control/http_server.h"

namespace dissonance {

//   GET  /, /jobs/ULID            the page, for anybody
//   GET  /api/overview            all that the first page shows
//   GET  /api/events              the same and its changes, as a stream
//   GET  /api/jobs/ULID           a job, without its data
//   GET  /api/jobs/ULID/events    its events, as a stream
//   GET  /api/artifacts/sha256:HEX  a file
//   POST /api/jobs/ULID/cancel, .../retry, .../pause, .../resume
//
// A POST is JSON, "{}", and from no other site. Borrows gate and calls.
HttpRoutes DashboardRoutes(const DashboardParts& parts);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_DASHBOARD_API_H_
