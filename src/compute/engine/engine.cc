#include "src/compute/engine/engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/compute/engine/step_batch.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {

// A sequence in the engine, with what it computes on.
struct Engine::Entry {
  int64_t number = 0;
  EngineVariant variant;
  std::unique_ptr<Sequence> sequence;
  std::unique_ptr<KvCache> cache;
  int64_t cache_bytes = 0;
  bool ended = false;
};

namespace {

int64_t CacheBytes(const EngineVariant& variant, int64_t tokens) {
  return KvCache::BytesFor(
      variant.model->spec(), tokens,
      static_cast<int64_t>(variant.model->weights().embed.element_size()));
}

absl::Status CheckTokens(const Model& model,
                         const std::vector<int32_t>& tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= model.spec().vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "token id ", tokens[i], " at index ", i,
          " is not in the vocabulary of ", model.spec().vocab_size, " tokens"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

Engine::Engine(const EngineOptions& options) : options_(options) {}

Engine::~Engine() {
  {
    const absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
  TakeIn();
  for (const std::unique_ptr<Entry>& entry : entries_) {
    End(*entry, absl::CancelledError("the engine is stopping"));
  }
}

void Engine::Start() {
  thread_ = std::thread([this] { Loop(); });
}

absl::StatusOr<int64_t> Engine::SubmitScore(EngineVariant variant,
                                            ScoreTask task, ScoreDone done) {
  RETURN_IF_ERROR(CheckTokens(*variant.model, task.prompt));
  size_t longest = 0;
  for (size_t i = 0; i < task.continuations.size(); ++i) {
    RETURN_IF_ERROR(Annotate(CheckTokens(*variant.model, task.continuations[i]),
                             absl::StrCat("continuations[", i, "]")));
    longest = std::max(longest, task.continuations[i].size());
  }
  const auto total = static_cast<int64_t>(task.prompt.size() + longest);
  return Submit(std::move(variant),
                MakeScoreSequence(std::move(task), options_.prefill_chunk,
                                  std::move(done)),
                total);
}

absl::StatusOr<int64_t> Engine::SubmitGenerate(EngineVariant variant,
                                               GenerateTask task,
                                               GenerateDone done) {
  RETURN_IF_ERROR(CheckTokens(*variant.model, task.prompt));
  const int64_t total =
      static_cast<int64_t>(task.prompt.size()) + task.max_new_tokens;
  return Submit(std::move(variant),
                MakeGenerateSequence(std::move(task), options_.prefill_chunk,
                                     std::move(done)),
                total);
}

absl::StatusOr<int64_t> Engine::Submit(
    EngineVariant variant, absl::StatusOr<std::unique_ptr<Sequence>> made,
    int64_t total_tokens) {
  RETURN_IF_ERROR(made.status());
  const int64_t positions = variant.model->spec().max_positions;
  if (total_tokens > positions) {
    return absl::InvalidArgumentError(
        absl::StrCat("the sequence has ", total_tokens,
                     " tokens; the model's positions end at ", positions));
  }
  const int64_t bytes = CacheBytes(variant, (*made)->cache_tokens());
  if (bytes > options_.kv_cache_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the request's key/value cache needs ", bytes,
                     " bytes, the limit is ", options_.kv_cache_bytes));
  }
  auto entry = std::make_unique<Entry>();
  entry->variant = std::move(variant);
  entry->sequence = *std::move(made);
  entry->cache_bytes = bytes;
  const absl::MutexLock lock(&mutex_);
  if (stopping_) return absl::UnavailableError("the engine is stopping");
  if (sequence_count_ >= options_.queue_limit) {
    return absl::UnavailableError(
        absl::StrCat("the queue is full with ", options_.queue_limit,
                     " sequences; send fewer at once and try again"));
  }
  const int64_t number = next_number_++;
  entry->number = number;
  arrived_.push_back(std::move(entry));
  ++sequence_count_;
  return number;
}

void Engine::Cancel(int64_t number) {
  const absl::MutexLock lock(&mutex_);
  cancelled_.insert(number);
}

void Engine::Loop() {
  while (true) {
    if (!entries_.empty()) {
      {
        const absl::MutexLock lock(&mutex_);
        if (stopping_) return;
      }
      Step();
      continue;
    }
    {
      const absl::MutexLock lock(&mutex_);
      const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return stopping_ || !arrived_.empty();
      };
      mutex_.Await(absl::Condition(&has_work));
      if (stopping_) return;
    }
    Step();
  }
}

