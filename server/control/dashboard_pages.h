// The dashboard's own files, which are part of the program: pages, style and
// scripts. They hold nothing of anybody's and are given to whoever asks. Thread
// safe.
//
//   routes.gets.merge(DashboardPages());
#ifndef DISSONANCE_SERVER_CONTROL_DASHBOARD_PAGES_H_
#define DISSONANCE_SERVER_CONTROL_DASHBOARD_PAGES_H_

#include <functional>
#include <map>
#include <string>

#include "server/control/http_server.h"

namespace dissonance {

// "/" and "/jobs/*" are the page, "/report" the frame that shows a report in
// an origin of its own. A client that has a file already, by its ETag, is told
// so.
std::map<std::string, HttpHandler, std::less<>> DashboardPages();

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_DASHBOARD_PAGES_H_
