#include "src/lab/llm/chat_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/call_once.h"
#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/synchronization/mutex.h"
#include "src/base/clock.h"
#include "src/base/status_macros.h"
#include "src/lab/llm/curl_exchange.h"
#include "src/lab/llm/http_outcome.h"
#include "src/lab/llm/pace.h"

namespace dissonance {
namespace {

constexpr absl::Duration kLongestPoll = absl::Minutes(1);
// Of English text, by bytes; corrected when the reply says.
constexpr int64_t kBytesPerToken = 4;

absl::Status Cancelled() {
  return absl::CancelledError("the call was cancelled");
}

void InitCurlOnce() {
  static absl::once_flag once;
  absl::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

}  // namespace

// The client's thread. What is not guarded is that thread's alone.
class ChatClient::Loop {
 public:
  explicit Loop(ChatEndpoint endpoint)
      : endpoint_(std::move(endpoint)),
        pace_(endpoint_.requests_per_minute, endpoint_.tokens_per_minute,
              Now()),
        multi_(curl_multi_init()) {
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS,
                      static_cast<long>(endpoint_.in_flight));
    curl_multi_setopt(multi_, CURLMOPT_MAX_HOST_CONNECTIONS,
                      static_cast<long>(endpoint_.in_flight));
    thread_ = std::thread([this] { Run(); });
  }
  ~Loop() {
    {
      const absl::MutexLock lock(&mutex_);
      stopping_ = true;
    }
    curl_multi_wakeup(multi_);
    thread_.join();
    curl_multi_cleanup(multi_);
  }

  int64_t Submit(ChatRequest request, Done done) {
    auto call = std::make_unique<Call>();
    ChatRequest sent = request;
    sent.json_object = request.json_object && endpoint_.json_mode;
    call->body = ChatRequestBody(sent);
    call->name = ChatRequestDigest(endpoint_.base_url, request);
    call->tokens = static_cast<int64_t>(call->body.size()) / kBytesPerToken +
                   request.max_tokens.value_or(0);
    call->done = std::move(done);
    int64_t number = 0;
    {
      const absl::MutexLock lock(&mutex_);
      number = call->number = next_number_++;
      incoming_.push_back(std::move(call));
    }
    curl_multi_wakeup(multi_);
    return number;
  }

  void Cancel(int64_t number) {
    {
      const absl::MutexLock lock(&mutex_);
      cancelled_.insert(number);
    }
    curl_multi_wakeup(multi_);
  }

  const ChatEndpoint& endpoint() const { return endpoint_; }
  ChatStats stats() const {
    const absl::MutexLock lock(&mutex_);
    return stats_;
  }

 private:
  struct Call {
    int64_t number = 0;
    std::string name;  // the request's digest
    std::string body;
    int64_t tokens = 0;  // about
    Done done;
    int64_t tries = 0;  // that failed otherwise than by being told to wait
    int64_t told = 0;   // to wait
    absl::Duration waited = absl::ZeroDuration();  // as it was told
    absl::Duration not_before = -absl::InfiniteDuration();
    std::unique_ptr<CurlExchange> exchange;  // while in flight
  };
  using CallPtr = std::unique_ptr<Call>;

  static absl::Duration Now() { return Clock::Real().Monotonic(); }

  void Run() {
    while (TakeIn()) {
      Begin();
      int running = 0;
      curl_multi_perform(multi_, &running);
      Collect();
      const absl::Duration wait = UntilNext();
      curl_multi_poll(multi_, nullptr, 0,
                      static_cast<int>(absl::ToInt64Milliseconds(
                          absl::Ceil(wait, absl::Milliseconds(1)))),
                      nullptr);
    }
    for (auto& [handle, call] : flying_) {
      curl_multi_remove_handle(multi_, handle);
      waiting_.emplace(call->number, std::move(call));
    }
    flying_.clear();
    for (auto& [number, call] : waiting_) End(*call, Cancelled());
  }

  // False: the client ends.
  bool TakeIn() {
    std::set<int64_t> cancelled;
    bool goes_on = true;
    {
      const absl::MutexLock lock(&mutex_);
      for (CallPtr& call : incoming_) {
        const int64_t number = call->number;
        waiting_.emplace(number, std::move(call));
      }
      incoming_.clear();
      cancelled.swap(cancelled_);
      goes_on = !stopping_;
    }
    if (!cancelled.empty()) DropCancelled(cancelled);
    return goes_on;
  }

  void DropCancelled(const std::set<int64_t>& cancelled) {
    for (const int64_t number : cancelled) {
      const auto waiting = waiting_.find(number);
      if (waiting == waiting_.end()) continue;
      const CallPtr call = std::move(waiting->second);
      waiting_.erase(waiting);
      End(*call, Cancelled());
    }
    for (auto flying = flying_.begin(); flying != flying_.end();) {
      if (!cancelled.contains(flying->second->number)) {
        ++flying;
        continue;
      }
      const CallPtr call = std::move(flying->second);
      curl_multi_remove_handle(multi_, flying->first);
      flying = flying_.erase(flying);
      End(*call, Cancelled());
    }
  }

  bool HasRoom() const {
    return static_cast<int64_t>(flying_.size()) < endpoint_.in_flight;
  }

  // Sends what may be sent now, in the order of submission.
  void Begin() {
    for (auto next = waiting_.begin(); next != waiting_.end() && HasRoom();) {
      const absl::Duration now = Now();
      if (now < held_until_ || pace_.Wait(now) > absl::ZeroDuration()) return;
      if (now < next->second->not_before) {
        ++next;
        continue;
      }
      CallPtr call = std::move(next->second);
      next = waiting_.erase(next);
      Send(std::move(call), now);
    }
  }

