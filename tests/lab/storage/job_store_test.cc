#include "src/lab/storage/job_store.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/job_rows.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

StoredJob JobNumber(int number, const std::string& owner = "ada") {
  StoredJob stored;
  stored.owner = owner;
  stored.job.set_name(absl::StrFormat("jobs/%026d", number));
  stored.job.set_state(v1::JOB_STATE_QUEUED);
  stored.job.set_priority(v1::JOB_PRIORITY_NORMAL);
  stored.job.mutable_spec()->mutable_evaluate_mcq()->set_data("bulky");
  stored.job.mutable_spec()->mutable_evaluate_mcq()->set_data_name("q.jsonl");
  stored.job.set_config_toml("a = 1");
  stored.job.mutable_create_time()->set_seconds(number);
  return stored;
}

class JobStoreTest : public ::testing::Test {
 protected:
  void Add(const StoredJob& stored) {
    const auto created = jobs_.Create(stored);
    ASSERT_TRUE(created.ok()) << created.status();
  }

  // The steps of SQLite's plan for `sql`, one a line.
  std::string Plan(const std::string& sql) {
    std::string plan;
    const absl::Status status = database_->Read([&](Connection& connection) {
      Query query(connection, "EXPLAIN QUERY PLAN " + sql);
      while (query.Next()) absl::StrAppend(&plan, query.Text(3), "\n");
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
    return plan;
  }

  TempFolder dir_;
  std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  JobStore jobs_{*database_};
};

TEST_F(JobStoreTest, GivesBackWhatWasStored) {
  StoredJob stored = JobNumber(7);
  stored.job.set_request_id("r");
  Add(stored);
  const auto full = jobs_.Get(stored.job.name(), JobStore::Spec::kFull);
  ASSERT_TRUE(full.ok()) << full.status();
  stored.job.set_last_event_number(1);
  stored.job.mutable_progress();
  EXPECT_EQ(full->job.DebugString(), stored.job.DebugString());
  EXPECT_EQ(full->owner, "ada");
  const auto light = jobs_.Get(stored.job.name(), JobStore::Spec::kWithoutData);
  EXPECT_EQ(light->job.spec().evaluate_mcq().data(), "");
  EXPECT_EQ(light->job.spec().evaluate_mcq().data_name(), "q.jsonl");
}

TEST_F(JobStoreTest, MakesOneJobPerOwnersRequest) {
  StoredJob first = JobNumber(1);
  first.job.set_request_id("same");
  StoredJob second = JobNumber(2);
  second.job.set_request_id("same");
  StoredJob others = JobNumber(3, "bob");
  others.job.set_request_id("same");
  EXPECT_TRUE(jobs_.Create(first)->created);
  const auto again = jobs_.Create(second);
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->stored.job.name(), first.job.name());
  EXPECT_EQ(again->stored.job.spec().evaluate_mcq().data(), "bulky");
  EXPECT_TRUE(jobs_.Create(others)->created);
  EXPECT_TRUE(jobs_.Create(JobNumber(4))->created);
  EXPECT_TRUE(jobs_.Create(JobNumber(5))->created);
}

TEST_F(JobStoreTest, WritesItemsEventsAndOutputsTogetherOrNotAtAll) {
  Add(JobNumber(1));
  const std::string name = JobNumber(1).job.name();
  const std::vector<std::string> items = {"a", std::string("\0b", 2)};
  const auto record = [&](JobChange& change) {
    change.items = items;
    change.stored.job.mutable_progress()->set_done_count(2);
    change.events.emplace_back().set_log("two");
    return absl::OkStatus();
  };
  ASSERT_TRUE(jobs_.Update(name, kNow, record).ok());
  // done_count would not match the items.
  EXPECT_EQ(jobs_.Update(name, kNow, record).status().code(),
            absl::StatusCode::kInternal);
  // The artifact does not exist, after items and events were inserted.
  const auto dangling = jobs_.Update(name, kNow, [&](JobChange& change) {
    change.items = items;
    change.stored.job.mutable_progress()->set_done_count(4);
    change.events.emplace_back().set_log("never");
    change.output.emplace().set_file_name("f");
    change.output->set_artifact("artifacts/none");
    return absl::OkStatus();
  });
  EXPECT_FALSE(dangling.ok());
  EXPECT_EQ(*jobs_.Items(name), items);
  const auto events = jobs_.Events(name, 0, 100);
  ASSERT_EQ(events->events.size(), 2U);
  EXPECT_EQ(events->events[0].state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(events->events[1].number(), 2);
  EXPECT_EQ(events->events[1].log(), "two");
  EXPECT_EQ(events->events[1].time().seconds(), absl::ToUnixSeconds(kNow));
}

TEST_F(JobStoreTest, ReadsEventsInPieces) {
  Add(JobNumber(1));
  const std::string name = JobNumber(1).job.name();
  ASSERT_TRUE(jobs_
                  .Update(name, kNow,
                          [&](JobChange& change) {
                            for (int i = 0; i < 9; ++i) {
                              change.events.emplace_back().set_log("x");
                            }
                            change.stored.job.mutable_end_time();
                            return absl::OkStatus();
                          })
                  .ok());
  const auto first = jobs_.Events(name, 2, 4);
  ASSERT_EQ(first->events.size(), 4U);
  EXPECT_EQ(first->events.front().number(), 3);
  EXPECT_FALSE(first->ended_job.has_value());
  const auto last = jobs_.Events(name, 6, 4);
  EXPECT_EQ(last->events.back().number(), 10);
  ASSERT_TRUE(last->ended_job.has_value());
  EXPECT_EQ(last->ended_job->last_event_number(), 10);
  EXPECT_TRUE(jobs_.Events(name, 10, 4)->ended_job.has_value());
}

TEST_F(JobStoreTest, ListsNewestFirstWithoutBulk) {
  for (int i = 1; i <= 5; ++i) Add(JobNumber(i, i % 2 == 0 ? "bob" : "ada"));
  const auto names = [](const std::vector<v1::Job>& jobs) {
    std::vector<std::string> out;
    for (const v1::Job& job : jobs) out.push_back(job.name().substr(30));
    return out;
  };
  const auto all = jobs_.List({});
  EXPECT_THAT(names(*all), ElementsAre("5", "4", "3", "2", "1"));
  EXPECT_EQ(all->front().spec().evaluate_mcq().data(), "");
  EXPECT_EQ(all->front().config_toml(), "");
  const std::string before = JobNumber(4).job.name();
  EXPECT_THAT(names(*jobs_.List({.before = before, .limit = 2})),
              ElementsAre("3", "2"));
  EXPECT_THAT(names(*jobs_.List({.owner = "bob"})), ElementsAre("4", "2"));
  EXPECT_THAT(names(*jobs_.List({.state = v1::JOB_STATE_RUNNING})),
              ElementsAre());
  EXPECT_THAT(
      names(*jobs_.List({.owner = "ada", .state = v1::JOB_STATE_QUEUED})),
      ElementsAre("5", "3", "1"));
  EXPECT_EQ(*jobs_.NewestName(), JobNumber(5).job.name());
}

TEST_F(JobStoreTest, PicksByPriorityThenAge) {
  StoredJob background = JobNumber(1);
  background.job.set_priority(v1::JOB_PRIORITY_BACKGROUND);
  StoredJob interactive = JobNumber(4);
  interactive.job.set_priority(v1::JOB_PRIORITY_INTERACTIVE);
  for (const StoredJob& stored :
       {background, JobNumber(3), JobNumber(2), interactive}) {
    Add(stored);
  }
  std::set<std::string> taken;
  std::vector<std::string> order;
  while (const auto next = *jobs_.NextQueued(taken)) {
    taken.insert(*next);
    order.push_back(next->substr(30));
  }
  EXPECT_THAT(order, ElementsAre("4", "2", "3", "1"));
}

TEST_F(JobStoreTest, DeletesAllOfAJobIfAllowed) {
  Add(JobNumber(1));
  const std::string name = JobNumber(1).job.name();
  EXPECT_EQ(jobs_
                .Delete(name,
                        [](const StoredJob&) {
                          return absl::FailedPreconditionError("no");
                        })
                .code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(
      jobs_.Delete(name, [](const StoredJob&) { return absl::OkStatus(); })
          .ok());
  EXPECT_EQ(jobs_.Get(name, JobStore::Spec::kFull).status(),
            JobStore::NoSuchJob(name));
  ASSERT_TRUE(database_
                  ->Read([](Connection& connection) {
                    Query query(connection,
                                "SELECT (SELECT count(*) FROM job_inputs) +"
                                " (SELECT count(*) FROM job_events)");
                    EXPECT_TRUE(query.Next());
                    EXPECT_EQ(query.Int(0), 0);
                    return absl::OkStatus();
                  })
                  .ok());
}

TEST_F(JobStoreTest, NeverScansAllJobsNorSorts) {
  for (const bool by_owner : {false, true}) {
    for (const bool by_state : {false, true}) {
      const std::string plan = Plan(ListJobsSql(by_owner, by_state));
      EXPECT_THAT(plan, HasSubstr("SEARCH jobs USING")) << plan;
      EXPECT_THAT(plan, Not(HasSubstr("TEMP B-TREE"))) << plan;
    }
  }
  EXPECT_THAT(Plan(ListJobsSql(true, false)), HasSubstr("jobs_by_owner "));
  EXPECT_THAT(Plan(ListJobsSql(false, true)), HasSubstr("jobs_by_state "));
  EXPECT_THAT(Plan(ListJobsSql(true, true)),
              HasSubstr("jobs_by_owner_and_state "));
  const std::string queue = Plan(std::string(kQueueSql));
  EXPECT_THAT(queue, HasSubstr("USING INDEX jobs_queue"));
  EXPECT_THAT(queue, Not(HasSubstr("TEMP B-TREE")));
  EXPECT_THAT(Plan(std::string(kFindByRequestSql)),
              HasSubstr("USING COVERING INDEX jobs_by_request"));
  EXPECT_THAT(Plan(std::string(kNamesInStateSql)),
              HasSubstr("USING COVERING INDEX jobs_by_state"));
}

}  // namespace
}  // namespace dissonance
