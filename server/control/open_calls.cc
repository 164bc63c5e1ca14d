#include "server/control/open_calls.h"

#include <utility>

namespace dissonance {

struct OpenCall::Entry {
  Entry(absl::string_view of_token, OpenCalls::End to_end)
      : token(of_token), end(std::move(to_end)) {}

  // The lock is held while `end` runs: whoever closes the entry waits for it.
  void Finish(const absl::Status& status) {
    const absl::MutexLock lock(&mutex);
    if (end) std::exchange(end, nullptr)(status);
  }
  void Close() {
    const absl::MutexLock lock(&mutex);
    end = nullptr;
  }

  const std::string token;
  absl::Mutex mutex;
  OpenCalls::End end ABSL_GUARDED_BY(mutex);
};

OpenCall::~OpenCall() { entry_->Close(); }

std::unique_ptr<OpenCall> OpenCalls::Add(absl::string_view token, End end) {
  auto entry = std::make_shared<OpenCall::Entry>(token, std::move(end));
  absl::Status ended;
  {
    const absl::MutexLock lock(&mutex_);
    entries_.remove_if([](const auto& weak) { return weak.expired(); });
    entries_.push_back(entry);
    ended = end_;
  }
  if (!ended.ok()) entry->Finish(ended);
  return std::unique_ptr<OpenCall>(new OpenCall(std::move(entry)));
}

std::list<std::shared_ptr<OpenCall::Entry>> OpenCalls::Entries() {
  std::list<std::shared_ptr<OpenCall::Entry>> alive;
  for (const std::weak_ptr<OpenCall::Entry>& weak : entries_) {
    if (auto entry = weak.lock()) alive.push_back(std::move(entry));
  }
  return alive;
}

void OpenCalls::EndAll(const absl::Status& status) {
  std::list<std::shared_ptr<OpenCall::Entry>> entries;
  {
    const absl::MutexLock lock(&mutex_);
    end_ = status;
    entries = Entries();
  }
  for (const auto& entry : entries) entry->Finish(status);
}

void OpenCalls::EndOf(absl::string_view token, const absl::Status& status) {
  std::list<std::shared_ptr<OpenCall::Entry>> entries;
  {
    const absl::MutexLock lock(&mutex_);
    entries = Entries();
  }
  for (const auto& entry : entries) {
    if (entry->token == token) entry->Finish(status);
  }
}

std::set<std::string> OpenCalls::Tokens() {
  std::set<std::string> tokens;
  const absl::MutexLock lock(&mutex_);
  for (const auto& entry : Entries()) tokens.insert(entry->token);
  return tokens;
}

}  // namespace dissonance
