#include "src/compute/engine/engine.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

// A sequence whose smallest piece keeps more than so many times the usual
// bytes of a step is refused.
constexpr int64_t kCaptureExcess = 16;

// Slabs that the caches' bytes are taken in, where they are taken in slabs.
constexpr int64_t kSlabs = 4;

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

// Names the network that keys and values come from: everything that their
// bits depend on beside the tokens.
std::string NetworkName(const EngineVariant& variant) {
  return absl::StrCat(
      variant.model->digest(), " ", c10::toString(variant.model->dtype()), " ",
      variant.model->device().str(), " ",
      variant.adapter == nullptr ? "" : variant.adapter->digest());
}

// The beginning of a sequence's prompt that any other may share.
absl::Span<const int32_t> Shareable(const EngineEntry& entry) {
  if (entry.variant.dropout.has_value()) return {};
  absl::Span<const int32_t> prefix = entry.sequence->SharedPrefix();
  if (entry.variant.interventions != nullptr) {
    const int64_t unchanged = FirstChanged(*entry.variant.interventions,
                                           entry.sequence->prompt_count());
    prefix = prefix.subspan(0, static_cast<size_t>(unchanged));
  }
  return prefix;
}

// Limits the entry's pieces by what they keep.
absl::Status PlanCaptures(const EngineOptions& options, EngineEntry& entry) {
  const CaptureSpec* capture = entry.sequence->capture();
  if (capture == nullptr) return absl::OkStatus();
  const int64_t prompt = entry.sequence->prompt_count();
  const int64_t row_bytes = CaptureRowBytes(*entry.variant.model, *capture,
                                            entry.sequence->cache_tokens());
  int64_t kept = 0;
  for (int64_t position = 0; position < prompt; ++position) {
    kept += capture->positions.Contains(position, prompt) ? 1 : 0;
  }
  const int64_t least =
      std::min(options.attention_tile, std::max<int64_t>(kept, 1)) * row_bytes;
  if (least > options.capture_bytes * kCaptureExcess) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the activations of ", options.attention_tile, " tokens take ", least,
        " bytes, the limit is ", options.capture_bytes * kCaptureExcess,
        "; ask for fewer sites, blocks or positions at once"));
  }
  entry.capture_row_bytes = (kept * row_bytes + prompt - 1) / prompt;
  if (entry.capture_row_bytes == 0) return absl::OkStatus();
  const int64_t tiles =
      options.capture_bytes / entry.capture_row_bytes / options.attention_tile;
  entry.row_limit = std::min(
      entry.row_limit, std::max<int64_t>(tiles, 1) * options.attention_tile);
  return absl::OkStatus();
}

}  // namespace

Engine::Engine(const EngineOptions& options)
    : options_(options),
      picker_(options),
      pools_(options.kv_cache_bytes / kSlabs),
      prefixes_(options.prefix_cache_bytes, options.attention_tile) {}

