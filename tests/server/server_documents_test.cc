// Documents written by a real server that asks a real HTTP endpoint: through
// kills, storms of refusals and every fault of an endpoint, the files are those
// of a run that nothing disturbed, and nothing that was answered is asked
// twice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/job_store.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/document_writer.h"
#include "tests/testing/scripted_endpoint.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using nlohmann::json;
using ::testing::SizeIs;

constexpr char kRequest[] = "the-documents";

std::string Universe() {
  return *ReadFile(InTree("data/cubic_gravity/universe.json"), 1 << 20);
}

v1::JobSpec Documents(int types, int ideas) {
  v1::JobSpec spec;
  v1::GenerateDocumentsSpec& documents = *spec.mutable_generate_documents();
  documents.set_universe(Universe());
  documents.mutable_llm()->set_model("scripted");
  documents.set_types_per_fact(types);
  documents.set_ideas_per_type(ideas);
  documents.set_most_repeats(1);
  return spec;
}

std::string Config(const ScriptedEndpoint& endpoint, int in_flight) {
  return absl::StrCat("[llm.default]\nbase_url = \"", endpoint.base_url(),
                      "\"\nin_flight = ", in_flight, "\ntimeout_seconds = 5\n");
}

// An endpoint's model that numbers its answers, in what it says they took, and
// gives no more of them than it is let: however late the test comes to kill the
// server, it has got so far and no further.
class CountingWriter {
 public:
  ScriptedAnswer operator()(const ScriptedRequest& request)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    ScriptedAnswer answer = writer_(request);
    json body = json::parse(answer.body);
    {
      const absl::MutexLock lock(&mutex_);
      const size_t number = questions_.size();
      body["usage"]["completion_tokens"] = number;
      questions_.push_back(request.body);
      const auto is_let = [this, number] { return number < limit_; };
      mutex_.Await(absl::Condition(&is_let));
    }
    answer.body = body.dump();
    return answer;
  }

  // Waits until so many questions more have come; the last of them, and those
  // behind it, wait for their answers.
  bool AwaitQuestions(size_t more) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    const size_t count = questions_.size() + more;
    limit_ = count - 1;
    const auto there = [this, count] { return questions_.size() >= count; };
    return mutex_.AwaitWithTimeout(absl::Condition(&there),
                                   ServerProcess::kPatience);
  }
  // Answers everything from now on.
  void Release() ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    limit_ = std::numeric_limits<size_t>::max();
  }
  // By the answers' numbers.
  std::vector<std::string> questions() const ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    return questions_;
  }

 private:
  const DocumentWriter writer_{Universe()};
  mutable absl::Mutex mutex_;
  std::vector<std::string> questions_ ABSL_GUARDED_BY(mutex_);
  size_t limit_ ABSL_GUARDED_BY(mutex_) = 0;
};

// The numbers of the answers that the job has recorded; no server runs.
std::vector<size_t> RecordedAnswers(const std::string& data_dir,
                                    const std::string& job) {
  const auto database = Database::Open({.data_dir = data_dir});
  EXPECT_TRUE(database.ok()) << database.status();
  JobStore jobs(**database);
  const auto items = jobs.Items(job, 0, -1);
  EXPECT_TRUE(items.ok()) << items.status();
  std::vector<size_t> numbers;
  for (const std::string& item : *items) {
    numbers.push_back(json::parse(item).at("completion_tokens"));
  }
  return numbers;
}

std::string DocsOf(ServerProcess& server, const std::string& name) {
  const auto job = AwaitJob(server, name);
  EXPECT_TRUE(job.ok()) << job.status();
  if (!job.ok()) return "";
  EXPECT_EQ(job->state(), v1::JOB_STATE_SUCCEEDED) << job->reason();
  const auto files = JobFiles(server, *job);
  EXPECT_TRUE(files.ok()) << files.status();
  return files.ok() && files->contains("docs.jsonl") ? files->at("docs.jsonl")
                                                     : "";
}

// docs.jsonl of a run that nothing disturbs.
std::string Undisturbed(const v1::JobSpec& spec) {
  const TempFolder folder;
  ScriptedEndpoint endpoint{DocumentWriter(Universe())};
  ServerProcess server(
      {.data_dir = folder.path(), .config = Config(endpoint, 20)});
  EXPECT_TRUE(server.AwaitServing());
  const auto job = CreateJob(server, spec, kRequest);
  EXPECT_TRUE(job.ok()) << job.status();
  return job.ok() ? DocsOf(server, job->name()) : "";
}

