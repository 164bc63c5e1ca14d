// Jobs of a pipeline's stages that end as soon as they are looked at, with
// files that tests set. For one thread.
#ifndef DISSONANCE_TESTS_LAB_PIPELINE_FAKE_STAGE_JOBS_H_
#define DISSONANCE_TESTS_LAB_PIPELINE_FAKE_STAGE_JOBS_H_

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/clock.h"
#include "src/base/sha256.h"
#include "src/lab/pipeline/stage_jobs.h"

namespace dissonance {

class FakeStageJobs final : public StageJobs {
 public:
  absl::Status Check(const v1::JobSpec& spec) override {
    checked.push_back(spec);
    return refuses_at_once ? refuses_at_once(spec) : absl::OkStatus();
  }
  absl::StatusOr<v1::Job> Create(const std::string& owner,
                                 const v1::JobSpec& spec,
                                 const std::string& request_id,
                                 v1::JobPriority priority) override {
    if (refuses) {
      absl::Status status = refuses(spec);
      if (!status.ok()) return status;
    }
    const auto found = by_request.find(request_id);
    if (found != by_request.end()) return jobs.at(found->second);
    v1::Job job;
    job.set_name(absl::StrCat("jobs/", prefix, jobs.size()));
    job.set_owner("users/" + owner);
    job.set_priority(priority);
    *job.mutable_spec() = spec;
    job.set_state(v1::JOB_STATE_QUEUED);
    created.push_back(spec);
    by_request[request_id] = job.name();
    jobs[job.name()] = job;
    return job;
  }
  absl::StatusOr<v1::Job> Replay(const std::string& owner,
                                 const std::string& first_request,
                                 const std::string& request_id,
                                 v1::JobPriority priority) override {
    const auto first = by_request.find(first_request);
    if (first == by_request.end()) return absl::NotFoundError("none");
    replayed.push_back(first->second);
    return Create(owner, jobs.at(first->second).spec(), request_id, priority);
  }
  absl::StatusOr<v1::Job> Get(const std::string& /*owner*/,
                              const std::string& name) override {
    v1::Job& job = jobs.at(name);
    if (job.state() == v1::JOB_STATE_QUEUED) End(job);
    return job;
  }
  absl::Status Retry(const std::string& /*owner*/,
                     const std::string& name) override {
    retried.push_back(name);
    jobs.at(name).set_state(v1::JOB_STATE_QUEUED);
    return absl::OkStatus();
  }
  absl::Status Cancel(const std::string& /*owner*/,
                      const std::string& name) override {
    cancelled.push_back(name);
    return absl::OkStatus();
  }
  absl::Status EnsureAdapter(const std::string& /*owner*/,
                             const v1::Job& /*training*/,
                             const std::string& adapter) override {
    ensured.push_back(adapter);
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> NetworkDigest(
      const std::string& network) override {
    const auto found = digests.find(network);
    return found == digests.end() ? "sha256:" + network : found->second;
  }
  absl::StatusOr<v1::Model> GetModel(const std::string& name) override {
    v1::Model model;
    model.set_name(name);
    model.set_block_count(2);
    model.set_d_model(3);
    return model;
  }
  absl::StatusOr<std::string> ReadOutput(const v1::Job& job,
                                         absl::string_view file) override {
    const auto& own = files[job.spec().kind_case()];
    const auto found = own.find(std::string(file));
    if (found == own.end()) return absl::NotFoundError("no such file");
    return found->second;
  }
  void AwaitNews(const std::vector<std::string>& /*jobs*/,
                 absl::Duration most) override {
    ++waits;
    clock.now += most;
  }

  class WaitingClock final : public Clock {
   public:
    absl::Time Now() const override { return absl::UnixEpoch() + now; }
    absl::Duration Monotonic() const override { return now; }
    absl::Duration now = absl::ZeroDuration();
  };

  // How jobs end; all succeed unless it is set.
  std::function<void(v1::Job& job)> ends;
  std::function<absl::Status(const v1::JobSpec& spec)> refuses;
  std::function<absl::Status(const v1::JobSpec& spec)> refuses_at_once;
  // Of all jobs of a kind, by name.
  std::map<v1::JobSpec::KindCase, std::map<std::string, std::string>> files;
  std::map<std::string, std::string>
      digests;  // of networks, where they changed
  std::string prefix = "A";
  std::map<std::string, v1::Job> jobs;
  std::map<std::string, std::string> by_request;
  std::vector<v1::JobSpec> created;
  std::vector<v1::JobSpec> checked;
  std::vector<std::string> retried;
  std::vector<std::string> replayed;
  std::vector<std::string> cancelled;
  std::vector<std::string> ensured;
  WaitingClock clock;
  int waits = 0;

 private:
  void End(v1::Job& job) {
    job.set_state(v1::JOB_STATE_SUCCEEDED);
    job.clear_outputs();
    for (const auto& [name, contents] : files[job.spec().kind_case()]) {
      v1::JobOutput& output = *job.add_outputs();
      output.set_file_name(name);
      output.set_artifact("artifacts/" + Sha256Of(contents));
    }
    if (ends) ends(job);
  }
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_PIPELINE_FAKE_STAGE_JOBS_H_
