#include "src/lab/llm/call_runner.h"

#include <deque>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using nlohmann::json;

// How soon a cancelled job is noticed while no reply comes.
constexpr absl::Duration kGlance = absl::Milliseconds(200);

std::string RecordOf(const std::string& digest, const ChatReply& reply) {
  json record = {{"digest", digest},
                 {"content", reply.content},
                 {"finish_reason", reply.finish_reason},
                 {"model", reply.model},
                 {"prompt_tokens", reply.usage.prompt_tokens},
                 {"completion_tokens", reply.usage.completion_tokens}};
  if (reply.usage.cost.has_value()) record["cost"] = *reply.usage.cost;
  return ToJsonLine(record);
}

absl::StatusOr<std::pair<std::string, ChatReply>> ReadRecord(
    const std::string& text) {
  try {
    const json record = json::parse(text);
    ChatReply reply{
        .content = record.at("content"),
        .finish_reason = record.at("finish_reason"),
        .model = record.at("model"),
        .usage = {.prompt_tokens = record.at("prompt_tokens"),
                  .completion_tokens = record.at("completion_tokens")}};
    if (record.contains("cost")) reply.usage.cost = record["cost"];
    return std::pair(record.at("digest").get<std::string>(), std::move(reply));
  } catch (const json::exception& e) {
    return absl::DataLossError(
        absl::StrCat("a recorded call can't be read: ", e.what()));
  }
}

// Whether other calls would fare no better.
bool StopsAll(const absl::Status& status) {
  return absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status) ||
         absl::IsNotFound(status) || absl::IsFailedPrecondition(status) ||
         absl::IsResourceExhausted(status);
}

}  // namespace

struct CallRunner::Replies {
  using Reply = std::pair<size_t, absl::StatusOr<ChatReply>>;  // of a task

  absl::Mutex mutex;
  std::deque<Reply> arrived ABSL_GUARDED_BY(mutex);

  // nullopt: none came for a while.
  std::optional<Reply> Wait() {
    const absl::MutexLock lock(&mutex);
    const auto any = [this] { return !arrived.empty(); };
    if (!mutex.AwaitWithTimeout(absl::Condition(&any), kGlance)) {
      return std::nullopt;
    }
    Reply reply = std::move(arrived.front());
    arrived.pop_front();
    return reply;
  }
};

CallRunner::CallRunner(ChatClient& client, JobContext& job)
    : client_(&client), job_(&job), replies_(std::make_shared<Replies>()) {}
CallRunner::CallRunner(CallRunner&&) noexcept = default;
CallRunner::~CallRunner() { CancelAll(); }

absl::StatusOr<CallRunner> CallRunner::Create(ChatClient& client,
                                              JobContext& job) {
  CallRunner runner(client, job);
  ASSIGN_OR_RETURN(const std::vector<std::string> items, job.RecordedItems());
  for (const std::string& item : items) {
    ASSIGN_OR_RETURN(auto record, ReadRecord(item));
    runner.Count(record.second);
    runner.known_.insert(std::move(record));
  }
  runner.record_count_ = static_cast<int64_t>(items.size());
  return runner;
}

void CallRunner::Count(const ChatReply& reply) {
  ++totals_.call_count;
  totals_.prompt_tokens += reply.usage.prompt_tokens;
  totals_.completion_tokens += reply.usage.completion_tokens;
  if (reply.usage.cost.has_value()) {
    totals_.cost = totals_.cost.value_or(0) + *reply.usage.cost;
  } else {
    ++totals_.untold.call_count;
    totals_.untold.prompt_tokens += reply.usage.prompt_tokens;
    totals_.untold.completion_tokens += reply.usage.completion_tokens;
  }
  ++totals_.models[reply.model];
}

absl::Status CallRunner::Record(const std::string& digest,
                                const ChatReply& reply) {
  const std::string item = RecordOf(digest, reply);
  RETURN_IF_ERROR(
      job_->RecordItems(record_count_, absl::MakeConstSpan(&item, 1),
                        std::max(total_, record_count_ + 1), "calls"));
  ++record_count_;
  Count(reply);
  known_.emplace(digest, reply);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<ChatRequest>> CallRunner::Advance(
    ChatTask& task, absl::FunctionRef<absl::Status()> check) {
  while (true) {
    std::optional<ChatRequest> request = task.Next();
    if (!request.has_value()) return std::nullopt;
    const auto known =
        known_.find(ChatRequestDigest(client_->endpoint().base_url, *request));
    if (known == known_.end()) return request;
    task.Take(known->second);
    RETURN_IF_ERROR(check());
  }
}

void CallRunner::Send(size_t task, const ChatRequest& request) {
  const int64_t number = client_->Submit(
      request, [replies = replies_, task](absl::StatusOr<ChatReply> reply) {
        const absl::MutexLock lock(&replies->mutex);
        replies->arrived.emplace_back(task, std::move(reply));
      });
  sent_[task] = {
      .call = number,
      .digest = ChatRequestDigest(client_->endpoint().base_url, request)};
}

absl::Status CallRunner::Run(absl::Span<ChatTask* const> tasks,
                             absl::FunctionRef<absl::Status()> check) {
  const auto most = static_cast<size_t>(client_->endpoint().in_flight);
  std::vector<std::pair<size_t, ChatRequest>> ready;
  size_t begun = 0;
  const auto run = [&]() -> absl::Status {
    while (true) {
      while (sent_.size() + ready.size() < most && begun < tasks.size()) {
        const size_t task = begun++;
        ASSIGN_OR_RETURN(auto request, Advance(*tasks[task], check));
        if (request.has_value()) ready.emplace_back(task, *std::move(request));
      }
      for (const auto& [task, request] : ready) Send(task, request);
      ready.clear();
      if (sent_.empty()) return absl::OkStatus();
      if (job_->cancelled()) return absl::CancelledError("cancelled");
      RETURN_IF_ERROR(TakeOne(tasks, check, ready));
    }
  };
  const absl::Status status = run();
  CancelAll();
  return status;
}

absl::Status CallRunner::TakeOne(
    absl::Span<ChatTask* const> tasks, absl::FunctionRef<absl::Status()> check,
    std::vector<std::pair<size_t, ChatRequest>>& ready) {
  std::optional<Replies::Reply> arrived = replies_->Wait();
  if (!arrived.has_value()) return absl::OkStatus();
  auto& [task, reply] = *arrived;
  const std::string digest = sent_.at(task).digest;
  sent_.erase(task);
  if (reply.ok()) {
    RETURN_IF_ERROR(Record(digest, *reply));
  } else if (StopsAll(reply.status())) {
    return absl::FailedPreconditionError(reply.status().message());
  }
  tasks[task]->Take(std::move(reply));
  RETURN_IF_ERROR(check());
  ASSIGN_OR_RETURN(auto request, Advance(*tasks[task], check));
  if (request.has_value()) ready.emplace_back(task, *std::move(request));
  return absl::OkStatus();
}

void CallRunner::CancelAll() {
  for (const auto& [task, sent] : sent_) client_->Cancel(sent.call);
  sent_.clear();
  // Replies of calls that were given up go to nobody.
  replies_ = std::make_shared<Replies>();
}

}  // namespace dissonance
