#include "tests/endurance/fairness.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "dissonance/v1/admin.grpc.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "google/protobuf/util/time_util.h"
#include "src/base/status_macros.h"
#include "tests/endurance/client.h"
#include "tests/endurance/history.h"
#include "tests/endurance/job_mix.h"
#include "tests/endurance/run_folder.h"
#include "tests/endurance/statistics.h"
#include "tests/endurance/users.h"

namespace dissonance {
namespace {

using google::protobuf::util::TimeUtil;

constexpr int kConcurrentJobs = 1;
constexpr char kConfig[] = "[jobs]\nconcurrent = 1\n";
constexpr double kLimitMs = 50.0;
constexpr int kCreators = 4;
constexpr char kMany[] = "users/many";
constexpr char kOne[] = "users/one";

std::string UserId(const std::string& name) {
  return name.substr(name.find('/') + 1);
}

absl::StatusOr<v1::Job> CreateSmallJob(const Client& client) {
  v1::CreateJobRequest request;
  *request.mutable_spec() = QuestionsJob(/*first=*/0, /*count=*/1);
  request.mutable_spec()->mutable_evaluate_mcq()->add_variants()->set_model(
      kTinyModel);
  ASSIGN_OR_RETURN(const v1::CreateJobResponse response,
                   client.Call(&v1::Jobs::Stub::CreateJob, request));
  return response.job();
}

// Creates the jobs, several at a time; their names, oldest first.
absl::StatusOr<std::vector<std::string>> QueueMany(const std::string& data_dir,
                                                   const std::string& token,
                                                   int count, Report& report) {
  const absl::Time begin = absl::Now();
  std::atomic<int> left = count;
  absl::Mutex mutex;
  absl::Status result;
  std::vector<std::string> names;
  std::vector<std::thread> creators;
  for (int i = 0; i < kCreators; ++i) {
    creators.emplace_back([&] {
      const Client client(data_dir, token);
      while (left-- > 0) {
        const absl::StatusOr<v1::Job> job = CreateSmallJob(client);
        const absl::MutexLock lock(&mutex);
        result.Update(job.status());
        if (!job.ok()) return;
        names.push_back(job->name());
      }
    });
  }
  for (std::thread& creator : creators) creator.join();
  RETURN_IF_ERROR(result);
  const double seconds = absl::ToDoubleSeconds(absl::Now() - begin);
  report.Add("seconds to create them", Rounded(seconds));
  report.Add("CreateJob a second", Rounded(count / seconds));
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<v1::Job> AwaitStart(const Client& client,
                                   const std::string& name) {
  v1::WatchJobRequest watch;
  watch.set_name(name);
  const absl::Status status =
      client.Read(&v1::Jobs::Stub::WatchJob, watch,
                  [](const v1::WatchJobResponse& message) {
                    return message.event().state() != v1::JOB_STATE_RUNNING;
                  });
  if (!status.ok() && !absl::IsCancelled(status)) return status;
  v1::GetJobRequest get;
  get.set_name(name);
  ASSIGN_OR_RETURN(const v1::GetJobResponse response,
                   client.Call(&v1::Jobs::Stub::GetJob, get));
  return response.job();
}

// The client's jobs that started after `job` was created and before it
// started. History is left out: its jobs are older than any that is queued.
absl::StatusOr<int> CountStartsBefore(const Client& client, const v1::Job& job,
                                      int queued_count) {
  int count = 0;
  int seen_count = 0;
  v1::ListJobsRequest request;
  request.set_page_size(1000);
  do {
    ASSIGN_OR_RETURN(const v1::ListJobsResponse page,
                     client.Call(&v1::Jobs::Stub::ListJobs, request));
    for (const v1::Job& other : page.jobs()) {
      count += other.has_start_time() &&
                       other.start_time() >= job.create_time() &&
                       other.start_time() < job.start_time()
                   ? 1
                   : 0;
    }
    seen_count += page.jobs_size();
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && seen_count < queued_count);
  return count;
}

absl::Status CheckShare(const Client& many, const Client& one,
                        const FairnessOptions& options, Report& report) {
  ASSIGN_OR_RETURN(const v1::Job created, CreateSmallJob(one));
  ASSIGN_OR_RETURN(const v1::Job started, AwaitStart(one, created.name()));
  ASSIGN_OR_RETURN(const int before,
                   CountStartsBefore(many, started, options.queued_count));
  report.Add("jobs that the first user has queued", options.queued_count);
  report.Add("of them started while the other user's one waited", before);
  report.Add("limit", kConcurrentJobs);
  report.Add("milliseconds that it waited",
             Rounded(static_cast<double>(TimeUtil::DurationToMicroseconds(
                         started.start_time() - started.create_time())) /
                     1000.0));
  if (before > kConcurrentJobs) {
    report.violations.push_back(
        absl::StrCat(before, " jobs of the first user started before ",
                     started.name(), " of the second"));
  }
  return absl::OkStatus();
}

// Times `call` over and over, and judges the 99th percentile.
absl::Status TimeCalls(const std::string& what, const FairnessOptions& options,
                       absl::FunctionRef<absl::Status()> call, Report& report) {
  std::vector<double> milliseconds;
  for (int i = 0; i < options.call_count; ++i) {
    const absl::Time begin = absl::Now();
    RETURN_IF_ERROR(call());
    milliseconds.push_back(absl::ToDoubleMilliseconds(absl::Now() - begin));
  }
  const double p99 = Percentile(milliseconds, 0.99);
  const double p50 = Percentile(milliseconds, 0.5);
  const double most = Percentile(milliseconds, 1.0);
  const std::string text =
      absl::StrFormat("%.2f median, %.2f p99, %.2f at most; limit of p99 %.0f",
                      p50, p99, most, kLimitMs);
  report.Add(what + ", ms", text);
  report.details["latency_ms"][what] = {
      {"p50", p50}, {"p99", p99}, {"max", most}};
  if (options.judge_times && p99 > kLimitMs)
    report.violations.push_back(what + ": " + text);
  return absl::OkStatus();
}

// The token of a page in the middle of the client's jobs.
absl::StatusOr<std::string> DeepPage(const Client& client, int job_count) {
  v1::ListJobsRequest request;
  request.set_page_size(1000);
  for (int seen = 0; seen < job_count / 2; seen += 1000) {
    ASSIGN_OR_RETURN(const v1::ListJobsResponse page,
                     client.Call(&v1::Jobs::Stub::ListJobs, request));
    if (page.next_page_token().empty()) break;
    request.set_page_token(page.next_page_token());
  }
  return request.page_token();
}

absl::Status TimeLists(const Client& client, const FairnessOptions& options,
                       Report& report) {
  const auto list = [&client](const v1::ListJobsRequest& request) {
    return client.Call(&v1::Jobs::Stub::ListJobs, request).status();
  };
  const v1::ListJobsRequest first;
  RETURN_IF_ERROR(TimeCalls(
      "ListJobs, first page", options, [&] { return list(first); }, report));
  for (const v1::JobState state :
       {v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING, v1::JOB_STATE_SUCCEEDED}) {
    v1::ListJobsRequest by_state;
    by_state.set_state(state);
    RETURN_IF_ERROR(TimeCalls(
        absl::StrCat("ListJobs, ", v1::JobState_Name(state)), options,
        [&] { return list(by_state); }, report));
  }
  v1::ListJobsRequest deep;
  ASSIGN_OR_RETURN(const std::string token,
                   DeepPage(client, options.history_count / 2));
  deep.set_page_token(token);
  return TimeCalls(
      "ListJobs, deep page", options, [&] { return list(deep); }, report);
}

// Of the client's jobs, which are every second of `names`.
absl::Status TimeWatches(const Client& client,
                         const std::vector<std::string>& names,
                         const FairnessOptions& options, Report& report) {
  std::mt19937_64 random(1);
  const auto watch = [&]() -> absl::Status {
    v1::WatchJobRequest request;
    request.set_name(names[random() % (names.size() / 2) * 2]);
    bool has_message = false;
    const absl::Status status =
        client.Read(&v1::Jobs::Stub::WatchJob, request,
                    [&has_message](const v1::WatchJobResponse&) {
                      has_message = true;
                      return false;
                    });
    return has_message ? absl::OkStatus() : status;
  };
  return TimeCalls("WatchJob, first message", options, watch, report);
}

// Of the job that was queued last, whose place is counted, and of one that
// ended long ago.
absl::Status TimeGets(const Client& client, const std::string& queued,
                      const std::string& ended, const FairnessOptions& options,
                      Report& report) {
  for (const auto& [what, name] :
       {std::pair{"GetJob, last in the queue", queued},
        std::pair{"GetJob, ended", ended}}) {
    v1::GetJobRequest request;
    request.set_name(name);
    const auto get = [&] {
      return client.Call(&v1::Jobs::Stub::GetJob, request).status();
    };
    RETURN_IF_ERROR(TimeCalls(what, options, get, report));
  }
  return absl::OkStatus();
}

// A call that asks no job: what is slow here too, the machine is.
absl::Status TimeYardstick(const Client& client, FairnessOptions options,
                           Report& report) {
  options.judge_times = false;
  const auto ask = [&client] {
    return client.Call(&v1::Admin::Stub::ServerInfo, v1::ServerInfoRequest())
        .status();
  };
  return TimeCalls("ServerInfo, to compare", options, ask, report);
}

// Who calls.
struct Users {
  std::string many;  // token of the one with many jobs
  std::string one;   // token of the other
  std::vector<std::string> ids;
};

// Loads the model and adds the users, on a server that ends again.
absl::StatusOr<Users> Prepare(const ServerProcess::Options& on_data,
                              const FairnessOptions& options) {
  ServerProcess server(on_data);
  if (!server.AwaitServing()) return absl::UnavailableError("no server");
  RETURN_IF_ERROR(LoadTinyWorld(server));
  Client owner(on_data.data_dir, server.OwnerToken());
  Users users = {.many = server.OwnerToken(),
                 .one = server.OwnerToken(),
                 .ids = {"owner"}};
  if (!options.lists_only) {
    RETURN_IF_ERROR(ShareWithLab(owner, /*adapters=*/{}));
    ASSIGN_OR_RETURN(
        users.many,
        AddUser(owner, kMany, /*queued_count=*/options.queued_count + 1));
    ASSIGN_OR_RETURN(users.one, AddUser(owner, kOne, /*queued_count=*/1));
    users.ids = {UserId(kMany), UserId(kOne)};
  }
  if (server.Stop() != 0) return absl::InternalError("no clean stop");
  return users;
}

}  // namespace

absl::StatusOr<Report> RunFairness(const FairnessOptions& options) {
  const absl::Time begin = absl::Now();
  ASSIGN_OR_RETURN(const RunFolder folder, RunFolder::Make("fairness"));
  const std::string data_dir = folder.File("data");
  std::filesystem::create_directory(data_dir);
  const ServerProcess::Options on_data = {.data_dir = data_dir,
                                          .config = kConfig};
  ASSIGN_OR_RETURN(const Users users, Prepare(on_data, options));
  ASSIGN_OR_RETURN(const std::vector<std::string> history,
                   WriteHistory(data_dir, users.ids, options.history_count));

  ServerProcess server(on_data);
  if (!server.AwaitServing()) return absl::UnavailableError("no server");
  Report report{.name = "fairness"};
  report.Add("jobs in the database before", options.history_count);
  const Client many(data_dir, users.many);
  const Client one(data_dir, users.one);
  ASSIGN_OR_RETURN(
      const std::vector<std::string> queued,
      QueueMany(data_dir, users.many, options.queued_count, report));
  if (!options.lists_only) {
    RETURN_IF_ERROR(CheckShare(many, one, options, report));
  }
  RETURN_IF_ERROR(
      TimeGets(many, queued.back(), history.front(), options, report));
  RETURN_IF_ERROR(TimeLists(many, options, report));
  RETURN_IF_ERROR(TimeWatches(many, history, options, report));
  RETURN_IF_ERROR(TimeYardstick(many, options, report));
  if (server.Stop() != 0) {
    report.violations.push_back("the server did not stop cleanly");
  }
  report.Add("wall seconds",
             Rounded(absl::ToDoubleSeconds(absl::Now() - begin)));
  return report;
}

}  // namespace dissonance
