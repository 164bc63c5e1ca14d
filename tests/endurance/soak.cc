#include "tests/endurance/soak.h"

#include <atomic>
#include <cmath>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "src/base/status_macros.h"
#include "tests/endurance/client.h"
#include "tests/endurance/process_figures.h"
#include "tests/endurance/run_folder.h"
#include "tests/endurance/soak_calls.h"
#include "tests/endurance/statistics.h"
#include "tests/endurance/tiny_world.h"
#include "tests/endurance/users.h"

namespace dissonance {
namespace {

// Caches of few bytes are full before the measurement begins.
constexpr char kConfig[] =
    "[jobs]\nconcurrent = 2\n"
    "[worker]\nkv_cache_bytes = 134217728\nprefix_cache_bytes = 16777216\n"
    "activation_store_bytes = 33554432\n";

constexpr absl::Duration kSampleInterval = absl::Seconds(10);
// Of the run: caches fill up, threads and arenas are made.
constexpr double kWarmUp = 0.2;
constexpr double kMemoryShare = 0.02;
constexpr double kMemorySlackBytes = 8 << 20;
constexpr double kCountSlack = 8.0;
constexpr double kMib = 1 << 20;
// A client has one at a time.
constexpr int kQueuedJobs = 4;

// The state of the server at one moment.
struct Sample {
  double seconds = 0.0;  // since the load began
  ProcessFigures control;
  ProcessFigures worker;
  int64_t database_bytes = 0;
  int in_flight = 0;
};

Growth Judge(absl::Span<const double> seconds, absl::Span<const double> values,
             double limit) {
  Growth growth;
  growth.limit = limit;
  if (seconds.empty()) return growth;
  const double slope = TheilSenSlope(seconds, values);
  growth.per_hour = slope * 3600.0;
  growth.over_span = slope * (seconds.back() - seconds.front());
  return growth;
}

int64_t DatabaseBytes(const std::string& data_dir) {
  int64_t bytes = 0;
  for (const char* suffix : {"", "-wal"}) {
    std::error_code error;
    const auto size = std::filesystem::file_size(
        absl::StrCat(data_dir, "/dissonance.db", suffix), error);
    if (!error) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

// Threads that make calls of all kinds, until told to stop.
class Load {
 public:
  // A client for each of the tokens.
  Load(const SoakOptions& options, const std::string& data_dir,
       const std::vector<std::string>& tokens)
      : options_(options), data_dir_(data_dir), tokens_(tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      threads_.emplace_back([this, i] { Run(i); });
    }
  }
  ~Load() { Stop(); }

  void Stop() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  int in_flight() const { return in_flight_; }
  const SoakLedger& ledger() const { return ledger_; }

 private:
  void Run(size_t index) {
    Client client(data_dir_, tokens_[index]);
    std::mt19937_64 random(options_.seed * 1000 + static_cast<uint64_t>(index));
    const SoakCall call{client, random, ledger_, static_cast<int>(index)};
    const std::vector<CallKind> kinds = CallKindsNamed(options_.only);
    for (int i = 0; i < std::max(1, options_.round_count); ++i) {
      for (const CallKind& kind : kinds) Make(kind, call);
    }
    if (options_.round_count > 0) return;
    std::vector<int> weights;
    for (const CallKind& kind : kinds) weights.push_back(kind.weight);
    std::discrete_distribution<size_t> choose(weights.begin(), weights.end());
    while (!stop_) Make(kinds[choose(random)], call);
  }

  void Make(const CallKind& kind, const SoakCall& call) {
    ++in_flight_;
    ledger_.Count(kind.name, kind.run(call));
    --in_flight_;
  }

  const SoakOptions options_;
  const std::string data_dir_;
  const std::vector<std::string> tokens_;
  SoakLedger ledger_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> in_flight_ = 0;
  std::vector<std::thread> threads_;
};

// One for each client.
absl::StatusOr<std::vector<std::string>> TokensOf(const SoakOptions& options,
                                                  ServerProcess& server) {
  const auto count = static_cast<size_t>(options.client_count);
  std::vector<std::string> tokens(count, server.OwnerToken());
  if (!options.own_users) return tokens;
  Client owner(server.data_dir(), server.OwnerToken());
  RETURN_IF_ERROR(ShareWithLab(owner, {kTinyAdapter, kDropoutAdapter}));
  for (size_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(tokens[i], AddUser(owner, absl::StrCat("users/client-", i),
                                        kQueuedJobs));
  }
  return tokens;
}

absl::StatusOr<std::vector<Sample>> Watch(absl::Duration length,
                                          ServerProcess& server,
                                          const Load& load) {
  std::vector<Sample> samples;
  const pid_t worker = server.WorkerPid();
  const absl::Time begin = absl::Now();
  const absl::Duration interval = std::min(kSampleInterval, length / 50);
  for (absl::Time next = begin + interval; next <= begin + length;
       next += interval) {
    absl::SleepFor(next - absl::Now());
    Sample& sample = samples.emplace_back();
    sample.seconds = absl::ToDoubleSeconds(absl::Now() - begin);
    ASSIGN_OR_RETURN(sample.control, FiguresOf(server.pid()));
    ASSIGN_OR_RETURN(sample.worker, FiguresOf(worker));
    sample.database_bytes = DatabaseBytes(server.data_dir());
    sample.in_flight = load.in_flight();
  }
  return samples;
}

// One process's figures after the warm-up, judged.
class Verdict {
 public:
  Verdict(absl::Span<const Sample> samples, Report& report)
      : samples_(samples), report_(report) {
    for (const Sample& sample : samples) seconds_.push_back(sample.seconds);
  }

  void Judge(const std::string& process, ProcessFigures Sample::*figures) {
    std::vector<double> bytes;
    std::vector<double> handles;
    std::vector<double> threads;
    for (const Sample& sample : samples_) {
      const ProcessFigures& own = sample.*figures;
      bytes.push_back(static_cast<double>(own.resident_bytes));
      handles.push_back(own.handle_count);
      threads.push_back(own.thread_count);
    }
    Add(process + " resident MiB", bytes, GrowthOfMemory(seconds_, bytes),
        kMib);
    Add(process + " handles", handles, GrowthOfCount(seconds_, handles), 1.0);
    Add(process + " threads", threads, GrowthOfCount(seconds_, threads), 1.0);
  }

 private:
  void Add(const std::string& figure, const std::vector<double>& values,
           const Growth& growth, double unit) {
    const std::string text = absl::StrFormat(
        "%.1f median, %.1f at most; %+.2f an hour, %+.2f in all, limit %.1f",
        Percentile(values, 0.5) / unit, Percentile(values, 1.0) / unit,
        growth.per_hour / unit, growth.over_span / unit, growth.limit / unit);
    report_.Add(figure, text);
    report_.details["growth"][figure] = {{"per_hour", growth.per_hour},
                                         {"over_span", growth.over_span},
                                         {"limit", growth.limit}};
    if (!growth.is_flat) {
      report_.violations.push_back(figure + " is not flat: " + text);
    }
  }

  const absl::Span<const Sample> samples_;
  Report& report_;
  std::vector<double> seconds_;
};

void AddSamples(absl::Span<const Sample> samples, Report& report) {
  const auto figures = [](const ProcessFigures& own) {
    return nlohmann::ordered_json{{"resident_bytes", own.resident_bytes},
                                  {"handles", own.handle_count},
                                  {"threads", own.thread_count}};
  };
  for (const Sample& sample : samples) {
    report.details["samples"].push_back(
        {{"seconds", Rounded(sample.seconds)},
         {"control", figures(sample.control)},
         {"worker", figures(sample.worker)},
         {"database_bytes", sample.database_bytes},
         {"in_flight", sample.in_flight}});
  }
}

void AddCalls(const SoakLedger& ledger, Report& report) {
  int64_t total = 0;
  for (const auto& [kind, tally] : ledger.tallies()) {
    report.Add(kind,
               absl::StrCat(tally.ok, " calls, ", tally.failed, " failed"));
    total += tally.ok + tally.failed;
  }
  report.Add("calls of all kinds", total);
  report.Add("replies compared with the first", ledger.compared_count());
  for (const std::string& failure : ledger.failures()) {
    report.violations.push_back(failure);
  }
}

}  // namespace

Growth GrowthOfMemory(absl::Span<const double> seconds,
                      absl::Span<const double> bytes) {
  const double median = Percentile({bytes.begin(), bytes.end()}, 0.5);
  Growth growth =
      Judge(seconds, bytes, kMemoryShare * median + kMemorySlackBytes);
  growth.is_flat = growth.over_span <= growth.limit;
  return growth;
}

Growth GrowthOfCount(absl::Span<const double> seconds,
                     absl::Span<const double> counts) {
  Growth growth = Judge(seconds, counts, kCountSlack);
  growth.is_flat = std::abs(growth.over_span) <= growth.limit;
  return growth;
}

absl::StatusOr<Report> RunSoak(const SoakOptions& options) {
  ASSIGN_OR_RETURN(const RunFolder folder, RunFolder::Make("soak"));
  const std::string data_dir = folder.File("data");
  std::filesystem::create_directory(data_dir);
  RETURN_IF_ERROR(MakeDropoutAdapter(folder.File("dropout")));
  ServerProcess server({.data_dir = data_dir, .config = kConfig});
  if (!server.AwaitServing()) return absl::UnavailableError("no server");
  RETURN_IF_ERROR(LoadTinyWorldWithDropout(server, folder.File("dropout")));

  Report report{.name = "soak"};
  ASSIGN_OR_RETURN(const std::vector<std::string> tokens,
                   TokensOf(options, server));
  Load load(options, data_dir, tokens);
  std::vector<Sample> samples;
  if (options.round_count == 0) {
    ASSIGN_OR_RETURN(samples,
                     Watch(absl::Minutes(options.minutes), server, load));
  }
  load.Stop();
  report.Add("clients", options.client_count);
  AddCalls(load.ledger(), report);
  if (!samples.empty()) {
    const auto warm_up =
        static_cast<size_t>(kWarmUp * static_cast<double>(samples.size()));
    const auto measured = absl::MakeConstSpan(samples).subspan(warm_up);
    report.Add("minutes", options.minutes);
    report.Add(
        "minutes measured",
        Rounded((measured.back().seconds - measured.front().seconds) / 60.0));
    Verdict verdict(measured, report);
    verdict.Judge("control plane", &Sample::control);
    verdict.Judge("worker", &Sample::worker);
    report.Add("database MiB, begin and end",
               absl::StrFormat(
                   "%.1f, %.1f",
                   static_cast<double>(samples.front().database_bytes) / kMib,
                   static_cast<double>(samples.back().database_bytes) / kMib));
    AddSamples(samples, report);
  }
  const int restarts = server.Info().workers(0).restart_count();
  if (restarts != 0) {
    report.violations.push_back(
        absl::StrCat("the worker was restarted ", restarts, " times"));
  }
  if (const int code = server.Stop(); code != 0) {
    report.violations.push_back(
        absl::StrCat("the server ended with code ", code));
  }
  return report;
}

}  // namespace dissonance
