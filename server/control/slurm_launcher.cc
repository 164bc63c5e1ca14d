#include "server/control/slurm_launcher.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/control/command.h"
#include "server/control/slurm_script.h"
#include "spdlog/spdlog.h"
#include "src/base/clock.h"
#include "src/base/file.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr char kTokenPrefix[] = "launch-";
constexpr char kTokenSuffix[] = ".token";

// Whether one of `fds` is readable before `timeout` is over.
bool AwaitReadable(std::vector<pollfd>& fds, absl::Duration timeout) {
  const auto timeout_ms = static_cast<int>(
      std::clamp<int64_t>(absl::ToInt64Milliseconds(timeout), 1, 60'000));
  return ::poll(fds.data(), fds.size(), timeout_ms) > 0;
}

class SlurmWorker final : public LaunchedWorker {
 public:
  SlurmWorker(SlurmWatch& watch, std::shared_ptr<FollowedJob> job,
              std::string token_file, absl::Duration kill_limit)
      : watch_(watch),
        job_(std::move(job)),
        token_file_(std::move(token_file)),
        kill_limit_(kill_limit) {}

  ~SlurmWorker() override {
    if (!job_->has_ended()) watch_.Kill(*job_);
    std::error_code ignored;
    std::filesystem::remove(token_file_, ignored);
  }

  bool AwaitEnd(int wake_fd, absl::Duration timeout) override {
    std::vector<pollfd> fds = {{job_->end_fd(), POLLIN, 0},
                               {wake_fd, POLLIN, 0}};
    if (!AwaitReadable(fds, timeout)) return false;
    eventfd_t ignored = 0;
    if ((fds[1].revents & POLLIN) != 0) ::eventfd_read(wake_fd, &ignored);
    return (fds[0].revents & POLLIN) != 0;
  }

  void Terminate() override { watch_.Terminate(*job_); }

  void Kill() override {
    if (job_->has_ended()) return;
    watch_.Kill(*job_);
    const Clock& clock = Clock::Real();
    const absl::Duration deadline = clock.Monotonic() + kill_limit_;
    std::vector<pollfd> fds = {{job_->end_fd(), POLLIN, 0}};
    while (true) {
      const absl::Duration left = deadline - clock.Monotonic();
      if (left <= absl::ZeroDuration() || AwaitReadable(fds, left)) return;
    }
  }

  std::string Reap() override {
    std::string end = job_->end();
    if (!end.empty()) return end;
    const SlurmJob latest = job_->latest();
    return absl::StrCat("still ", latest.state, " in Slurm",
                        latest.nodes.empty() ? "" : " on node ", latest.nodes,
                        ", which is told to end it");
  }

  std::string name() const override {
    return absl::StrCat("Slurm job ", job_->id());
  }
  int pid() const override { return 0; }
  bool has_started() const override {
    return job_->latest().phase == SlurmPhase::kRunning;
  }
  std::string waits_for() const override {
    const SlurmJob latest = job_->latest();
    return latest.phase == SlurmPhase::kQueued ? latest.reason : "";
  }
  bool may_restart() const override {
    return !job_->has_ended() && !job_->is_ending();
  }

 private:
  SlurmWatch& watch_;
  const std::shared_ptr<FollowedJob> job_;
  const std::string token_file_;
  const absl::Duration kill_limit_;
};

// Options of sbatch's that the launcher sets itself, or that would make of a
// worker something else than one job.
absl::Status CheckSbatchOption(const std::string& option) {
  if (!absl::StartsWith(option, "-")) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", option,
                     "\" is no option of sbatch; write each in "
                     "one word, as in \"--partition=gpu\""));
  }
  for (const absl::string_view ours :
       {"--array", "--clusters", "--cluster", "--error", "--export",
        "--export-file", "--job-name", "--no-requeue", "--open-mode",
        "--output", "--parsable", "--test-only", "--wait", "--wrap"}) {
    // sbatch takes abbreviations too.
    const std::string name = option.substr(0, option.find('='));
    if (name.size() > 2 && absl::StartsWith(ours, name)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "sbatch's option ", ours, " can't be chosen for workers; remove it"));
    }
  }
  for (const absl::string_view ours : {"-a", "-M", "-e", "-J", "-o", "-W"}) {
    if (absl::StartsWith(option, ours)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "sbatch's option ", ours, " can't be chosen for workers; remove it"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const SlurmLauncher::Options& options) {
  RETURN_IF_ERROR(
      Annotate(FindProgram(options.program).status(),
               "build or install dissonance-worker beside dissonanced"));
  if (options.job_name.empty() ||
      !std::all_of(options.job_name.begin(), options.job_name.end(),
                   [](char c) { return absl::ascii_isalnum(c) || c == '-'; })) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", options.job_name, "\" can't be the name of a worker's job"));
  }
  // It would have another meaning in sbatch's patterns of file names.
  if (const std::string log = options.log_file(0);
      absl::StrContains(log, '\\')) {
    return absl::InvalidArgumentError(absl::StrCat(
        "Slurm can't write to ", log, "; choose a folder without a backslash"));
  }
  for (const std::string& option : options.sbatch_options) {
    RETURN_IF_ERROR(CheckSbatchOption(option));
  }
  return absl::OkStatus();
}

