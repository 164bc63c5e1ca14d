#include "src/lab/jobs/job_manager.h"

#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/lab/jobs/ulid.h"
#include "tests/lab/jobs/job_server.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kNotFound = absl::StatusCode::kNotFound;
constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

// Not started: jobs stay QUEUED.
class JobManagerTest : public ::testing::Test {
 protected:
  v1::Job CreateJob(const std::string& request_id = "", uint64_t seed = 0) {
    return OrDie(jobs_->CreateJob(SomeSpec(seed),
                                  {.owner = "ada", .request_id = request_id}));
  }

  TempFolder dir_;
  JobServer server_{dir_.path()};
  std::unique_ptr<JobManager> jobs_ =
      server_.NewManager({.config_toml = "port = 1"});
};

TEST_F(JobManagerTest, AcknowledgesAQueuedJob) {
  const v1::Job job = CreateJob("r");
  EXPECT_TRUE(IsUlid(job.name().substr(5))) << job.name();
  EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(job.priority(), v1::JOB_PRIORITY_NORMAL);
  EXPECT_EQ(job.request_id(), "r");
  EXPECT_EQ(job.spec().evaluate_mcq().data(), "");
  EXPECT_EQ(job.last_event_number(), 1);
  const v1::Job full = OrDie(jobs_->Get("ada", job.name()));
  EXPECT_EQ(full.spec().evaluate_mcq().data(), "bulky");
  EXPECT_EQ(full.config_toml(), "port = 1");
}

TEST_F(JobManagerTest, ValidatesBeforeItAcknowledges) {
  server_.kind.validate = [](const v1::JobSpec&) {
    return absl::InvalidArgumentError("q.jsonl:7: no answer");
  };
  const auto refused =
      jobs_->CreateJob(SomeSpec(), {.owner = "ada", .request_id = "r"});
  EXPECT_EQ(refused.status(),
            absl::InvalidArgumentError("q.jsonl:7: no answer"));
  EXPECT_EQ(jobs_->CreateJob({}, {.owner = "ada"}).status().code(), kInvalid);
  EXPECT_EQ(jobs_->CreateJob(SomeSpec(), {}).status().code(), kInvalid);
  EXPECT_TRUE(
      OrDie(jobs_->List("", 0, "", v1::JOB_STATE_UNSPECIFIED)).jobs.empty());
}

TEST_F(JobManagerTest, RefusesAKindThatItDoesNotHave) {
  auto jobs = OrDie(JobManager::Create({.store = &server_.store,
                                        .queue = &server_.queue,
                                        .artifacts = server_.artifacts.get()}));
  const auto refused = jobs->CreateJob(SomeSpec(), {.owner = "ada"});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(refused.status().message(), HasSubstr("spec.evaluate_mcq"));
}

TEST_F(JobManagerTest, ARequestIdMakesOneJob) {
  const v1::Job first = CreateJob("r");
  const v1::Job again = CreateJob("r");
  EXPECT_EQ(again.DebugString(), first.DebugString());
  EXPECT_NE(CreateJob("").name(), CreateJob("").name());
  const v1::Job others =
      OrDie(jobs_->CreateJob(SomeSpec(9), {.owner = "bob", .request_id = "r"}));
  EXPECT_NE(others.name(), first.name());
}

TEST_F(JobManagerTest, ARequestIdHoldsEvenIfTheSpecBecameInvalid) {
  const v1::Job first = CreateJob("r");
  server_.kind.validate = [](const v1::JobSpec&) {
    return absl::NotFoundError("models/m was unloaded");
  };
  EXPECT_EQ(CreateJob("r").name(), first.name());
}

TEST_F(JobManagerTest, SaysHowAReusedRequestIdDiffers) {
  const v1::Job first = CreateJob("r", 1);
  const auto refused =
      jobs_->CreateJob(SomeSpec(2), {.owner = "ada", .request_id = "r"});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(refused.status().message(),
              AllOf(HasSubstr(first.name()),
                    HasSubstr("evaluate_mcq.seed: 1 before, 2 now")));
}

