// A job manager over real storage in a folder, with a kind whose run is given
// by the test.
#ifndef DISSONANCE_TESTS_LAB_JOBS_JOB_SERVER_H_
#define DISSONANCE_TESTS_LAB_JOBS_JOB_SERVER_H_

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/artifacts/artifact_store.h"
#include "src/lab/jobs/job_manager.h"
#include "src/lab/storage/database.h"

namespace dissonance {

// The value, or the end of the test process with the message.
template <typename T>
T OrDie(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::cerr << value.status() << std::endl;
    std::abort();
  }
  return *std::move(value);
}

inline std::string ItemText(int64_t index) {
  return absl::StrCat("item ", index);
}

// Records items [recorded, total) in batches of two, then one output.
inline absl::Status RecordAll(JobContext& job, int64_t total) {
  ASSIGN_OR_RETURN(std::vector<std::string> items, job.RecordedItems());
  while (static_cast<int64_t>(items.size()) < total) {
    if (job.cancelled()) return absl::CancelledError("stopped");
    const auto first = static_cast<int64_t>(items.size());
    std::vector<std::string> batch;
    for (int64_t i = first; i < std::min(first + 2, total); ++i) {
      batch.push_back(ItemText(i));
    }
    RETURN_IF_ERROR(job.RecordItems(first, batch, total, "items"));
    items.insert(items.end(), batch.begin(), batch.end());
  }
  return job.AddOutput("items.txt", "text/plain",
                       absl::StrCat(items.size(), " items"),
                       OutputKind::kResult);
}

class ScriptedKind : public JobKind {
 public:
  absl::Status Validate(const v1::JobSpec& spec) override {
    return validate(spec);
  }
  absl::Status Run(const v1::JobSpec& spec, JobContext& job) override {
    run_spec(spec);
    return run(job);
  }

  std::function<absl::Status(const v1::JobSpec&)> validate =
      [](const v1::JobSpec&) { return absl::OkStatus(); };
  std::function<void(const v1::JobSpec&)> run_spec = [](const v1::JobSpec&) {};
  std::function<absl::Status(JobContext&)> run = [](JobContext& job) {
    return RecordAll(job, 5);
  };
};

inline v1::JobSpec SomeSpec(uint64_t seed = 0) {
  v1::JobSpec spec;
  spec.mutable_evaluate_mcq()->set_data("bulky");
  spec.mutable_evaluate_mcq()->set_data_name("q.jsonl");
  spec.mutable_evaluate_mcq()->set_seed(seed);
  return spec;
}

// Storage and, once `manager` is made, a server over it.
struct JobServer {
  explicit JobServer(const std::string& data_dir)
      : database(OrDie(Database::Open({.data_dir = data_dir}))),
        artifacts(
            OrDie(ArtifactStore::Create(data_dir, index, Clock::Real()))) {}

  std::unique_ptr<JobManager> NewManager(JobManager::Options options = {}) {
    options.store = &store;
    options.queue = &queue;
    options.artifacts = artifacts.get();
    options.kinds = {{v1::JobSpec::kEvaluateMcq, &kind}};
    return OrDie(JobManager::Create(std::move(options)));
  }

  std::unique_ptr<Database> database;
  JobStore store{*database};
  JobQueue queue{*database};
  UserStore users{*database};
  ArtifactIndex index{*database};
  std::unique_ptr<ArtifactStore> artifacts;
  ScriptedKind kind;
};

// All events until `last` is entered or the job ends, then the job.
inline v1::Job AwaitState(JobManager& jobs, const std::string& name,
                          v1::JobState last) {
  const absl::Time deadline = absl::Now() + absl::Minutes(1);
  int64_t after = 0;
  while (true) {
    const JobEvents news = OrDie(jobs.WaitForEvents("", name, after, deadline));
    if (news.ended_job.has_value()) return *news.ended_job;
    for (const v1::JobEvent& event : news.events) {
      after = event.number();
      if (event.event_case() == v1::JobEvent::kState && event.state() == last)
        return OrDie(jobs.Get("", name));
    }
  }
}

// Waits for the job's end.
inline v1::Job AwaitEnd(JobManager& jobs, const std::string& name) {
  return AwaitState(jobs, name, v1::JOB_STATE_UNSPECIFIED);
}

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_JOBS_JOB_SERVER_H_
