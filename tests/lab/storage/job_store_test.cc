#include "src/lab/storage/job_store.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/job_queue.h"
#include "src/lab/storage/job_rows.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

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
  stored.job.set_replay_of("jobs/earlier");
  stored.job.add_depends_on("jobs/a");
  stored.job.add_depends_on("jobs/b");
  stored.job.add_inputs()->set_digest("sha256:1");
  stored.job.mutable_usage()->set_token_count(3);
  Add(stored);
  const auto full = jobs_.Get(stored.job.name(), JobStore::Spec::kFull);
  ASSERT_TRUE(full.ok()) << full.status();
  stored.job.set_last_event_number(1);
  stored.job.mutable_progress();
  stored.job.set_owner("users/ada");
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
  EXPECT_THAT(*jobs_.Items(name, 0, 1), ElementsAre("a"));
  EXPECT_THAT(*jobs_.Items(name, 1), ElementsAre(items[1]));
  EXPECT_THAT(*jobs_.Items(name, 2), IsEmpty());
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

TEST_F(JobStoreTest, HeadsAreTheOldestOfEachUserAndPriority) {
  StoredJob background = JobNumber(1);
  background.job.set_priority(v1::JOB_PRIORITY_BACKGROUND);
  StoredJob running = JobNumber(0);
  running.job.set_state(v1::JOB_STATE_RUNNING);
  for (const StoredJob& stored :
       {background, running, JobNumber(3), JobNumber(2), JobNumber(5, "bob")}) {
    Add(stored);
  }
  JobQueue queue(*database_);
  const auto names = [&queue](const std::set<std::string>& skip) {
    std::vector<std::string> names;
    const auto heads = queue.Heads(skip);
    for (const QueueHead& head : *heads) {
      names.push_back(absl::StrCat(head.owner, " ", head.priority, " ",
                                   head.name.substr(head.name.size() - 1)));
    }
    return names;
  };
  EXPECT_THAT(names({}), ElementsAre("ada 2 2", "ada 3 1", "bob 2 5"));
  EXPECT_THAT(names({JobNumber(2).job.name(), JobNumber(5).job.name()}),
              ElementsAre("ada 2 3", "ada 3 1"));
  std::vector<std::string> counts;
  const auto counted = queue.Counts(JobNumber(3).job.name());
  for (const QueueCount& count : *counted) {
    counts.push_back(absl::StrCat(count.owner, " ", count.priority, ": ",
                                  count.older_count, " of ", count.count));
  }
  EXPECT_THAT(counts, UnorderedElementsAre("ada 1: 0 of 0", "ada 2: 1 of 2",
                                           "ada 3: 1 of 1", "bob 1: 0 of 0",
                                           "bob 2: 0 of 1", "bob 3: 0 of 0"));
  EXPECT_EQ(queue.PendingOf("ada")->queued, 3);
  EXPECT_EQ(queue.PendingOf("ada")->running, 1);
}

TEST_F(JobStoreTest, RefusesMoreThanAUserMayQueue) {
  ASSERT_TRUE(jobs_.Create(JobNumber(1), {.pending = 2}).ok());
  ASSERT_TRUE(jobs_.Create(JobNumber(2), {.pending = 2}).ok());
  const absl::Status refused =
      jobs_.Create(JobNumber(3), {.pending = 2}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message(),
              HasSubstr("queued or waiting as the quota allows, 2"));
  EXPECT_TRUE(jobs_.Create(JobNumber(4, "bob"), {.pending = 2}).ok());
  EXPECT_EQ(
      jobs_.Get(JobNumber(3).job.name(), JobStore::Spec::kFull).status().code(),
      absl::StatusCode::kNotFound);
}

TEST_F(JobStoreTest, StoresWhatAJobUsedWithWhatItRecorded) {
  UserStore users(*database_);
  Add(JobNumber(1));
  const auto charge = [&](bool fails) {
    return jobs_
        .Update(JobNumber(1).job.name(), kNow,
                [&](JobChange& change) {
                  change.stored.job.mutable_usage()->set_device_seconds(3);
                  change.use = {.user = "ada",
                                .hour = 7,
                                .device_seconds = 1.5,
                                .token_count = 4};
                  return fails ? absl::AbortedError("no") : absl::OkStatus();
                })
        .status();
  };
  EXPECT_FALSE(charge(/*fails=*/true).ok());
  EXPECT_THAT(*users.UseSince(0), IsEmpty());
  ASSERT_TRUE(charge(false).ok());
  ASSERT_TRUE(charge(false).ok());
  const auto hours = users.UseSince(7);
  ASSERT_EQ(hours->size(), 1U);
  EXPECT_EQ(hours->front().device_seconds, 3.0);
  EXPECT_EQ(hours->front().token_count, 8);
  EXPECT_THAT(*users.UseSince(8), IsEmpty());
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
  EXPECT_THAT(queue, HasSubstr("USING INDEX jobs_queue (owner=? AND priori"));
  EXPECT_THAT(queue, Not(HasSubstr("TEMP B-TREE")));
  const std::string owners = Plan(std::string(kQueueOwnersSql));
  EXPECT_THAT(owners, HasSubstr("USING INDEX jobs_queue (owner>?)"));
  EXPECT_THAT(owners, Not(HasSubstr("SCAN jobs")));
  EXPECT_THAT(Plan(std::string(kPendingCountSql)),
              HasSubstr("jobs_by_owner_and_state (owner=? AND state=?)"));
  EXPECT_THAT(Plan(std::string(kFindByRequestSql)),
              HasSubstr("USING COVERING INDEX jobs_by_request"));
  EXPECT_THAT(Plan(std::string(kNamesInStateSql)),
              HasSubstr("USING COVERING INDEX jobs_by_state"));
}

}  // namespace
}  // namespace dissonance