Engine::~Engine() {
  {
    const absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
  TakeIn();
  const absl::Status stopping = absl::CancelledError("the engine is stopping");
  for (const std::unique_ptr<EngineEntry>& entry : entries_) {
    End(*entry, stopping);
  }
  for (const std::shared_ptr<EngineWork>& work : works_) work->Finish(stopping);
}

void Engine::Start() {
  thread_ = std::thread([this] { Loop(); });
}

absl::StatusOr<int64_t> Engine::SubmitScore(EngineVariant variant,
                                            ScoreTask task, ScoreDone done,
                                            Priority priority) {
  RETURN_IF_ERROR(CheckTokens(*variant.model, task.prompt));
  size_t longest = 0;
  for (size_t i = 0; i < task.continuations.size(); ++i) {
    RETURN_IF_ERROR(Annotate(CheckTokens(*variant.model, task.continuations[i]),
                             absl::StrCat("continuations[", i, "]")));
    longest = std::max(longest, task.continuations[i].size());
  }
  const auto total = static_cast<int64_t>(task.prompt.size() + longest);
  ASSIGN_OR_RETURN(
      std::unique_ptr<EngineEntry> entry,
      MakeEntry(std::move(variant), priority,
                MakeScoreSequence(std::move(task), std::move(done)), total));
  return Enqueue(std::move(entry));
}

absl::StatusOr<int64_t> Engine::SubmitGenerate(
    EngineVariant variant, GenerateTask task,
    std::shared_ptr<GenerateListener> listener, Priority priority) {
  RETURN_IF_ERROR(CheckTokens(*variant.model, task.prompt));
  const int64_t total =
      static_cast<int64_t>(task.prompt.size()) + task.max_new_tokens;
  ASSIGN_OR_RETURN(
      std::unique_ptr<EngineEntry> entry,
      MakeEntry(std::move(variant), priority,
                MakeGenerateSequence(std::move(task), std::move(listener)),
                total));
  return Enqueue(std::move(entry));
}

absl::StatusOr<std::vector<int64_t>> Engine::SubmitTogether(
    std::vector<GenerateRequest> requests, Priority priority) {
  auto group = std::make_shared<CacheGroup>();
  bool needs_caches = false;
  std::vector<std::unique_ptr<EngineEntry>> entries;
  for (GenerateRequest& own : requests) {
    RETURN_IF_ERROR(CheckTokens(*own.variant.model, own.task.prompt));
    const int64_t total =
        static_cast<int64_t>(own.task.prompt.size()) + own.task.max_new_tokens;
    ASSIGN_OR_RETURN(entries.emplace_back(),
                     MakeEntry(std::move(own.variant), priority,
                               MakeGenerateSequence(std::move(own.task),
                                                    std::move(own.listener)),
                               total));
    EngineEntry& entry = *entries.back();
    entry.group = group;
    group->bytes += entry.cache_bytes;
    needs_caches |= !entry.sequence->fits_one_step(entry.row_limit);
  }
  if (needs_caches && group->bytes > options_.kv_cache_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the key/value caches of ", entries.size(),
                     " sequences that go on together need ", group->bytes,
                     " bytes, the limit is ", options_.kv_cache_bytes,
                     "; ask for fewer variants at once, or shorter inputs"));
  }
  const absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckQueue(static_cast<int64_t>(entries.size())));
  std::vector<int64_t> numbers;
  for (std::unique_ptr<EngineEntry>& entry : entries) {
    numbers.push_back(Arrive(std::move(entry)));
  }
  return numbers;
}

absl::StatusOr<std::unique_ptr<EngineEntry>> Engine::MakeEntry(
    EngineVariant variant, Priority priority,
    absl::StatusOr<std::unique_ptr<Sequence>> made,
    int64_t total_tokens) const {
  RETURN_IF_ERROR(made.status());
  const int64_t positions = variant.model->spec().max_positions;
  if (total_tokens > positions) {
    return absl::InvalidArgumentError(
        absl::StrCat("the sequence has ", total_tokens,
                     " tokens; the model's positions end at ", positions));
  }
  auto entry = std::make_unique<EngineEntry>();
  entry->priority = priority;
  entry->variant = std::move(variant);
  entry->sequence = *std::move(made);
  entry->cache_bytes =
      CacheBytes(entry->variant, entry->sequence->cache_tokens());
  entry->row_limit = std::max(
      options_.attention_tile,
      options_.step_tokens / options_.attention_tile * options_.attention_tile);
  entry->arrival = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(PlanCaptures(options_, *entry));
  if (entry->cache_bytes > options_.kv_cache_bytes &&
      !entry->sequence->fits_one_step(entry->row_limit)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the request's key/value cache needs ", entry->cache_bytes,
                     " bytes, the limit is ", options_.kv_cache_bytes));
  }
  return entry;
}

absl::StatusOr<int64_t> Engine::Enqueue(std::unique_ptr<EngineEntry> entry) {
  const absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckQueue(1));
  return Arrive(std::move(entry));
}

absl::Status Engine::CheckQueue(int64_t count) const {
  if (stopping_) return absl::UnavailableError("the engine is stopping");
  if (sequence_count_ + count <= options_.queue_limit) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the queue is full with ", options_.queue_limit,
                   " sequences; send fewer at once and try again"));
}

int64_t Engine::Arrive(std::unique_ptr<EngineEntry> entry) {
  const int64_t number = next_number_++;
  entry->number = number;
  arrived_.push_back(std::move(entry));
  ++sequence_count_;
  has_news_ = true;
  return number;
}

absl::Status Engine::SubmitWork(std::shared_ptr<EngineWork> work) {
  const absl::MutexLock lock(&mutex_);
  if (stopping_) return absl::UnavailableError("the engine is stopping");
  arrived_works_.push_back(std::move(work));
  has_news_ = true;
  return absl::OkStatus();
}

