#include "tests/endurance/storm.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "google/protobuf/util/time_util.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/job_store.h"
#include "tests/endurance/client.h"
#include "tests/endurance/job_checks.h"
#include "tests/endurance/job_mix.h"
#include "tests/endurance/run_folder.h"
#include "tests/endurance/statistics.h"
#include "tests/endurance/storm_clients.h"
#include "tests/endurance/storm_server.h"
#include "tests/endurance/tiny_world.h"

namespace dissonance {
namespace {

// Small batches and several jobs at a time: more moments to be killed in. That
// the worker is lost over and over is meant here, so neither the pause before
// its next start grows nor does a job give up.
constexpr char kConfig[] =
    "[jobs]\nconcurrent = 2\nmcq_questions_per_batch = 2\nlost_limit = 1000\n"
    "[worker]\nmax_backoff_seconds = 0.2\n";

using Digests = std::map<std::string, std::string>;

ServerProcess::Options ServerOn(const std::string& data_dir) {
  return {.data_dir = data_dir, .config = kConfig};
}

absl::Status Prepare(const std::string& data_dir, const std::string& adapter) {
  std::filesystem::create_directory(data_dir);
  ServerProcess server(ServerOn(data_dir));
  if (!server.AwaitServing()) return absl::UnavailableError("no server");
  RETURN_IF_ERROR(LoadTinyWorldWithDropout(server, adapter));
  return server.Stop() == 0 ? absl::OkStatus()
                            : absl::InternalError("no clean stop");
}

// The files of each planned job when nothing interrupts it.
absl::StatusOr<std::vector<Digests>> RunUndisturbed(
    const std::string& data_dir, const std::vector<PlannedJob>& mix) {
  ServerProcess server(ServerOn(data_dir));
  if (!server.AwaitServing()) return absl::UnavailableError("no server");
  Client client(data_dir, server.OwnerToken());
  std::vector<std::string> names;
  for (const PlannedJob& plan : mix) {
    v1::CreateJobRequest request;
    *request.mutable_spec() = plan.spec;
    ASSIGN_OR_RETURN(const v1::CreateJobResponse response,
                     client.Call(&v1::Jobs::Stub::CreateJob, request));
    names.push_back(response.job().name());
  }
  std::vector<Digests> all;
  for (const std::string& name : names) {
    SeenEvents seen;
    ASSIGN_OR_RETURN(const v1::Job job, WatchJob(client, name, seen));
    if (job.state() != v1::JOB_STATE_SUCCEEDED) {
      return absl::InternalError(absl::StrCat(name, ": ", job.reason()));
    }
    ASSIGN_OR_RETURN(all.emplace_back(), OutputDigests(client, job));
  }
  return all;
}

// What a job has to look like in the end.
class Verifier {
 public:
  Verifier(Client& client, const std::vector<PlannedJob>& mix,
           const std::vector<Digests>& undisturbed, Report& report)
      : client_(client),
        mix_(mix),
        undisturbed_(undisturbed),
        report_(report) {}

  void CheckJob(const AcknowledgedJob& known) {
    v1::GetJobRequest request;
    request.set_name(known.name);
    const auto response = client_.Call(&v1::Jobs::Stub::GetJob, request);
    if (!response.ok()) return Fault(known.name, response.status().ToString());
    const v1::Job& job = response->job();
    if (job.request_id() != known.request_id) {
      Fault(known.name, "its request_id is " + job.request_id());
    }
    CheckState(known, job);
    CheckOrder(known, job);
    CheckEvents(known, job);
    CheckFiles(known, job);
    attempt_count_ += job.attempt_count();
    most_attempts_ = std::max(most_attempts_, job.attempt_count());
    done_counts_[job.name()] = job.progress().done_count();
  }

