#include "server/control/dashboard_overview.h"

#include <algorithm>
#include <utility>

#include "dissonance/v1/models.pb.h"
#include "google/protobuf/util/time_util.h"
#include "server/control/dashboard_answer.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using google::protobuf::util::TimeUtil;
using nlohmann::json;

constexpr char kServerInfo[] = "/dissonance.v1.Admin/ServerInfo";
constexpr char kGetUser[] = "/dissonance.v1.Admin/GetUser";
constexpr char kListUsers[] = "/dissonance.v1.Admin/ListUsers";
constexpr char kGetJob[] = "/dissonance.v1.Jobs/GetJob";
constexpr char kListJobs[] = "/dissonance.v1.Jobs/ListJobs";
constexpr char kListModels[] = "/dissonance.v1.Models/ListModels";
constexpr char kListAdapters[] = "/dissonance.v1.Models/ListAdapters";

// Models, users and places in the queue are looked at in each of so many calls.
constexpr int kSeldom = 5;
// Of a list; whoever needs all has the command line.
constexpr int kMostShown = 200;
constexpr int kMostEnded = 20;

constexpr v1::JobState kRunning[] = {
    v1::JOB_STATE_RUNNING, v1::JOB_STATE_CANCELLING, v1::JOB_STATE_PAUSING};
constexpr v1::JobState kQueued[] = {v1::JOB_STATE_QUEUED, v1::JOB_STATE_WAITING,
                                    v1::JOB_STATE_PAUSED};
constexpr v1::JobState kEnded[] = {
    v1::JOB_STATE_SUCCEEDED, v1::JOB_STATE_FAILED, v1::JOB_STATE_CANCELLED};

json JobInList(const v1::Job& job) {
  json body = JobJson(job, kInList);
  for (const char* field :
       {"provenance", "inputs", "outputs", "request_id", "code_version"}) {
    body.erase(field);
  }
  return body;
}

using Jobs = std::vector<v1::Job>;

void SortByAge(Jobs& jobs) {
  std::sort(jobs.begin(), jobs.end(), [](const v1::Job& a, const v1::Job& b) {
    return a.name() < b.name();
  });
}

void SortByEnd(Jobs& jobs) {
  std::sort(jobs.begin(), jobs.end(), [](const v1::Job& a, const v1::Job& b) {
    return TimeUtil::TimestampToNanoseconds(a.end_time()) >
           TimeUtil::TimestampToNanoseconds(b.end_time());
  });
}

json JobsInList(const Jobs& jobs) {
  json array = json::array();
  for (const v1::Job& job : jobs) array.push_back(JobInList(job));
  return array;
}

}  // namespace

absl::StatusOr<std::vector<Overview::Part>> Overview::Changes() {
  changed_.clear();
  RETURN_IF_ERROR(AddServer());
  AddFigures();
  RETURN_IF_ERROR(AddJobs());
  if (calls_ % kSeldom == 0) {
    RETURN_IF_ERROR(AddModels());
    RETURN_IF_ERROR(AddUsers());
  }
  ++calls_;
  return std::move(changed_);
}

void Overview::Add(const std::string& part, json body) {
  std::string digest = Sha256Of(body.dump());
  std::string& told = told_[part];
  if (told == digest) return;
  told = std::move(digest);
  changed_.emplace_back(part, std::move(body));
}

absl::Status Overview::AddServer() {
  v1::ServerInfoResponse info;
  RETURN_IF_ERROR(parts_.calls.Watch(kServerInfo, authorization_,
                                     v1::ServerInfoRequest(), info));
  caller_ = info.caller();
  // What changes all the time, and what the page does not show.
  info.clear_uptime();
  info.clear_config_toml();
  info.clear_data_dir();
  info.clear_resident_bytes();
  for (v1::Worker& worker : *info.mutable_workers()) {
    worker.clear_resident_bytes();  // among the figures
  }
  json body = MessageJson(info);
  body["trouble"] = parts_.trouble();
  Add("server", std::move(body));
  return absl::OkStatus();
}

void Overview::AddFigures() {
  json body = json::object();
  for (const WorkerFigures& worker : parts_.figures()) {
    json& own = body[worker.name];
    own = {{"ready", worker.ready},
           {"dissonance_worker_resident_bytes", worker.resident_bytes}};
    for (const internal::v1::Metric& metric : worker.metrics) {
      own[metric.name()] = metric.value();
    }
  }
  Add("figures", std::move(body));
}

