#include "server/control/control_figures.h"

#include <sys/statvfs.h>

#include <map>
#include <string>
#include <utility>

#include "server/control/job_maintenance.h"
#include "src/lab/jobs/job_state.h"

namespace dissonance {
namespace {

constexpr v1::JobState kStates[] = {
    v1::JOB_STATE_QUEUED,    v1::JOB_STATE_WAITING, v1::JOB_STATE_RUNNING,
    v1::JOB_STATE_SUCCEEDED, v1::JOB_STATE_FAILED,  v1::JOB_STATE_CANCELLING,
    v1::JOB_STATE_CANCELLED, v1::JOB_STATE_PAUSING, v1::JOB_STATE_PAUSED,
};

MetricFamily Gauge(std::string name, std::string help, double value) {
  return {.name = std::move(name),
          .help = std::move(help),
          .samples = {{.value = value}}};
}

MetricFamily JobsByState(const std::map<v1::JobState, int64_t>& counts) {
  MetricFamily family = {.name = "dissonance_jobs",
                         .help = "Jobs in the database, by state."};
  for (const v1::JobState state : kStates) {
    const auto found = counts.find(state);
    family.samples.push_back(
        {.labels = {{"state", StateName(state)}},
         .value =
             found == counts.end() ? 0.0 : static_cast<double>(found->second)});
  }
  return family;
}

void AddUsers(UsageLedger& ledger, std::vector<MetricFamily>& families) {
  MetricFamily week = {
      .name = "dissonance_user_device_seconds_week",
      .help = "Device seconds of the last seven days, by user."};
  MetricFamily share = {
      .name = "dissonance_user_decayed_device_seconds",
      .help = "Device seconds that count when turns are taken, by user."};
  for (const auto& [user, use] : ledger.All()) {
    week.samples.push_back(
        {.labels = {{"user", user}}, .value = use.week_seconds});
    share.samples.push_back(
        {.labels = {{"user", user}}, .value = use.decayed_seconds});
  }
  families.push_back(std::move(week));
  families.push_back(std::move(share));
}

}  // namespace

std::vector<MetricFamily> ControlFigures(Records& records,
                                         const ControlCounts& counts) {
  std::vector<MetricFamily> families;
  if (const auto jobs = records.queue.CountByState(); jobs.ok()) {
    families.push_back(JobsByState(*jobs));
  }
  families.push_back(Gauge("dissonance_running_jobs",
                           "Jobs that a thread works on.",
                           static_cast<double>(counts.running_jobs)));
  families.push_back(Gauge("dissonance_calls", "RPCs in flight.",
                           static_cast<double>(counts.calls)));
  if (const auto totals = records.artifact_index.Totals(); totals.ok()) {
    families.push_back(Gauge("dissonance_artifact_bytes",
                             "Bytes of all artifacts.",
                             static_cast<double>(totals->bytes)));
  }
  struct statvfs disk {};
  if (::statvfs(records.database->data_dir().c_str(), &disk) == 0) {
    families.push_back(
        Gauge("dissonance_disk_free_bytes",
              "Free bytes on the file system of the data directory.",
              static_cast<double>(disk.f_bavail) *
                  static_cast<double>(disk.f_frsize)));
  }
  if (const auto maintenance = records.settings.Get(kMaintenanceSetting);
      maintenance.ok()) {
    families.push_back(Gauge("dissonance_maintenance",
                             "Whether jobs are not started on request.",
                             maintenance->empty() ? 0 : 1));
  }
  AddUsers(*records.ledger, families);
  return families;
}

}  // namespace dissonance