  // That there are the acknowledged jobs and no others.
  absl::Status CheckList() {
    std::set<std::string> listed;
    v1::ListJobsRequest request;
    do {
      ASSIGN_OR_RETURN(const v1::ListJobsResponse page,
                       client_.Call(&v1::Jobs::Stub::ListJobs, request));
      for (const v1::Job& job : page.jobs()) listed.insert(job.name());
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    for (const auto& [name, count] : done_counts_) {
      if (listed.erase(name) == 0) Fault(name, "ListJobs does not have it");
    }
    for (const std::string& name : listed) {
      Fault(name, "nobody was told of it: a request made two jobs");
    }
    return absl::OkStatus();
  }

  // Of the database after the server's end.
  absl::Status CheckDatabase(const std::string& data_dir) {
    ASSIGN_OR_RETURN(const std::unique_ptr<Database> database,
                     Database::Open({.data_dir = data_dir}));
    RETURN_IF_ERROR(database->Read([&](Connection& connection) {
      Query query(connection, "PRAGMA integrity_check");
      while (query.Next()) {
        if (query.Text(0) != "ok") Fault("database", query.Text(0));
      }
      return absl::OkStatus();
    }));
    JobStore store(*database);
    for (const auto& [name, done_count] : done_counts_) {
      ASSIGN_OR_RETURN(const auto items, store.Items(name));
      item_count_ += done_count;
      if (static_cast<int64_t>(items.size()) == done_count) continue;
      Fault(name, absl::StrCat(items.size(),
                               " items are recorded, progress "
                               "says ",
                               done_count));
    }
    return absl::OkStatus();
  }

  void AddFigures() {
    const auto job_count = static_cast<int64_t>(done_counts_.size());
    report_.Add("jobs", job_count);
    report_.Add("succeeded", succeeded_count_);
    report_.Add("cancelled", job_count - succeeded_count_);
    report_.Add("attempts", attempt_count_);
    report_.Add("attempts per job, most", most_attempts_);
    report_.Add("items recorded, each once", item_count_);
    report_.Add("events checked", event_count_);
    report_.Add("files compared", file_count_);
  }

 private:
  void Fault(const std::string& what, const std::string& why) {
    report_.violations.push_back(absl::StrCat(what, ": ", why));
  }

  void CheckState(const AcknowledgedJob& known, const v1::Job& job) {
    const Fate fate = mix_[known.planned].fate;
    const bool may_be_cancelled = fate == Fate::kCancel;
    const bool succeeded = job.state() == v1::JOB_STATE_SUCCEEDED;
    succeeded_count_ += succeeded ? 1 : 0;
    const bool is_right =
        known.cancelled ? job.state() == v1::JOB_STATE_CANCELLED
                        : succeeded || (may_be_cancelled &&
                                        job.state() == v1::JOB_STATE_CANCELLED);
    if (!is_right) {
      Fault(job.name(),
            absl::StrCat(
                v1::JobState_Name(job.state()),
                known.cancelled ? " after an acknowledged cancel: " : ": ",
                job.reason()));
    }
    if (known.last_state != v1::JobState_Name(job.state())) {
      Fault(job.name(),
            absl::StrCat("is ", v1::JobState_Name(job.state()),
                         ", its watcher was told ", known.last_state));
    }
  }

  // That it ran after the job that it depends on. That one was checked before.
  void CheckOrder(const AcknowledgedJob& known, const v1::Job& job) {
    end_times_[job.name()] = job.end_time();
    if (known.follows.empty()) return;
    if (job.depends_on_size() != 1 || job.depends_on(0) != known.follows) {
      return Fault(job.name(), "depends_on is not what was asked for");
    }
    if (job.start_time() < end_times_[known.follows]) {
      Fault(job.name(), "started before the end of " + known.follows);
    }
  }

  void CheckEvents(const AcknowledgedJob& known, const v1::Job& job) {
    const auto events = Replay(client_, job.name());
    if (!events.ok()) return Fault(job.name(), events.status().ToString());
    for (const std::string& fault : FindEventFaults(job, *events)) {
      Fault(job.name(), fault);
    }
    // What a watcher was told once is never taken back.
    for (const auto& [number, bytes] : known.seen) {
      const auto at = static_cast<size_t>(number - 1);
      if (at >= events->size() || (*events)[at].SerializeAsString() != bytes) {
        Fault(job.name(),
              absl::StrCat("event ", number, " is not what a watcher got"));
      }
    }
    event_count_ += static_cast<int64_t>(events->size());
  }

  void CheckFiles(const AcknowledgedJob& known, const v1::Job& job) {
    const auto digests = OutputDigests(client_, job);
    if (!digests.ok()) return Fault(job.name(), digests.status().ToString());
    const Digests& expected = undisturbed_[known.planned];
    for (const auto& [name, digest] : *digests) {
      ++file_count_;
      const auto found = expected.find(name);
      if (found != expected.end() && found->second == digest) continue;
      Fault(job.name(), name + " differs from the undisturbed run's");
    }
    if (job.state() == v1::JOB_STATE_SUCCEEDED &&
        digests->size() != expected.size()) {
      Fault(job.name(), absl::StrCat(digests->size(), " files, expected ",
                                     expected.size()));
    }
  }

  Client& client_;
  const std::vector<PlannedJob>& mix_;
  const std::vector<Digests>& undisturbed_;
  Report& report_;
  std::map<std::string, int64_t> done_counts_;
  std::map<std::string, google::protobuf::Timestamp> end_times_;
  int64_t succeeded_count_ = 0;
  int64_t attempt_count_ = 0;
  int32_t most_attempts_ = 0;
  int64_t item_count_ = 0;
  int64_t event_count_ = 0;
  int64_t file_count_ = 0;
};

void AddFigures(const StormServer::Figures& figures, Report& report) {
  const std::vector<double>& seconds = figures.seconds_to_serve;
  report.Add("kills", figures.kill_count());
  report.Add("kills of the control plane alone", figures.control_kill_count);
  report.Add("kills of the worker alone", figures.worker_kill_count);
  report.Add("kills of both", figures.both_kill_count);
  report.Add("kills before the server served again", figures.early_kill_count);
  report.Add("restarts of the control plane",
             figures.control_kill_count + figures.both_kill_count);
  report.Add("seconds to serve again, median",
             Rounded(Percentile(seconds, 0.5)));
  report.Add("seconds to serve again, most", Rounded(Percentile(seconds, 1.0)));
}

// The storm itself; breaks of promises go into the report.
absl::Status Rage(const StormOptions& options, StormServer& server,
                  StormClients& clients) {
  clients.Start();
  while (server.figures().kill_count() < options.kill_count) {
    RETURN_IF_ERROR(server.Kill());
  }
  RETURN_IF_ERROR(server.Settle());
  clients.Finish();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Report> RunStorm(const StormOptions& options) {
  const absl::Time begin = absl::Now();
  ASSIGN_OR_RETURN(RunFolder folder, RunFolder::Make("storm"));
  const std::string adapter = folder.File("dropout");
  const std::string calm_dir = folder.File("calm");
  const std::string data_dir = folder.File("storm");
  RETURN_IF_ERROR(MakeDropoutAdapter(adapter));
  RETURN_IF_ERROR(Prepare(calm_dir, adapter));
  const std::vector<PlannedJob> mix =
      JobMix(options.job_count, options.with_dependencies);
  ASSIGN_OR_RETURN(const std::vector<Digests> undisturbed,
                   RunUndisturbed(calm_dir, mix));
  RETURN_IF_ERROR(Prepare(data_dir, adapter));

  Report report{.name = "storm"};
  folder.Keep();
  StormServer server(ServerOn(data_dir), options.seed);
  RETURN_IF_ERROR(server.Start());
  ASSIGN_OR_RETURN(const std::string token, Client::OwnerToken(data_dir));
  StormClients clients(mix, {.data_dir = data_dir,
                             .token = token,
                             .client_count = options.client_count,
                             .caller_count = options.caller_count});
  RETURN_IF_ERROR(Rage(options, server, clients));

  Client client(data_dir, token);
  Verifier verifier(client, mix, undisturbed, report);
  for (const AcknowledgedJob& job : clients.jobs()) verifier.CheckJob(job);
  RETURN_IF_ERROR(verifier.CheckList());
  RETURN_IF_ERROR(server.Stop());
  RETURN_IF_ERROR(verifier.CheckDatabase(data_dir));
  for (const std::vector<std::string>& faults :
       {clients.faults(), clients.ledger().failures()}) {
    report.violations.insert(report.violations.end(), faults.begin(),
                             faults.end());
  }
  report.Add("seed", options.seed);
  AddFigures(server.figures(), report);
  verifier.AddFigures();
  report.Add("replies of other calls compared",
             clients.ledger().compared_count());
  report.Add("calls made again", clients.retry_count());
  report.Add("wall seconds",
             Rounded(absl::ToDoubleSeconds(absl::Now() - begin)));
  if (report.violations.empty()) {
    folder.Remove();
  } else {
    report.violations.push_back(
        absl::StrCat("the data directory is kept: ", data_dir));
  }
  return report;
}

}  // namespace dissonance
