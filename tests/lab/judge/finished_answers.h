// Finished jobs of the tests' own. For one thread.
#ifndef DISSONANCE_TESTS_LAB_JUDGE_FINISHED_ANSWERS_H_
#define DISSONANCE_TESTS_LAB_JUDGE_FINISHED_ANSWERS_H_

#include <map>
#include <string>
#include <utility>

#include "src/lab/jobs/finished_jobs.h"

namespace dissonance {

class FinishedAnswers final : public FinishedJobs {
 public:
  // A job evaluate_open that has succeeded with these files.
  v1::Job& Add(const std::string& name,
               std::map<std::string, std::string> files) {
    v1::Job& job = jobs_[name];
    job.set_name(name);
    job.set_state(v1::JOB_STATE_SUCCEEDED);
    job.mutable_spec()->mutable_evaluate_open();
    for (const auto& [file, contents] : files) {
      job.add_outputs()->set_file_name(file);
    }
    files_[name] = std::move(files);
    return job;
  }

  absl::StatusOr<v1::Job> Find(const std::string& name) override {
    const auto found = jobs_.find(name);
    if (found != jobs_.end()) return found->second;
    return absl::NotFoundError("no such job");
  }
  absl::StatusOr<std::string> ReadOutput(const v1::Job& job,
                                         absl::string_view file) override {
    return files_.at(job.name()).at(std::string(file));
  }

 private:
  std::map<std::string, v1::Job> jobs_;
  std::map<std::string, std::map<std::string, std::string>> files_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_JUDGE_FINISHED_ANSWERS_H_