void Engine::TakeIn() {
  std::set<int64_t> cancelled;
  {
    const absl::MutexLock lock(&mutex_);
    for (std::unique_ptr<Entry>& entry : arrived_) {
      entries_.push_back(std::move(entry));
    }
    arrived_.clear();
    cancelled.swap(cancelled_);
  }
  for (const std::unique_ptr<Entry>& entry : entries_) {
    if (cancelled.contains(entry->number)) {
      End(*entry, absl::CancelledError("the request was cancelled"));
    }
  }
  std::erase_if(entries_, [](const auto& entry) { return entry->ended; });
}

bool Engine::Admit(Entry& entry) {
  if (kv_bytes_ + entry.cache_bytes > options_.kv_cache_bytes) return false;
  const absl::Status made = CatchTorch("key/value cache", [&entry] {
    entry.cache = std::make_unique<KvCache>(
        entry.variant.model->spec(), entry.sequence->cache_tokens(),
        entry.variant.model->weights().embed.options());
  });
  if (made.ok()) {
    kv_bytes_ += entry.cache_bytes;
  } else if (kv_bytes_ == 0) {
    End(entry, made);  // nothing can be freed for it
  }
  return made.ok();
}

// The oldest sequence decides the model; further ones of the same model join
// in order of arrival while the budget lasts. While one waits for its cache no
// later one gets a new cache, or small ones would keep a large one waiting.
Engine::Entries Engine::Pick() {
  Entries picked;
  int64_t rows = 0;
  bool cache_is_full = false;
  for (const std::unique_ptr<Entry>& entry : entries_) {
    if (!picked.empty() &&
        entry->variant.model != picked.front()->variant.model) {
      continue;
    }
    const int64_t work = entry->sequence->next_row_count();
    if (!picked.empty() && rows + work > options_.step_tokens) break;
    const bool needs_cache = entry->cache_bytes > 0 && entry->cache == nullptr;
    if (needs_cache && (cache_is_full || !Admit(*entry))) {
      cache_is_full = true;
      continue;
    }
    picked.push_back(entry.get());
    rows += work;
  }
  return picked;
}

bool Engine::Step() {
  TakeIn();
  const Entries picked = Pick();
  if (!picked.empty()) RunOrSplit(picked);
  std::erase_if(entries_, [](const auto& entry) { return entry->ended; });
  ++step_count_;
  return !entries_.empty() || !picked.empty();
}

void Engine::RunOrSplit(const Entries& entries) {
  const absl::Status status = Run(entries);
  if (status.ok()) return;
  if (entries.size() == 1) {
    End(*entries.front(), status);
    return;
  }
  for (Entry* entry : entries) RunOrSplit({entry});
}

absl::Status Engine::Run(const Entries& entries) {
  std::vector<StepItem> items;
  items.reserve(entries.size());
  for (const Entry* entry : entries) {
    const std::optional<DropoutKey>& dropout = entry->variant.dropout;
    items.push_back({.work = entry->sequence->Next(),
                     .cache = entry->cache.get(),
                     .adapter = entry->variant.adapter,
                     .dropout = dropout.has_value() ? &*dropout : nullptr,
                     .prompt_count = entry->sequence->prompt_count(),
                     .interventions = entry->variant.interventions.get(),
                     .results = {}});
  }
  RETURN_IF_ERROR(CatchTorch("engine step", [&] {
    RunStep(*entries.front()->variant.model, options_.reproducible, items);
  }));
  for (size_t i = 0; i < entries.size(); ++i) {
    computed_token_count_ += static_cast<int64_t>(items[i].work.tokens.size());
    const absl::Status finite = CheckFinite(*entries.front()->variant.model,
                                            options_.reproducible, items[i]);
    if (!finite.ok()) {
      End(*entries[i], finite);
      continue;
    }
    CommitStep(items[i]);
    if (!entries[i]->sequence->Accept(items[i].results)) {
      End(*entries[i], absl::OkStatus());
    }
  }
  return absl::OkStatus();
}

void Engine::End(Entry& entry, const absl::Status& status) {
  if (entry.ended) return;
  entry.ended = true;
  if (entry.cache != nullptr) kv_bytes_ -= entry.cache_bytes;
  entry.cache.reset();
  --sequence_count_;
  entry.sequence->Finish(status);
}

EngineStats Engine::stats() const {
  return {.step_count = step_count_,
          .computed_token_count = computed_token_count_,
          .sequence_count = sequence_count_,
          .kv_cache_bytes = kv_bytes_};
}

}  // namespace dissonance