void Engine::Cancel(int64_t number) {
  const absl::MutexLock lock(&mutex_);
  cancelled_.insert(number);
  has_news_ = true;
}

void Engine::Wake() {
  const absl::MutexLock lock(&mutex_);
  has_news_ = true;
}

void Engine::ForgetPrefixes() {
  const absl::MutexLock lock(&mutex_);
  forgets_ = true;
  has_news_ = true;
}

void Engine::Loop() {
  while (true) {
    {
      const absl::MutexLock lock(&mutex_);
      const auto has_reason = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return stopping_ || has_news_;
      };
      is_stepping_ = false;
      mutex_.Await(absl::Condition(&has_reason));
      if (stopping_) return;
      has_news_ = false;
      is_stepping_ = true;
    }
    // Whoever was ready is seen; who becomes so later says it by Wake.
    while (Step()) {
      const absl::MutexLock lock(&mutex_);
      if (stopping_) return;
    }
  }
}

void Engine::TakeIn() {
  std::set<int64_t> cancelled;
  bool forgets = false;
  {
    const absl::MutexLock lock(&mutex_);
    absl::c_move(arrived_, std::back_inserter(entries_));
    arrived_.clear();
    absl::c_move(arrived_works_, std::back_inserter(works_));
    arrived_works_.clear();
    cancelled.swap(cancelled_);
    std::swap(forgets, forgets_);
  }
  if (forgets) prefixes_.Clear();
  if (cancelled.empty()) return;
  for (const std::unique_ptr<EngineEntry>& entry : entries_) {
    if (cancelled.contains(entry->number)) {
      End(*entry, absl::CancelledError("the request was cancelled"));
    }
  }
  EraseEnded();
}

bool Engine::Admit(EngineEntry& entry, int64_t limit) {
  const absl::Span<const int32_t> prefix = Shareable(entry);
  const std::string network = NetworkName(entry.variant);
  const int64_t held = prefixes_.Held(network, prefix);
  const bool needs_none = entry.sequence->fits_one_step(limit);
  if ((held == 0 && needs_none) || !Reserve(entry)) return needs_none;
  const absl::Status made = CatchTorch("key/value cache", [&] {
    std::unique_ptr<KvCache> cache =
        pools_.MakeCache(entry.variant.model, entry.sequence->cache_tokens());
    prefixes_.Restore(network, prefix, *cache);
    entry.cache = std::move(cache);
  });
  if (made.ok()) {
    if (entry.group != nullptr) reserved_bytes_ -= entry.cache_bytes;
    counts_.kv_cache_bytes += entry.cache_bytes;
    counts_.prefix_hit_token_count += held;
    if (held > 0) entry.sequence->SkipPrefix(held);
    return true;
  }
  prefixes_.Clear();
  if (needs_none) return true;
  if (counts_.kv_cache_bytes == 0) End(entry, made);  // no more can be freed
  return false;
}

bool Engine::Reserve(const EngineEntry& entry) {
  CacheGroup* group = entry.group.get();
  if (group != nullptr && group->is_reserved) return true;
  const int64_t needed = group == nullptr ? entry.cache_bytes : group->bytes;
  if (counts_.kv_cache_bytes + reserved_bytes_ + needed >
      options_.kv_cache_bytes) {
    return false;
  }
  if (group != nullptr) {
    group->is_reserved = true;
    reserved_bytes_ += needed;
  }
  return true;
}

bool Engine::Step() {
  TakeIn();
  const size_t before = entries_.size();
  const std::vector<PickedEntry> picked =
      picker_.Pick(entries_, [this](EngineEntry& entry, int64_t limit) {
        return Admit(entry, limit);
      });
  for (const PickedEntry& own : picked) {
    if (own.entry->has_started) continue;
    own.entry->has_started = true;
    ++counts_.started_sequence_count;
    const std::chrono::duration<double> waited =
        std::chrono::steady_clock::now() - own.entry->arrival;
    counts_.queue_wait_seconds += waited.count();
  }
  if (!picked.empty()) {
    RunOrSplit(picked);
    ++counts_.step_count;
  }
  const bool worked = RunWorkPiece();
  EraseEnded();
  counts_.prefix_bytes = prefixes_.bytes();
  const bool did_something =
      !picked.empty() || worked || entries_.size() < before;
  const absl::MutexLock lock(&mutex_);
  stats_ = counts_;
  return did_something;
}