  void Send(CallPtr call, absl::Duration now) {
    auto exchange = CurlExchange::Create(endpoint_, call->body, call->name);
    if (!exchange.ok()) return End(*call, exchange.status());
    call->exchange = *std::move(exchange);
    pace_.Begin(call->tokens, now);
    CURL* handle = call->exchange->handle();
    curl_multi_add_handle(multi_, handle);
    flying_.emplace(handle, std::move(call));
    const absl::MutexLock lock(&mutex_);
    ++stats_.sent_count;
    stats_.most_in_flight =
        std::max(stats_.most_in_flight, static_cast<int64_t>(flying_.size()));
  }

  void Collect() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const auto flying = flying_.find(message->easy_handle);
      const CURLcode code = message->data.result;
      CallPtr call = std::move(flying->second);
      curl_multi_remove_handle(multi_, flying->first);
      flying_.erase(flying);
      const HttpOutcome outcome = call->exchange->Finish(code);
      call->exchange.reset();
      Decide(std::move(call), JudgeTry(outcome));
    }
  }

  void Decide(CallPtr call, TryVerdict verdict) {
    switch (verdict.next) {
      case TryVerdict::Next::kEnd:
        return End(*call, std::move(verdict.reply));
      case TryVerdict::Next::kRetry:
        Count(&ChatStats::failed_count);
        if (++call->tries >= endpoint_.tries) {
          return End(*call, Annotate(verdict.reply.status(),
                                     absl::StrCat(call->tries, " tries")));
        }
        call->not_before = Now() + Backoff(call->tries);
        break;
      case TryVerdict::Next::kWait:
        if (!Wait(*call, verdict)) {
          return End(
              *call,
              Annotate(verdict.reply.status(),
                       absl::StrCat("told to wait for longer than ",
                                    absl::FormatDuration(endpoint_.patience))));
        }
        break;
    }
    const int64_t number = call->number;
    waiting_.emplace(number, std::move(call));
  }

  // Holds all calls back as the endpoint asks. False: for longer than is
  // borne.
  bool Wait(Call& call, const TryVerdict& verdict) {
    Count(&ChatStats::told_to_wait);
    const absl::Duration own = Backoff(++call.told);
    const absl::Duration pause =
        std::max(verdict.pause.value_or(own), absl::Milliseconds(1));
    call.waited += pause;
    if (call.waited > endpoint_.patience) return false;
    held_until_ = std::max(held_until_, Now() + pause);
    return true;
  }

  // Doubles with each failure; between half of it and all, so that calls that
  // failed together do not come back together.
  absl::Duration Backoff(int64_t failures) {
    const double doubled =
        std::ldexp(1.0, static_cast<int>(std::min<int64_t>(failures, 32)) - 1);
    const absl::Duration whole =
        std::min(endpoint_.first_backoff * doubled, endpoint_.longest_backoff);
    return whole * absl::Uniform(random_, 0.5, 1.0);
  }

  void End(const Call& call, absl::StatusOr<ChatReply> reply) {
    if (reply.ok()) {
      Count(&ChatStats::completed_count);
      const int64_t took =
          reply->usage.prompt_tokens + reply->usage.completion_tokens;
      if (took > 0) pace_.Correct(took - call.tokens, Now());
    }
    call.done(std::move(reply));
  }

  void Count(int64_t ChatStats::*figure) {
    const absl::MutexLock lock(&mutex_);
    ++(stats_.*figure);
  }

  // How long nothing has to be done unless the network or a caller says so.
  absl::Duration UntilNext() const {
    if (waiting_.empty() || !HasRoom()) return kLongestPoll;
    const absl::Duration now = Now();
    absl::Duration earliest = absl::InfiniteDuration();
    for (const auto& [number, call] : waiting_) {
      earliest = std::min(earliest, call->not_before - now);
    }
    const absl::Duration wait =
        std::max({earliest, held_until_ - now, pace_.Wait(now)});
    return std::clamp(wait, absl::ZeroDuration(), kLongestPoll);
  }

  const ChatEndpoint endpoint_;
  Pace pace_;
  CURLM* const multi_;
  absl::BitGen random_;
  std::map<int64_t, CallPtr> waiting_;  // by number
  std::map<CURL*, CallPtr> flying_;
  absl::Duration held_until_ = -absl::InfiniteDuration();

  mutable absl::Mutex mutex_;
  int64_t next_number_ ABSL_GUARDED_BY(mutex_) = 1;
  std::vector<CallPtr> incoming_ ABSL_GUARDED_BY(mutex_);
  std::set<int64_t> cancelled_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  ChatStats stats_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<ChatClient>> ChatClient::Create(
    ChatEndpoint endpoint) {
  RETURN_IF_ERROR(CheckEndpoint(endpoint));
  InitCurlOnce();
  return std::unique_ptr<ChatClient>(
      new ChatClient(std::make_unique<Loop>(std::move(endpoint))));
}

ChatClient::ChatClient(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
ChatClient::~ChatClient() = default;

int64_t ChatClient::Submit(ChatRequest request, Done done) {
  return loop_->Submit(std::move(request), std::move(done));
}

void ChatClient::Cancel(int64_t number) { loop_->Cancel(number); }

const ChatEndpoint& ChatClient::endpoint() const { return loop_->endpoint(); }

ChatStats ChatClient::stats() const { return loop_->stats(); }

}  // namespace dissonance
