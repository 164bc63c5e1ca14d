#include "src/compute/engine/engine.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

// A sequence whose smallest piece keeps more than so many times the usual
// bytes of a step is refused.
constexpr int64_t kCaptureExcess = 16;

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

// Most rows that are kept of any tile of the prompt.
int64_t DensestTile(const Positions& positions, int64_t prompt, int64_t tile) {
  int64_t densest = 0;
  for (int64_t begin = 0; begin < prompt; begin += tile) {
    int64_t kept = 0;
    for (int64_t i = begin; i < std::min(prompt, begin + tile); ++i) {
      kept += positions.Contains(i, prompt) ? 1 : 0;
    }
    densest = std::max(densest, kept);
  }
  return densest;
}

// A pattern is made for all rows of a piece, whichever are kept.
int64_t PatternRowBytes(const Model& model, const CaptureSpec& capture,
                        int64_t tokens) {
  for (const SitePlace& place : capture.places) {
    if (place.site == Site::kPattern) {
      return CaptureRowBytes(model, {.places = {place}}, tokens);
    }
  }
  return 0;
}

// Which blocks the entry may share with others of the same tokens. Masks of
// dropout are its own.
void PlanTrunk(EngineEntry& entry) {
  if (entry.variant.dropout.has_value()) return;
  const DecoderSpec& spec = entry.variant.model->spec();
  entry.latest_entry = spec.block_count() - 1;
  if (entry.variant.interventions != nullptr &&
      !entry.variant.interventions->empty()) {
    entry.branch_block = LatestEntry(spec, *entry.variant.interventions);
    entry.latest_entry = entry.branch_block;
  }
  if (const CaptureSpec* capture = entry.sequence->capture()) {
    entry.latest_entry =
        std::min(entry.latest_entry, LatestEntry(spec, *capture));
  }
}

// Limits the entry's pieces by what they keep.
absl::Status PlanCaptures(const EngineOptions& options, EngineEntry& entry) {
  const CaptureSpec* capture = entry.sequence->capture();
  if (capture == nullptr) return absl::OkStatus();
  const Model& model = *entry.variant.model;
  const int64_t tokens = entry.sequence->cache_tokens();
  const int64_t tile = options.attention_tile;
  const int64_t kept =
      DensestTile(capture->positions, entry.sequence->prompt_count(), tile);
  const int64_t tile_bytes =
      std::max<int64_t>(kept, 1) * CaptureRowBytes(model, *capture, tokens) +
      tile * PatternRowBytes(model, *capture, tokens);
  if (tile_bytes > options.capture_bytes * kCaptureExcess) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the activations of ", tile, " tokens take ", tile_bytes,
        " bytes, the limit is ", options.capture_bytes * kCaptureExcess,
        "; ask for fewer sites, blocks or positions at once"));
  }
  if (kept == 0) return absl::OkStatus();
  entry.capture_row_bytes = (tile_bytes + tile - 1) / tile;
  const int64_t tiles = options.capture_bytes / tile_bytes;
  entry.row_limit =
      std::min(entry.row_limit, std::max<int64_t>(tiles, 1) * tile);
  return absl::OkStatus();
}

}  // namespace

Engine::Engine(const EngineOptions& options)
    : options_(options),
      works_(options.background_share),
      picker_(options),
      caches_(options) {}

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
  works_.FinishAll(stopping);
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
  PlanTrunk(*entry);
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
      // One that waits for a cache gets that of a reader who sleeps.
      mutex_.AwaitWithTimeout(absl::Condition(&has_reason),
                              picker_.is_starving()
                                  ? absl::Seconds(options_.reclaim_seconds)
                                  : absl::InfiniteDuration());
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
    for (std::shared_ptr<EngineWork>& work : arrived_works_) {
      works_.Add(std::move(work));
    }
    arrived_works_.clear();
    cancelled.swap(cancelled_);
    std::swap(forgets, forgets_);
  }
  if (forgets) caches_.ForgetPrefixes();
  if (cancelled.empty()) return;
  for (const std::unique_ptr<EngineEntry>& entry : entries_) {
    if (cancelled.contains(entry->number)) {
      End(*entry, absl::CancelledError("the request was cancelled"));
    }
  }
  EraseEnded();
}