void Engine::RunOrSplit(const std::vector<PickedEntry>& picked) {
  absl::Status status = Run(picked);
  if (absl::IsResourceExhausted(status) && prefixes_.bytes() > 0) {
    prefixes_.Clear();
    status = Run(picked);
  }
  if (status.ok()) return;
  if (picked.size() == 1) {
    End(*picked.front().entry, status);
    return;
  }
  const auto half = picked.begin() + static_cast<int64_t>(picked.size() / 2);
  RunOrSplit({picked.begin(), half});
  RunOrSplit({half, picked.end()});
}

absl::Status Engine::Run(const std::vector<PickedEntry>& picked) {
  const Model& model = *picked.front().entry->variant.model;
  const StepNumerics numerics = {.reproducible = options_.reproducible,
                                 .attention_tile = options_.attention_tile};
  std::vector<StepItem> items;
  items.reserve(picked.size());
  for (const auto& [entry, row_limit] : picked) {
    const std::optional<DropoutKey>& dropout = entry->variant.dropout;
    items.push_back({.work = entry->sequence->Next(row_limit),
                     .cache = entry->cache.get(),
                     .adapter = entry->variant.adapter,
                     .dropout = dropout.has_value() ? &*dropout : nullptr,
                     .prompt_count = entry->sequence->prompt_count(),
                     .interventions = entry->variant.interventions.get(),
                     .capture = entry->sequence->capture()});
  }
  RETURN_IF_ERROR(
      CatchTorch("engine step", [&] { RunStep(model, numerics, items); }));
  for (size_t i = 0; i < picked.size(); ++i) {
    const absl::Status finite = CheckFinite(model, numerics, items[i]);
    if (finite.ok()) {
      Deliver(*picked[i].entry, items[i]);
    } else {
      End(*picked[i].entry, finite);
    }
  }
  return absl::OkStatus();
}

void Engine::Deliver(EngineEntry& entry, StepItem& item) {
  CommitStep(item);
  const auto rows = static_cast<int64_t>(item.work.tokens.size());
  (item.work.is_prefill ? counts_.prefill_token_count
                        : counts_.decode_token_count) += rows;
  KeepPrefix(entry);
  // A listener may be surprised, but never by an exception.
  bool goes_on = false;
  const absl::Status taken = CatchTorch("results of a step", [&] {
    goes_on = entry.sequence->Accept(
        {.rows = item.results, .captured = std::move(item.captured)});
  });
  if (!taken.ok() || !goes_on) End(entry, taken);
}

void Engine::KeepPrefix(EngineEntry& entry) {
  if (entry.has_kept_prefix || entry.cache == nullptr ||
      entry.cache->length() < entry.sequence->prompt_count()) {
    return;
  }
  entry.has_kept_prefix = true;
  const absl::Status kept = CatchTorch("prefix", [&] {
    prefixes_.Keep(NetworkName(entry.variant), Shareable(entry), *entry.cache);
  });
  if (!kept.ok()) prefixes_.Clear();
}

bool Engine::RunWorkPiece() {
  if (works_.empty()) return false;
  const std::shared_ptr<EngineWork> work = std::move(works_.front());
  works_.pop_front();
  bool has_more = false;
  const absl::Status done =
      CatchTorch("computation", [&] { has_more = work->RunPiece(); });
  if (done.ok() && has_more) {
    works_.push_back(work);
  } else {
    work->Finish(done);
  }
  return true;
}

void Engine::End(EngineEntry& entry, const absl::Status& status) {
  if (entry.ended) return;
  entry.ended = true;
  if (entry.cache != nullptr) {
    counts_.kv_cache_bytes -= entry.cache_bytes;
  } else if (entry.group != nullptr) {
    // What it would have got.
    (entry.group->is_reserved ? reserved_bytes_ : entry.group->bytes) -=
        entry.cache_bytes;
  }
  entry.cache.reset();
  entry.sequence->Finish(status);
}

void Engine::EraseEnded() {
  const auto ended =
      std::erase_if(entries_, [](const auto& entry) { return entry->ended; });
  const absl::MutexLock lock(&mutex_);
  sequence_count_ -= static_cast<int64_t>(ended);
}

EngineStats Engine::stats() const {
  const absl::MutexLock lock(&mutex_);
  EngineStats stats = stats_;
  stats.sequence_count = sequence_count_;
  stats.busy = is_stepping_ || has_news_;
  return stats;
}

}  // namespace dissonance
