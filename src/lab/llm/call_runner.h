// Runs tasks that ask a chat model one question after another, many tasks at a
// time. A reply is recorded in the job before its task sees it, by the
// request's digest, so a job that is run again asks nothing twice that was
// answered. One thread.
//
//   ASSIGN_OR_RETURN(CallRunner calls, CallRunner::Create(client, job, units));
//   RETURN_IF_ERROR(calls.Run(tasks, check));
#ifndef DISSONANCE_LAB_LLM_CALL_RUNNER_H_
#define DISSONANCE_LAB_LLM_CALL_RUNNER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "src/lab/jobs/job_context.h"
#include "src/lab/llm/chat_client.h"

namespace dissonance {

// A part of the work. What it asks may depend on earlier replies of its own
// and on nothing else, so that it asks the same when it is run again.
class ChatTask {
 public:
  virtual ~ChatTask() = default;
  // The next question; nullopt: it is done.
  virtual std::optional<ChatRequest> Next() = 0;
  // What came of it. UNAVAILABLE: nothing, after all tries.
  virtual void Take(absl::StatusOr<ChatReply> reply) = 0;
};

// Of the calls that were answered, in this run and before.
struct CallTotals {
  int64_t call_count = 0;
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  std::optional<double> cost = std::nullopt;   // US dollars; unset: none told
  std::map<std::string, int64_t> models = {};  // as the endpoint named them

  // Of those the ones whose reply told no cost.
  struct Untold {
    int64_t call_count = 0;
    int64_t prompt_tokens = 0;
    int64_t completion_tokens = 0;
  };
  Untold untold = {};
};

class CallRunner {
 public:
  // Reads what the job has recorded. Borrows both. DATA_LOSS if a record can't
  // be read.
  static absl::StatusOr<CallRunner> Create(ChatClient& client, JobContext& job);
  ~CallRunner();
  CallRunner(CallRunner&&) noexcept;

  // Runs the tasks to their ends. `check` is called after each reply that a
  // task took; what it returns other than OK ends the run, as does:
  // CANCELLED when the job is cancelled; what Record returns; a reply that no
  // other call can hope to better (a refused key, an unknown model, a used-up
  // quota), as FAILED_PRECONDITION.
  absl::Status Run(absl::Span<ChatTask* const> tasks,
                   absl::FunctionRef<absl::Status()> check);

  // For the job's progress: how many units there are in all, about.
  void set_total(int64_t total) { total_ = total; }

  const CallTotals& totals() const { return totals_; }

 private:
  struct Replies;  // what the client's thread hands over
  struct Sent {
    int64_t call = 0;  // the client's number
    std::string digest;
  };

  CallRunner(ChatClient& client, JobContext& job);

  void Count(const ChatReply& reply);
  absl::Status Record(const std::string& digest, const ChatReply& reply);
  // Gives a task what is recorded until it asks something new: that request,
  // or nullopt when it is done.
  absl::StatusOr<std::optional<ChatRequest>> Advance(
      ChatTask& task, absl::FunctionRef<absl::Status()> check);
  absl::Status TakeOne(absl::Span<ChatTask* const> tasks,
                       absl::FunctionRef<absl::Status()> check,
                       std::vector<std::pair<size_t, ChatRequest>>& ready);
  void Send(size_t task, const ChatRequest& request);
  void CancelAll();

  ChatClient* client_;
  JobContext* job_;
  int64_t total_ = 0;
  std::map<std::string, ChatReply> known_;  // by digest
  int64_t record_count_ = 0;
  CallTotals totals_;
  std::shared_ptr<Replies> replies_;
  std::map<size_t, Sent> sent_;  // by task
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_LLM_CALL_RUNNER_H_
