#include "tests/testing/slurm_cluster.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/substitute.h"
#include "absl/time/clock.h"
#include "server/control/command.h"
#include "server/control/slurm_commands.h"
#include "src/base/file.h"

namespace dissonance {
namespace {

constexpr absl::Duration kPause = absl::Milliseconds(50);
constexpr uint64_t kLogBytes = 64 << 20;

// $0: folder, $1: host, $2: user, $3: port. A requeued job waits for as
// long as credentials are valid, 5 s at least; jobs are forgotten after 30 s.
constexpr char kConf[] = R"(ClusterName=test
SlurmctldHost=$1(127.0.0.1)
SlurmUser=$2
SlurmdUser=$2
AuthType=auth/munge
AuthInfo=socket=$0/munge.sock,cred_expire=5
CredType=cred/munge
SlurmctldPort=$3
SlurmctldPidFile=$0/slurmctld.pid
SlurmdPidFile=$0/slurmd.%n.pid
SlurmdSpoolDir=$0/%n
StateSaveLocation=$0/state
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,sched_min_interval=1000,batch_sched_delay=0
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
MinJobAge=30
KillWait=10
SlurmdTimeout=300
SlurmctldTimeout=30
MessageTimeout=5
ReturnToService=2
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE
PartitionName=spot Nodes=ALL PriorityTier=1 PreemptMode=CANCEL
PartitionName=urgent Nodes=ALL PriorityTier=10
)";

std::vector<std::string> NodeNames(int count) {
  std::vector<std::string> names;
  for (int i = 1; i <= count; ++i) names.push_back(absl::StrCat("n", i));
  return names;
}

// Ports that nobody has now. They are found at once, so that they differ.
std::vector<int> FreePorts(size_t count) {
  std::vector<int> ports(count);
  std::vector<int> sockets(count);
  for (size_t i = 0; i < ports.size(); ++i) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    sockets[i] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(sockets[i], any, size), 0);
    EXPECT_EQ(::getsockname(sockets[i], any, &size), 0);
    ports[i] = ntohs(address.sin_port);
  }
  for (const int socket : sockets) ::close(socket);
  return ports;
}

std::string ShortHostName() {
  std::array<char, 256> name = {};
  EXPECT_EQ(::gethostname(name.data(), name.size() - 1), 0);
  return std::string(name.data()).substr(0, std::string(name.data()).find('.'));
}

std::string RandomBytes(size_t size) {
  absl::BitGen random;
  std::string bytes;
  while (bytes.size() < size) {
    bytes.push_back(static_cast<char>(absl::Uniform(random, 0, 256)));
  }
  return bytes;
}

// A file of /proc, which has no size.
std::string ReadProcFile(const std::string& path) {
  std::string contents;
  FILE* const file = ::fopen(path.c_str(), "re");
  if (file == nullptr) return contents;
  std::array<char, 4096> buffer;
  while (const size_t size = ::fread(buffer.data(), 1, buffer.size(), file)) {
    contents.append(buffer.data(), size);
  }
  ::fclose(file);
  return contents;
}

// The daemons are not in every user's PATH.
std::string DaemonPath(const std::string& name) {
  for (const char* folder : {"/usr/sbin/", "/usr/local/sbin/", "/usr/bin/"}) {
    if (::access((folder + name).c_str(), X_OK) == 0) return folder + name;
  }
  return FindProgram(name).value_or("");
}

}  // namespace

bool SlurmCluster::IsInstalled() {
  for (const char* daemon : {"munged", "slurmctld", "slurmd"}) {
    if (DaemonPath(daemon).empty()) return false;
  }
  for (const char* command :
       {"sbatch", "squeue", "scancel", "scontrol", "sinfo"}) {
    if (!FindProgram(command).ok()) return false;
  }
  return true;
}