int64_t LineCount(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

TEST(ServerDocumentsTest, FiftyKillsCostNoAnswerThatWasRecorded) {
  constexpr int kKills = 50;
  const v1::JobSpec spec = Documents(/*types=*/4, /*ideas=*/8);
  const std::string whole = Undisturbed(spec);
  ASSERT_EQ(LineCount(whole), 8 * 4 * 8);

  CountingWriter writer;
  ScriptedEndpoint endpoint(std::ref(writer));
  const absl::Cleanup release = [&writer] { writer.Release(); };
  const TempFolder folder;
  const ServerProcess::Options options = {.data_dir = folder.path(),
                                          .config = Config(endpoint, 3)};
  std::mt19937 random(20261126);
  std::string name;
  std::set<std::string> answered;
  size_t looked_at = 0;
  for (int kill = 0; kill < kKills; ++kill) {
    ServerProcess server(options);
    if (kill == 0) {
      ASSERT_TRUE(server.AwaitServing());
      const auto job = CreateJob(server, spec, kRequest);
      ASSERT_TRUE(job.ok()) << job.status();
      name = job->name();
    }
    ASSERT_TRUE(writer.AwaitQuestions(3 + random() % 6));
    server.Signal(SIGKILL);
    ASSERT_EQ(server.AwaitExit(), 128 + SIGKILL);
    const std::vector<std::string> questions = writer.questions();
    // What came in this run had no recorded answer before.
    for (; looked_at < questions.size(); ++looked_at) {
      EXPECT_FALSE(answered.contains(questions[looked_at])) << "kill " << kill;
    }
    for (const size_t number : RecordedAnswers(folder.path(), name)) {
      answered.insert(questions.at(number));
    }
    // Else it came too late to show anything.
    ASSERT_LT(answered.size(), 1 + 8 + 32 + 256U) << "kill " << kill;
  }
  writer.Release();
  ServerProcess server(options);
  ASSERT_TRUE(server.AwaitServing());
  EXPECT_EQ(DocsOf(server, name), whole);
  const std::vector<std::string> questions = writer.questions();
  for (; looked_at < questions.size(); ++looked_at) {
    EXPECT_FALSE(answered.contains(questions[looked_at]));
  }
  // Of each kill, no more than was in flight is lost.
  EXPECT_LE(questions.size(), 1 + 8 + 32 + 256 + kKills * 3U);
}

// Every answer waits until so many are asked for at a time.
class TwentyAtOnce {
 public:
  explicit TwentyAtOnce(int64_t count) : count_(count) {}

  ScriptedAnswer operator()(const ScriptedRequest& request) {
    if (absl::StrContains(request.Prompt(), "Write this document")) Meet();
    return writer_(request);
  }

 private:
  // Returns when `count_` are here.
  void Meet() ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    const int64_t round = arrived_++ / count_;
    const auto all = [this, round] { return arrived_ >= (round + 1) * count_; };
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&all),
                                        ServerProcess::kPatience));
  }

  const int64_t count_;
  const DocumentWriter writer_{Universe()};
  absl::Mutex mutex_;
  int64_t arrived_ ABSL_GUARDED_BY(mutex_) = 0;
};

TEST(ServerDocumentsTest, KeepsTwentyCallsInFlight) {
  TwentyAtOnce meeting(20);
  ScriptedEndpoint endpoint(std::ref(meeting));
  const TempFolder folder;
  std::string config = Config(endpoint, 20);
  absl::StrAppend(&config, "timeout_seconds = 120\n");
  config.erase(config.find("timeout_seconds = 5\n"), 20);
  ServerProcess server({.data_dir = folder.path(), .config = config});
  ASSERT_TRUE(server.AwaitServing());
  v1::JobSpec spec = Documents(/*types=*/4, /*ideas=*/8);
  spec.mutable_generate_documents()->set_document_limit(200);
  const auto job = CreateJob(server, spec, kRequest);
  ASSERT_TRUE(job.ok()) << job.status();
  // Ten rounds, each of which would wait for ever with one call fewer.
  EXPECT_EQ(LineCount(DocsOf(server, job->name())), 200);
  EXPECT_EQ(endpoint.most_at_once(), 20);
}

// Most questions are refused or spoilt once or twice before they are answered.
class FaultyWriter {
 public:
  ScriptedAnswer operator()(const ScriptedRequest& request)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    ScriptedAnswer answer = writer_(request);
    const absl::MutexLock lock(&mutex_);
    const int tries = tries_[request.body]++;
    const size_t kind = std::hash<std::string>()(request.body) % 8;
    if (kind < 3 && tries < 2) {
      ScriptedAnswer storm = ScriptedAnswer::Refuses(429, "slow down");
      storm.headers["Retry-After"] = "0";
      return storm;
    }
    if (tries > 0) return answer;
    switch (kind) {
      case 3:
        return ScriptedAnswer::Refuses(500, "oh");
      case 4:
        return ScriptedAnswer::Refuses(503, "busy");
      case 5:
        answer.fault = ScriptedAnswer::Fault::kHalf;
        break;
      case 6:
        answer.fault = ScriptedAnswer::Fault::kNothing;
        break;
      case 7:
        answer.body = "{\"choices\": [";
        break;
      default:
        break;
    }
    return answer;
  }

 private:
  const DocumentWriter writer_{Universe()};
  absl::Mutex mutex_;
  std::map<std::string, int> tries_ ABSL_GUARDED_BY(mutex_);
};

TEST(ServerDocumentsTest, StormsAndFaultsLoseNoDocument) {
  const v1::JobSpec spec = Documents(/*types=*/2, /*ideas=*/8);
  const std::string whole = Undisturbed(spec);
  ASSERT_EQ(LineCount(whole), 8 * 2 * 8);
  FaultyWriter writer;
  ScriptedEndpoint endpoint(std::ref(writer));
  const TempFolder folder;
  ServerProcess server(
      {.data_dir = folder.path(), .config = Config(endpoint, 20)});
  ASSERT_TRUE(server.AwaitServing());
  const auto job = CreateJob(server, spec, kRequest);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(DocsOf(server, job->name()), whole);
  EXPECT_GT(endpoint.requests().size(), 2U * (1 + 8 + 16 + 128) * 3 / 4);
}

TEST(ServerDocumentsTest, AnUnknownEndpointIsRefusedBeforeTheJobIsQueued) {
  const TempFolder folder;
  ServerProcess server({.data_dir = folder.path()});
  ASSERT_TRUE(server.AwaitServing());
  const auto job = CreateJob(server, Documents(1, 1), "");
  EXPECT_TRUE(absl::IsInvalidArgument(job.status())) << job.status();
  EXPECT_THAT(job.status().message(),
              ::testing::HasSubstr("no chat endpoint \"default\""));
}

}  // namespace
}  // namespace dissonance