bool Engine::Admit(EngineEntry& entry, int64_t limit) {
  const absl::StatusOr<bool> admitted = caches_.Admit(entry, limit, entries_);
  if (!admitted.ok()) End(entry, admitted.status());
  return admitted.ok() && *admitted;
}

bool Engine::Step() {
  TakeIn();
  const size_t before = entries_.size();
  const bool dropped = works_.DropCancelled();
  const std::vector<PickedEntry> picked =
      picker_.Pick(entries_, [this](EngineEntry& entry, int64_t limit) {
        return Admit(entry, limit);
      });
  CountStarted(picked);
  WorkQueue::Others others = Serves(picked);
  const auto begin = std::chrono::steady_clock::now();
  if (!picked.empty()) {
    for (const auto& round : caches_.Rounds(picked)) RunOrSplit(round);
    ++counts_.step_count;
  }
  const bool read = works_.RunReading();
  // Whoever waits for a reading waits as for a sequence.
  if (read) others = WorkQueue::Others::kInteractive;
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - begin;
  const bool worked = works_.RunBackground(others, took.count());
  if (worked) ++counts_.background_piece_count;
  EraseEnded();
  caches_.Count(counts_);
  const bool did_something =
      !picked.empty() || read || worked || dropped || entries_.size() < before;
  const absl::MutexLock lock(&mutex_);
  stats_ = counts_;
  return did_something;
}

WorkQueue::Others Engine::Serves(const std::vector<PickedEntry>& picked) const {
  if (picked.empty()) return WorkQueue::Others::kNone;
  const auto is_interactive = [](const EngineEntry& entry) {
    return entry.priority == Priority::kInteractive;
  };
  const Model* model = picked.front().entry->variant.model.get();
  const bool now = absl::c_any_of(picked, [&](const PickedEntry& own) {
    return is_interactive(*own.entry);
  });
  const bool soon = absl::c_any_of(entries_, [&](const auto& entry) {
    return is_interactive(*entry) && !entry->ended &&
           entry->variant.model.get() != model && entry->sequence->ready();
  });
  return now || soon ? WorkQueue::Others::kInteractive
                     : WorkQueue::Others::kJobs;
}

void Engine::CountStarted(const std::vector<PickedEntry>& picked) {
  for (const PickedEntry& own : picked) {
    if (own.entry->has_started) continue;
    own.entry->has_started = true;
    ++counts_.started_sequence_count;
    const std::chrono::duration<double> waited =
        std::chrono::steady_clock::now() - own.entry->arrival;
    counts_.queue_wait_seconds += waited.count();
  }
}

void Engine::RunOrSplit(const std::vector<PickedEntry>& picked) {
  absl::Status status = Run(picked);
  if (absl::IsResourceExhausted(status) && caches_.ForgetPrefixes()) {
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
    caches_.BeginLate(*entry, items.back());
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
  caches_.KeepPrefix(entry);
  caches_.KeepTrunk(entry, item);
  // A listener may be surprised, but never by an exception.
  bool goes_on = false;
  const absl::Status taken = CatchTorch("results of a step", [&] {
    goes_on = entry.sequence->Accept(
        {.rows = item.results, .captured = std::move(item.captured)});
  });
  if (!taken.ok() || !goes_on) End(entry, taken);
}

void Engine::End(EngineEntry& entry, const absl::Status& status) {
  if (entry.ended) return;
  entry.ended = true;
  {
    // Whoever is told may submit the next.
    const absl::MutexLock lock(&mutex_);
    --sequence_count_;
  }
  caches_.Release(entry);
  entry.sequence->Finish(status);
}

void Engine::EraseEnded() {
  std::erase_if(entries_, [](const auto& entry) { return entry->ended; });
}

EngineStats Engine::stats() const {
  const absl::MutexLock lock(&mutex_);
  EngineStats stats = stats_;
  stats.sequence_count = sequence_count_;
  stats.busy = is_stepping_ || has_news_;
  return stats;
}

}  // namespace dissonance