SlurmCluster::SlurmCluster(int node_count)
    : nodes_(NodeNames(node_count)), conf_(folder_.File("slurm.conf")) {
  WriteConf();
  ::setenv("SLURM_CONF", conf_.c_str(), 1);
  Start("munged", DaemonPath("munged"),
        {"--foreground", "--force",
         absl::StrCat("--key-file=", folder_.File("munge.key")),
         absl::StrCat("--socket=", folder_.File("munge.sock")),
         absl::StrCat("--pid-file=", folder_.File("munged.pid")),
         absl::StrCat("--log-file=", folder_.File("munge.log")),
         absl::StrCat("--seed-file=", folder_.File("munge.seed"))});
  EXPECT_TRUE(Await([this] {
    return ::access(folder_.File("munge.sock").c_str(), F_OK) == 0;
  }));
  StartController();
  for (const std::string& node : nodes_) {
    Start(node, DaemonPath("slurmd"), {"-D", "-N", node, "-f", conf_});
  }
}

SlurmCluster::~SlurmCluster() {
  for (const std::string& node : nodes_) daemons_[node]->Signal(SIGCONT);
  // Before the daemons, so that they start no job any more.
  if (const auto controller = daemons_.find("slurmctld");
      controller != daemons_.end()) {
    daemons_.erase(controller);
  }
  daemons_.clear();
  for (auto left = JobProcesses(); !left.empty(); left = JobProcesses()) {
    for (const pid_t pid : left) ::kill(pid, SIGKILL);
  }
  ::unsetenv("SLURM_CONF");
}

void SlurmCluster::WriteConf() {
  // Munge wants nobody else to be able to write there.
  EXPECT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
  std::filesystem::create_directory(folder_.File("state"));
  for (const std::string& node : nodes_) {
    std::filesystem::create_directory(folder_.File(node));
  }
  EXPECT_TRUE(
      WriteFileAtomically(folder_.File("munge.key"), RandomBytes(1024), 0600)
          .ok());
  const passwd* const user = ::getpwuid(::geteuid());
  const std::vector<int> ports = FreePorts(nodes_.size() + 1);
  std::string conf =
      absl::Substitute(kConf, folder_.path(), ShortHostName(),
                       user == nullptr ? "root" : user->pw_name, ports.back());
  for (size_t i = 0; i < nodes_.size(); ++i) {
    absl::StrAppend(&conf, "NodeName=", nodes_[i],
                    " NodeAddr=127.0.0.1 NodeHostname=", ShortHostName(),
                    " Port=", ports[i], " CPUs=1 RealMemory=100\n");
  }
  EXPECT_TRUE(WriteFileAtomically(conf_, conf).ok());
}

void SlurmCluster::Start(const std::string& name, const std::string& program,
                         std::vector<std::string> arguments) {
  auto started = ChildProcess::Start({.program = program,
                                      .arguments = std::move(arguments),
                                      .log_file = folder_.File(name + ".log")});
  ASSERT_TRUE(started.ok()) << started.status();
  daemons_[name] = *std::move(started);
}

void SlurmCluster::StartController() {
  Start("slurmctld", DaemonPath("slurmctld"), {"-D", "-f", conf_});
}

void SlurmCluster::StopController() {
  const auto controller = daemons_.find("slurmctld");
  ASSERT_NE(controller, daemons_.end());
  controller->second->Signal(SIGTERM);
  controller->second->Reap();
  daemons_.erase(controller);
}

bool SlurmCluster::AwaitReady() {
  const auto is_ready = [this] {
    return Output("sinfo", {"--noheader", "--partition=main", "--states=idle",
                            "--format=%D"}) == absl::StrCat(nodes_.size());
  };
  if (Await(is_ready)) return true;
  std::vector<std::string> names = nodes_;
  names.push_back("munged");
  for (const std::string& name : names) {
    ADD_FAILURE() << name << " wrote:\n" << Log(name);
  }
  return false;
}

std::string SlurmCluster::Log(const std::string& name) const {
  return ReadFile(folder_.File(name + ".log"), kLogBytes).value_or("none");
}

std::string SlurmCluster::Output(const std::string& program,
                                 std::vector<std::string> arguments) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    environment.emplace_back(*entry);
  }
  const auto output = RunCommand({.program = program,
                                  .arguments = std::move(arguments),
                                  .environment = std::move(environment)});
  if (!output.ok() || output->exit_code != 0) return "";
  return std::string(absl::StripAsciiWhitespace(output->output));
}

