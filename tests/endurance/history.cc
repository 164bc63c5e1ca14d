#include "tests/endurance/history.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "dissonance/v1/jobs.pb.h"
#include "google/protobuf/util/time_util.h"
#include "src/base/clock.h"
#include "src/base/status_macros.h"
#include "src/lab/jobs/ulid.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/job_rows.h"
#include "src/lab/storage/job_store.h"
#include "tests/endurance/job_mix.h"
#include "tests/server/server_fixture.h"

namespace dissonance {
namespace {

// Of one transaction: a commit each would take minutes.
constexpr int kBatch = 1000;

StoredJob EndedJob(const std::string& name, const std::string& owner,
                   const v1::JobSpec& spec) {
  StoredJob stored;
  stored.owner = owner;
  v1::Job& job = stored.job;
  job.set_name(name);
  *job.mutable_spec() = spec;
  job.set_state(v1::JOB_STATE_SUCCEEDED);
  job.set_priority(v1::JOB_PRIORITY_NORMAL);
  job.set_attempt_count(1);
  job.mutable_progress()->set_total_count(1);
  job.mutable_progress()->set_done_count(1);
  job.mutable_progress()->set_unit("questions");
  *job.mutable_create_time() =
      google::protobuf::util::TimeUtil::GetCurrentTime();
  *job.mutable_start_time() = job.create_time();
  *job.mutable_end_time() = job.create_time();
  job.set_last_event_number(3);
  return stored;
}

void Insert(Connection& connection, const StoredJob& stored) {
  InsertJob(connection, stored);
  int64_t number = 0;
  for (const v1::JobState state :
       {v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING, v1::JOB_STATE_SUCCEEDED}) {
    v1::JobEvent event;
    event.set_number(++number);
    *event.mutable_time() = stored.job.create_time();
    event.set_state(state);
    InsertEvent(connection, stored.job.name(), event);
  }
}

}  // namespace

absl::StatusOr<std::vector<std::string>> WriteHistory(
    const std::string& data_dir, const std::vector<std::string>& owners,
    int count) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> database,
                   Database::Open({.data_dir = data_dir}));
  v1::JobSpec spec = QuestionsJob(/*first=*/0, /*count=*/1);
  spec.mutable_evaluate_mcq()->add_variants()->set_model(kTinyModel);
  UlidGenerator ulids(Clock::Real(), /*after=*/"");
  std::vector<std::string> names;
  while (static_cast<int>(names.size()) < count) {
    RETURN_IF_ERROR(database->Write([&](Connection& connection) {
      const int left = count - static_cast<int>(names.size());
      for (int i = 0; i < std::min(kBatch, left); ++i) {
        const std::string& owner = owners[names.size() % owners.size()];
        names.push_back(absl::StrCat("jobs/", ulids.Next()));
        Insert(connection, EndedJob(names.back(), owner, spec));
      }
      return absl::OkStatus();
    }));
  }
  return names;
}

}  // namespace dissonance
