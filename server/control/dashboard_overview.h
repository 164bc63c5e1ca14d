// What the dashboard's first page shows, part by part, as the caller of the
// public API sees it. Not thread safe. Borrows the parts.
//
//   Overview overview(parts, "Bearer ...");
//   ASSIGN_OR_RETURN(const auto changed, overview.Changes());
//   for (const auto& [part, json] : changed) ...
#ifndef DISSONANCE_SERVER_CONTROL_DASHBOARD_OVERVIEW_H_
#define DISSONANCE_SERVER_CONTROL_DASHBOARD_OVERVIEW_H_

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dissonance/v1/admin.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "nlohmann/json.hpp"
#include "server/control/auth.h"
#include "server/control/local_calls.h"
#include "server/control/metrics_server.h"

namespace dissonance {

struct DashboardParts {
  AuthGate& gate;
  LocalCalls& calls;
  // Asked at each request: has to be quick.
  std::function<std::vector<WorkerFigures>()> figures;
  // Why the server does not serve; empty while it does.
  std::function<std::string()> trouble;
};

class Overview {
 public:
  // Of queued jobs, those that are told with their place: the oldest.
  static constexpr int kPlaced = 20;

  Overview(const DashboardParts& parts, std::string authorization)
      : parts_(parts), authorization_(std::move(authorization)) {}

  using Part = std::pair<std::string, nlohmann::json>;
  // The parts that are not as they were told last, at first all: "server",
  // "figures", "jobs", "models", "users". What changes seldom is looked at
  // each few calls only. An error is what a call of the API ended with.
  absl::StatusOr<std::vector<Part>> Changes();

  // Who asks, once Changes() was called: "users/USER".
  const std::string& user() const { return caller_.user(); }

 private:
  absl::Status AddServer();
  absl::Status AddJobs();
  absl::Status AddModels();
  absl::Status AddUsers();
  void AddFigures();
  // Adds jobs of a state to `jobs`; whether there are more.
  absl::StatusOr<bool> ListJobs(v1::JobState state, int most,
                                std::vector<v1::Job>& jobs);
  // Fills in where the oldest of `queued` are in the queue.
  absl::Status AddPlaces(std::vector<v1::Job>& queued);
  void Add(const std::string& part, nlohmann::json json);

  const DashboardParts parts_;
  const std::string authorization_;
  v1::Caller caller_;
  int calls_ = 0;                            // of Changes()
  std::map<std::string, std::string> told_;  // digests by part
  std::vector<Part> changed_;
  std::map<std::string, v1::QueueStatus> places_;  // by job
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_DASHBOARD_OVERVIEW_H_