std::vector<SlurmCluster::Job> SlurmCluster::Jobs() const {
  std::vector<Job> jobs;
  const std::string output =
      Output("squeue", {"--noheader", "--states=all", "--format=%i|%j|%T|%N"});
  for (const absl::string_view line :
       absl::StrSplit(output, '\n', absl::SkipWhitespace())) {
    const std::vector<std::string> fields = absl::StrSplit(line, '|');
    if (fields.size() == 4) {
      jobs.push_back({fields[0], fields[1], fields[2], fields[3]});
    }
  }
  return jobs;
}

std::string SlurmCluster::StateOf(const std::string& id) const {
  for (const Job& job : Jobs()) {
    if (job.id == id) return job.state;
  }
  return "";
}

bool SlurmCluster::Await(const std::function<bool()>& is_so) const {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!is_so()) {
    if (absl::Now() > deadline) {
      ADD_FAILURE() << "that never came to be; jobs:\n"
                    << Output("squeue", {"--states=all"}) << "\nnodes:\n"
                    << Output("sinfo", {"--Node", "--long"})
                    << "\nthe controller's log:\n"
                    << Log("slurmctld");
      return false;
    }
    absl::SleepFor(kPause);
  }
  return true;
}

bool SlurmCluster::AwaitState(const std::string& id,
                              const std::string& state) const {
  return Await([&] { return StateOf(id) == state; });
}

bool SlurmCluster::HasEnded(const std::string& id) const {
  const std::string state = StateOf(id);
  return state.empty() || SlurmPhaseOf(state) == SlurmPhase::kEnded;
}

void SlurmCluster::CancelAll() const {
  for (const Job& job : Jobs()) {
    if (HasEnded(job.id)) continue;
    // Again and again: a script that has yet to begin gets no signal. Of others
    // there is no script (any more).
    int tries = 0;
    Await([&] {
      if (++tries < 20) {
        Output("scancel", {"--signal=KILL", "--batch", job.id});
      } else {
        Output("scancel", {job.id});
      }
      return HasEnded(job.id);
    });
  }
}

void SlurmCluster::Cancel(const std::string& id) const {
  Output("scancel", {id});
}

void SlurmCluster::Requeue(const std::string& id) const {
  Output("scontrol", {"requeue", id});
}

void SlurmCluster::SetDown(const std::string& node) const {
  Output("scontrol", {"update", absl::StrCat("nodename=", node), "state=DOWN",
                      "reason=test"});
}

void SlurmCluster::SetUp(const std::string& node) const {
  Output("scontrol",
         {"update", absl::StrCat("nodename=", node), "state=RESUME"});
}

std::string SlurmCluster::SubmitSleep(const std::string& partition,
                                      int nodes) const {
  return Output("sbatch",
                {"--parsable", "--export=NONE", "--output=/dev/null",
                 absl::StrCat("--partition=", partition),
                 absl::StrCat("--nodes=", nodes), "--wrap=exec sleep 600"});
}

pid_t SlurmCluster::NodePid(const std::string& node) const {
  const auto found = daemons_.find(node);
  return found == daemons_.end() ? -1 : found->second->pid();
}

std::vector<pid_t> SlurmCluster::JobProcesses() const {
  // Slurm gives it to whatever it runs. Of our own session are the daemons and
  // what the test started otherwise.
  const std::string mark = absl::StrCat("SLURM_CONF=", conf_);
  const pid_t our_session = ::getsid(0);
  std::set<pid_t> marked;
  std::set<pid_t> sessions;
  std::vector<std::pair<pid_t, pid_t>> all;  // with its session
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    const pid_t session = ::getsid(pid);
    if (session <= 0 || session == our_session) continue;
    // One that has ended and was not waited for has no command line any more.
    if (ReadProcFile(entry.path() / "cmdline").empty()) continue;
    all.emplace_back(pid, session);
    const std::string environment = ReadProcFile(entry.path() / "environ");
    for (const absl::string_view variable : absl::StrSplit(environment, '\0')) {
      if (variable != mark) continue;
      marked.insert(pid);
      sessions.insert(session);
    }
  }
  std::vector<pid_t> found(marked.begin(), marked.end());
  for (const auto& [pid, session] : all) {
    if (sessions.contains(session) && !marked.contains(pid)) {
      found.push_back(pid);
    }
  }
  return found;
}

}  // namespace dissonance