absl::StatusOr<bool> Overview::ListJobs(v1::JobState state, int most,
                                        Jobs& jobs) {
  v1::ListJobsRequest request;
  request.set_state(state);
  request.set_page_size(most);
  request.set_all_users(caller_.scope() == v1::SCOPE_ADMIN);
  v1::ListJobsResponse page;
  RETURN_IF_ERROR(parts_.calls.Watch(kListJobs, authorization_, request, page));
  for (v1::Job& job : *page.mutable_jobs()) jobs.push_back(std::move(job));
  return !page.next_page_token().empty();
}

absl::Status Overview::AddJobs() {
  Jobs running;
  Jobs queued;
  Jobs ended;
  bool has_more = false;
  for (const v1::JobState state : kRunning) {
    ASSIGN_OR_RETURN(const bool more, ListJobs(state, kMostShown, running));
    has_more = has_more || more;
  }
  for (const v1::JobState state : kQueued) {
    ASSIGN_OR_RETURN(const bool more, ListJobs(state, kMostShown, queued));
    has_more = has_more || more;
  }
  for (const v1::JobState state : kEnded) {
    RETURN_IF_ERROR(ListJobs(state, kMostEnded, ended).status());
  }
  SortByAge(running);
  SortByAge(queued);
  SortByEnd(ended);
  if (ended.size() > kMostEnded) ended.resize(kMostEnded);
  RETURN_IF_ERROR(AddPlaces(queued));
  Add("jobs", {{"running", JobsInList(running)},
               {"queued", JobsInList(queued)},
               {"ended", JobsInList(ended)},
               {"has_more", has_more}});
  return absl::OkStatus();
}

absl::Status Overview::AddPlaces(Jobs& queued) {
  std::vector<v1::Job*> oldest;
  for (v1::Job& job : queued) {
    if (job.state() == v1::JOB_STATE_PAUSED) continue;
    if (oldest.size() < kPlaced) oldest.push_back(&job);
  }
  const bool are_known = std::all_of(
      oldest.begin(), oldest.end(),
      [this](const v1::Job* job) { return places_.count(job->name()) > 0; });
  if (calls_ % kSeldom == 0 || !are_known || places_.size() != oldest.size()) {
    places_.clear();
    for (const v1::Job* job : oldest) {
      v1::GetJobRequest request;
      request.set_name(job->name());
      v1::GetJobResponse response;
      const absl::Status status =
          parts_.calls.Watch(kGetJob, authorization_, request, response);
      // It may be gone meanwhile.
      if (!status.ok() && !absl::IsNotFound(status)) return status;
      places_[job->name()] = response.job().queue();
    }
  }
  for (v1::Job* job : oldest) *job->mutable_queue() = places_[job->name()];
  return absl::OkStatus();
}

absl::Status Overview::AddModels() {
  v1::ListModelsRequest request;
  request.set_page_size(kMostShown);
  v1::ListModelsResponse models;
  RETURN_IF_ERROR(
      parts_.calls.Watch(kListModels, authorization_, request, models));
  json body = json::array();
  for (const v1::Model& model : models.models()) {
    v1::ListAdaptersRequest of_model;
    of_model.set_parent(model.name());
    of_model.set_page_size(kMostShown);
    v1::ListAdaptersResponse adapters;
    const absl::Status status =
        parts_.calls.Watch(kListAdapters, authorization_, of_model, adapters);
    // It may be gone meanwhile.
    if (absl::IsNotFound(status)) continue;
    RETURN_IF_ERROR(status);
    json one = MessageJson(model);
    one["adapters"] = json::array();
    for (const v1::Adapter& adapter : adapters.adapters()) {
      one["adapters"].push_back(MessageJson(adapter));
    }
    body.push_back(std::move(one));
  }
  Add("models", std::move(body));
  return absl::OkStatus();
}

absl::Status Overview::AddUsers() {
  json body = json::array();
  if (caller_.scope() == v1::SCOPE_ADMIN) {
    v1::ListUsersRequest request;
    request.set_page_size(kMostShown);
    v1::ListUsersResponse users;
    RETURN_IF_ERROR(
        parts_.calls.Watch(kListUsers, authorization_, request, users));
    for (const v1::User& user : users.users()) {
      body.push_back(MessageJson(user));
    }
  } else {
    v1::GetUserResponse user;
    RETURN_IF_ERROR(parts_.calls.Watch(kGetUser, authorization_,
                                       v1::GetUserRequest(), user));
    body.push_back(MessageJson(user.user()));
  }
  Add("users", std::move(body));
  return absl::OkStatus();
}

}  // namespace dissonance