TEST_F(JobManagerTest, ARequestIdMakesOneJobAlsoInARace) {
  std::vector<std::string> names(8);
  std::vector<std::thread> threads;
  for (std::string& name : names) {
    threads.emplace_back([&] { name = CreateJob("r").name(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& name : names) EXPECT_EQ(name, names.front());
}

TEST_F(JobManagerTest, ChecksRequestIds) {
  EXPECT_EQ(CreateJob(std::string(128, '~')).request_id().size(), 128U);
  for (const std::string& id :
       {std::string(129, 'a'), std::string("a\n"), std::string("\xC3\xA9"),
        std::string("a\0b", 3)}) {
    EXPECT_EQ(jobs_->CreateJob(SomeSpec(), {.owner = "a", .request_id = id})
                  .status()
                  .code(),
              kInvalid);
  }
}

TEST_F(JobManagerTest, OthersJobsDoNotExist) {
  const std::string name = CreateJob().name();
  const std::string unknown = "jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV";
  for (const auto& [owner, asked] :
       {std::pair{"bob", name}, std::pair{"ada", unknown}}) {
    const absl::Status expected = JobStore::NoSuchJob(asked);
    EXPECT_EQ(jobs_->Get(owner, asked).status(), expected);
    EXPECT_EQ(jobs_->Cancel(owner, asked).status(), expected);
    EXPECT_EQ(jobs_->Retry(owner, asked).status(), expected);
    EXPECT_EQ(jobs_->Delete(owner, asked), expected);
    EXPECT_EQ(jobs_->ReadEvents(owner, asked, 0).status(), expected);
    EXPECT_EQ(jobs_->Subscribe(owner, asked, [] {}).status(), expected);
    EXPECT_EQ(
        jobs_->WaitForEvents(owner, asked, 0, absl::InfiniteFuture()).status(),
        expected);
  }
  EXPECT_TRUE(
      OrDie(jobs_->List("bob", 0, "", v1::JOB_STATE_UNSPECIFIED)).jobs.empty());
  EXPECT_TRUE(jobs_->Get("", name).ok());
  EXPECT_EQ(jobs_->Get("ada", "jobs/../x").status().code(), kInvalid);
}

TEST_F(JobManagerTest, AQueuedJobTellsItsPlace) {
  const std::string first = CreateJob().name();
  const std::string second = CreateJob().name();
  OrDie(jobs_->CreateJob(
      SomeSpec(), {.owner = "ada", .priority = v1::JOB_PRIORITY_BACKGROUND}));
  EXPECT_EQ(OrDie(jobs_->Get("ada", first)).queue().position(), 1);
  EXPECT_EQ(OrDie(jobs_->Get("ada", second)).queue().position(), 2);
  ASSERT_TRUE(jobs_->Cancel("ada", first).ok());
  EXPECT_EQ(OrDie(jobs_->Get("ada", second)).queue().position(), 1);
}

TEST_F(JobManagerTest, PagesNewestFirst) {
  std::vector<std::string> names;
  for (int i = 0; i < 5; ++i) names.insert(names.begin(), CreateJob().name());
  std::vector<std::string> listed;
  std::string token;
  do {
    const JobPage page =
        OrDie(jobs_->List("ada", 2, token, v1::JOB_STATE_QUEUED));
    for (const v1::Job& job : page.jobs) {
      listed.push_back(job.name());
      EXPECT_EQ(job.spec().evaluate_mcq().data(), "");
      EXPECT_EQ(job.spec().evaluate_mcq().data_name(), "q.jsonl");
    }
    token = page.next_page_token;
    CreateJob();
  } while (!token.empty());
  EXPECT_EQ(listed, names);
  EXPECT_EQ(jobs_->List("ada", -1, "", v1::JOB_STATE_QUEUED).status().code(),
            kInvalid);
  EXPECT_EQ(
      jobs_->List("ada", 1, "nonsense", v1::JOB_STATE_QUEUED).status().code(),
      kInvalid);
}

TEST_F(JobManagerTest, CancelsRetriesAndDeletesAQueuedJob) {
  const std::string name = CreateJob().name();
  EXPECT_EQ(jobs_->Delete("ada", name).code(), kPrecondition);
  EXPECT_EQ(jobs_->Retry("ada", name).status().code(), kPrecondition);
  const v1::Job cancelled = OrDie(jobs_->Cancel("ada", name));
  EXPECT_EQ(cancelled.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_TRUE(cancelled.has_end_time());
  EXPECT_EQ(jobs_->Cancel("ada", name).status().code(), kPrecondition);
  const v1::Job retried = OrDie(jobs_->Retry("ada", name));
  EXPECT_EQ(retried.state(), v1::JOB_STATE_QUEUED);
  EXPECT_FALSE(retried.has_end_time());
  EXPECT_TRUE(jobs_->Cancel("ada", name).ok());
  EXPECT_TRUE(jobs_->Delete("ada", name).ok());
  EXPECT_EQ(jobs_->Get("ada", name).status().code(), kNotFound);
}

TEST_F(JobManagerTest, NamesFollowThoseBeforeARestart) {
  const std::string before = CreateJob().name();
  jobs_ = server_.NewManager();
  EXPECT_GT(CreateJob().name(), before);
}

TEST_F(JobManagerTest, ChecksItsOptions) {
  EXPECT_EQ(JobManager::Create({}).status().code(), kInvalid);
  EXPECT_EQ(JobManager::Create({.store = &server_.store,
                                .queue = &server_.queue,
                                .artifacts = server_.artifacts.get(),
                                .max_concurrent_jobs = 0})
                .status()
                .code(),
            kInvalid);
}

}  // namespace
}  // namespace dissonance