bool IsTokenFile(const std::string& name) {
  return absl::StartsWith(name, kTokenPrefix) &&
         absl::EndsWith(name, kTokenSuffix);
}

}  // namespace

std::string SlurmJobName(const std::string& data_directory) {
  const std::string digest =
      Sha256Of(data_directory).substr(absl::string_view("sha256:").size(), 12);
  return absl::StrCat("dissonance-", digest);
}

SlurmLauncher::SlurmLauncher(Options options, const SlurmCommands& slurm)
    : options_(std::move(options)),
      slurm_(slurm),
      watch_(slurm,
             {.name = options_.job_name, .interval = options_.poll_interval}) {}

absl::StatusOr<std::unique_ptr<SlurmLauncher>> SlurmLauncher::Create(
    const Options& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(const SlurmCommands slurm,
                   SlurmCommands::Find(options.command_limit));
  std::unique_ptr<SlurmLauncher> launcher(new SlurmLauncher(options, slurm));
  const absl::Status prepared = launcher->Prepare();
  if (absl::IsUnavailable(prepared)) {
    // It may come back while nobody looks, as after an upgrade at night.
    spdlog::warn("no workers yet: {}", std::string(prepared.message()));
    return launcher;
  }
  RETURN_IF_ERROR(prepared);
  return launcher;
}

absl::Status SlurmLauncher::Prepare() {
  const int seen = attempt_count_;
  const absl::MutexLock lock(&mutex_);
  // Whoever waited for another one's attempt does not wait for his own too.
  if (prepared_.ok() || attempt_count_ != seen) return prepared_;
  prepared_ = Check();
  if (prepared_.ok()) prepared_ = EndOrphans();
  ++attempt_count_;
  return prepared_;
}

absl::Status SlurmLauncher::Check() const {
  RETURN_IF_ERROR(Annotate(
      slurm_.Jobs(options_.job_name).status(),
      "Slurm's controller does not answer; see to slurmctld and to munge, and "
      "name the cluster's configuration in SLURM_CONF if it is not in "
      "/etc/slurm"));
  ASSIGN_OR_RETURN(const std::string script, Script(0, "/"));
  return Annotate(slurm_.Check(script, SbatchOptions(0)),
                  "Slurm refuses the workers' jobs");
}

absl::Status SlurmLauncher::EndOrphans() {
  ASSIGN_OR_RETURN(const std::vector<SlurmJob> jobs,
                   slurm_.Jobs(options_.job_name));
  for (const SlurmJob& job : jobs) {
    if (job.phase == SlurmPhase::kEnded) continue;
    watch_.Kill(*watch_.Follow(job.id));
    spdlog::info("Slurm job {} of an earlier server is ended", job.id);
  }
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(options_.folder, error)) {
    if (!IsTokenFile(entry.path().filename())) continue;
    std::error_code ignored;
    std::filesystem::remove(entry.path(), ignored);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> SlurmLauncher::Script(
    int worker, const std::string& token_file) const {
  WorkerScript script{.program = options_.program,
                      .arguments = options_.arguments,
                      .environment = options_.environment,
                      .token_file = token_file};
  if (options_.worker_arguments) {
    const std::vector<std::string> more = options_.worker_arguments(worker);
    script.arguments.insert(script.arguments.end(), more.begin(), more.end());
  }
  return script.Text();
}

std::vector<std::string> SlurmLauncher::SbatchOptions(int worker) const {
  std::vector<std::string> options = {"--nodes=1", "--ntasks=1", "--chdir=/"};
  options.insert(options.end(), options_.sbatch_options.begin(),
                 options_.sbatch_options.end());
  const std::string log = options_.log_file(worker);
  // The environment is what the command gets, which is not ours.
  options.insert(
      options.end(),
      {absl::StrCat("--job-name=", options_.job_name), "--requeue",
       "--export=ALL", "--open-mode=append",
       absl::StrCat("--output=", absl::StrReplaceAll(log, {{"%", "%%"}}))});
  return options;
}

absl::StatusOr<std::unique_ptr<LaunchedWorker>> SlurmLauncher::Launch(
    const WorkerLaunch& launch) {
  RETURN_IF_ERROR(Prepare());
  const std::string token_file = absl::StrCat(
      options_.folder, "/", kTokenPrefix, launch.fencing_number, kTokenSuffix);
  ASSIGN_OR_RETURN(const std::string script, Script(launch.worker, token_file));
  RETURN_IF_ERROR(WriteFileAtomically(token_file, launch.token, 0600));
  absl::StatusOr<std::string> id =
      slurm_.Submit(script, SbatchOptions(launch.worker));
  if (!id.ok()) {
    std::error_code ignored;
    std::filesystem::remove(token_file, ignored);
    return absl::UnavailableError(id.status().message());
  }
  spdlog::info("submitted worker {} as Slurm job {}", launch.worker, *id);
  return std::make_unique<SlurmWorker>(watch_, watch_.Follow(*id), token_file,
                                       options_.kill_limit);
}

}  // namespace dissonance
