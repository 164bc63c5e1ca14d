// dissonance server start | stop | status | logs.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/errors.h"
#include "client/cli/log_file.h"
#include "client/cli/proto_json.h"
#include "client/cli/server_process.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(10);
constexpr absl::Duration kLongestPause = absl::Milliseconds(50);
constexpr absl::Duration kProbeTimeout = absl::Seconds(2);
constexpr int kLinesOfFailure = 20;

struct StartArgs {
  std::string config;
  std::vector<std::string> listen;
  std::string device;
  int threads = 0;  // 0: as the configuration says
  bool foreground = false;
  int timeout_seconds = 120;
};

// The local server's socket, whatever --server or a profile says.
Settings LocalSettings(const Session& session) {
  Settings local = session.settings;
  local.address = absl::StrCat("unix:", local.data_dir, "/dissonance.sock");
  return local;
}

bool Answers(const Settings& local) {
  const auto connection = Connection::Open(local);
  return connection.ok() && (*connection)->IsServing(kProbeTimeout);
}

// What the server is told beside its data directory.
std::vector<std::string> ServerOptions(const StartArgs& args) {
  std::vector<std::string> out;
  if (!args.config.empty()) {
    out.insert(out.end(), {"--config", AbsolutePath(args.config)});
  }
  for (const std::string& address : args.listen) {
    out.insert(out.end(), {"--listen", address});
  }
  if (!args.device.empty()) {
    out.insert(out.end(), {"--device", args.device});
  }
  if (args.threads > 0) {
    out.insert(out.end(), {"--threads", absl::StrCat(args.threads)});
  }
  return out;
}

void EmitRunning(const Session& session, pid_t pid, bool already) {
  const std::string address = LocalSettings(session).address;
  Table table({{""}});
  table.AddRow({absl::StrCat(already ? "already running" : "ready", ": ",
                             address, " (process ", pid, ")")});
  EmitOne(session.output,
          {{"address", address},
           {"pid", pid},
           {"data_dir", session.settings.data_dir},
           {"log", LogPath(session.settings.data_dir)},
           {"already_running", already}},
          table);
}

absl::Status Foreground(const std::string& program,
                        const std::vector<std::string>& arguments) {
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  ::execv(program.c_str(), argv.data());
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot start ", program));
}

// The server ended before it was ready: its own words say why.
absl::Status EarlyEnd(const ServerProcess& process, const std::string& log,
                      int64_t log_start) {
  const absl::StatusOr<LogTail> tail =
      LastLines(log, kLinesOfFailure, log_start);
  if (tail.ok()) std::fputs(tail->text.c_str(), stderr);
  return WithHint(
      absl::AbortedError(absl::StrCat("the server ended before it was ready (",
                                      process.EndOfChild(), ")")),
      absl::StrCat("its log is ", log));
}

// Where all workers that are to run have ended and are tried again, the first.
std::optional<v1::Worker> EndedWorker(const Settings& local) {
  const auto connection = Connection::Open(local);
  if (!connection.ok()) return std::nullopt;
  const absl::StatusOr<v1::ServerInfoResponse> info =
      (*connection)
          ->Call(&v1::Admin::Stub::ServerInfo, v1::ServerInfoRequest(),
                 kProbeTimeout);
  if (!info.ok()) return std::nullopt;
  std::optional<v1::Worker> ended;
  for (const v1::Worker& worker : info->workers()) {
    if (worker.state() == v1::WORKER_STATE_STOPPED) continue;
    if (worker.state() == v1::WORKER_STATE_READY ||
        worker.last_exit().empty()) {
      return std::nullopt;
    }
    if (!ended.has_value()) ended = worker;
  }
  return ended;
}

// The server runs, but what computes does not: the worker's own words say why.
absl::Status WorkerEnd(const ServerProcess& process, const v1::Worker& worker,
                       const std::string& data_dir) {
  std::string log = absl::StrCat(data_dir, "/logs/worker.log");
  absl::StatusOr<LogTail> tail = LastLines(log, kLinesOfFailure);
  if (absl::IsNotFound(tail.status())) {
    // The first of several.
    log = absl::StrCat(data_dir, "/logs/worker-1.log");
    tail = LastLines(log, kLinesOfFailure);
  }
  if (tail.ok()) std::fputs(tail->text.c_str(), stderr);
  return WithHint(
      WithHint(
          absl::AbortedError(absl::StrCat(
              "the worker ended before it was ready: ", worker.last_exit(),
              "; the server (process ", process.pid(), ") goes on trying")),
          absl::StrCat("the worker's log is ", log)),
      "see how it goes with 'dissonance server status', or end it with "
      "'dissonance server stop'");
}

// Polls the socket, pausing longer each time; the end of the process ends a
// pause at once.
absl::Status WaitUntilReady(const Session& session, const StartArgs& args,
                            const ServerProcess& process, int64_t log_start) {
  const Settings local = LocalSettings(session);
  const std::string log = LogPath(session.settings.data_dir);
  const absl::Time deadline = absl::Now() + absl::Seconds(args.timeout_seconds);
  for (absl::Duration pause = kFirstPause; absl::Now() < deadline;
       pause = std::min(pause * 2, kLongestPause)) {
    if (Answers(local)) return absl::OkStatus();
    if (process.WaitForEnd(pause)) return EarlyEnd(process, log, log_start);
    const std::optional<v1::Worker> ended = EndedWorker(local);
    if (ended.has_value()) {
      return WorkerEnd(process, *ended, session.settings.data_dir);
    }
  }
  return WithHint(
      absl::DeadlineExceededError(absl::StrCat(
          "the server (process ", process.pid(), ") is not ready after ",
          args.timeout_seconds, " s; it goes on starting")),
      "look at 'dissonance server logs', wait longer with --timeout, or end it "
      "with 'dissonance server stop'");
}

// The session with the data directory of the server's configuration, where
// nothing closer names one.
absl::StatusOr<Session> WithDataDir(const Session& session,
                                    const StartArgs& args) {
  Session out = session;
  if (args.config.empty() || session.settings.data_dir_given) return out;
  ASSIGN_OR_RETURN(const std::string data_dir,
                   DataDirOfServerConfig(AbsolutePath(args.config)));
  if (!data_dir.empty()) out.settings.data_dir = AbsolutePath(data_dir);
  return out;
}

absl::Status Start(const Session& given, const StartArgs& args) {
  ASSIGN_OR_RETURN(const Session session, WithDataDir(given, args));
  ASSIGN_OR_RETURN(const std::string program, ServerProgram());
  const std::string& data_dir = session.settings.data_dir;
  const absl::StatusOr<ServerProcess> running = ServerProcess::Find(data_dir);
  if (running.ok() && Answers(LocalSettings(session))) {
    if (args.foreground) {
      return WithHint(absl::FailedPreconditionError(absl::StrCat(
                          "a server runs on ", data_dir, " already (process ",
                          running->pid(), ")")),
                      "end it first with 'dissonance server stop'");
    }
    if (!ServerOptions(args).empty()) {
      absl::FPrintF(stderr,
                    "note: the server goes on with the options that it was "
                    "started with; others need a stop and a start\n");
    }
    EmitRunning(session, running->pid(), /*already=*/true);
    return absl::OkStatus();
  }
  std::vector<std::string> arguments = ServerOptions(args);
  arguments.insert(arguments.begin(), {"--data-dir", data_dir});
  if (args.foreground) return Foreground(program, arguments);
  const std::string log = LogPath(data_dir);
  const int64_t log_start = FileSize(log);
  ASSIGN_OR_RETURN(const ServerProcess process,
                   ServerProcess::Start(program, arguments, log));
  RETURN_IF_ERROR(WaitUntilReady(session, args, process, log_start));
  EmitRunning(session, process.pid(), /*already=*/false);
  return absl::OkStatus();
}

CommandRun DefineStart(CLI::App& app) {
  auto args = std::make_shared<StartArgs>();
  app.add_option("--config", args->config, "The server's configuration, TOML");
  app.add_option("--listen", args->listen,
                 "Where to listen: unix or HOST:PORT, separated by commas")
      ->delimiter(',');
  app.add_option("--device", args->device, "What computes: cpu or cuda:N");
  app.add_option("--threads", args->threads, "Compute threads on a CPU")
      ->check(CLI::PositiveNumber);
  app.add_flag("--foreground", args->foreground,
               "Stay in this terminal instead of going to the background");
  app.add_option("--timeout", args->timeout_seconds,
                 "Seconds to wait until it is ready")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  return [args](const Session& session) { return Start(session, *args); };
}

absl::Status Stop(const Session& session, int timeout_seconds) {
  const absl::StatusOr<ServerProcess> process =
      ServerProcess::Find(session.settings.data_dir);
  if (!process.ok() && !absl::IsNotFound(process.status())) {
    return process.status();
  }
  Table table({{""}});
  if (process.ok()) {
    RETURN_IF_ERROR(process->Terminate());
    if (!process->WaitForEnd(absl::Seconds(timeout_seconds))) {
      return WithHint(
          absl::DeadlineExceededError(absl::StrCat("the server (process ",
                                                   process->pid(),
                                                   ") still finishes its "
                                                   "work after ",
                                                   timeout_seconds, " s")),
          "wait longer with --timeout, or look at 'dissonance server logs'");
    }
    table.AddRow({absl::StrCat("stopped process ", process->pid())});
  } else {
    table.AddRow({std::string(process.status().message())});
  }
  EmitOne(session.output,
          {{"stopped", process.ok()},
           {"pid",
            process.ok() ? nlohmann::json(process->pid()) : nlohmann::json()}},
          table);
  return absl::OkStatus();
}

CommandRun DefineStop(CLI::App& app) {
  auto timeout = std::make_shared<int>(120);
  app.add_option("--timeout", *timeout, "Seconds to wait for its end")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  return [timeout](const Session& session) { return Stop(session, *timeout); };
}

// "users/ann, scope run, token ends 2027-01-01 00:00:00".
std::string CallerOf(const v1::Caller& caller) {
  return absl::StrCat(
      caller.user(), ", scope ", EnumWord(caller.scope()),
      caller.has_expire_time()
          ? absl::StrCat(", token ends ", HumanTime(caller.expire_time()))
          : ", token never ends");
}

Table StatusTable(const v1::ServerInfoResponse& info) {
  Table table({{""}, {""}});
  table.AddRow({"version", info.version()});
  table.AddRow({"state", info.draining() ? "draining" : "serving"});
  if (!info.maintenance().empty()) {
    table.AddRow(
        {"jobs", absl::StrCat("none are started: ", info.maintenance())});
  }
  if (info.has_caller()) table.AddRow({"you", CallerOf(info.caller())});
  table.AddRow({"data directory", info.data_dir()});
  table.AddRow({"addresses", absl::StrJoin(info.addresses(), ", ")});
  table.AddRow({"started", HumanTime(info.start_time())});
  table.AddRow(
      {"uptime", HumanDuration(absl::Seconds(info.uptime().seconds()))});
  table.AddRow({"memory", HumanBytes(info.resident_bytes())});
  for (const v1::Worker& worker : info.workers()) {
    std::string line = absl::StrCat(
        worker.name(), "  ", EnumWord(worker.state()), "  ", worker.device(),
        "  ", worker.launched_as(), "  ", HumanBytes(worker.resident_bytes()),
        "  restarts ", worker.restart_count());
    if (!worker.waits_for().empty()) {
      absl::StrAppend(&line, "  waits for: ", worker.waits_for());
    }
    if (!worker.last_exit().empty()) {
      absl::StrAppend(&line, "  last end: ", worker.last_exit());
    }
    table.AddRow({"worker", line});
  }
  return table;
}

absl::Status ShowStatus(const Session& session) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(
      const v1::ServerInfoResponse info,
      connection->Call(&v1::Admin::Stub::ServerInfo, v1::ServerInfoRequest()));
  EmitOne(session.output, ToJson(info), StatusTable(info));
  return absl::OkStatus();
}

CommandRun DefineStatus(CLI::App& /*app*/) { return ShowStatus; }

struct LogsArgs {
  bool follow = false;
  int lines = 100;
};

absl::Status Logs(const Session& session, const LogsArgs& args) {
  const std::string path = LogPath(session.settings.data_dir);
  const auto print = [](absl::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  const absl::StatusOr<LogTail> tail = LastLines(path, args.lines);
  if (!tail.ok()) {
    return WithHint(tail.status(),
                    "no server was started in the background on this data "
                    "directory; name another with --data-dir");
  }
  print(tail->text);
  return args.follow ? FollowFile(path, tail->end_byte, print)
                     : absl::OkStatus();
}

CommandRun DefineLogs(CLI::App& app) {
  auto args = std::make_shared<LogsArgs>();
  app.add_flag("-f,--follow", args->follow, "Go on printing as lines come");
  app.add_option("-n,--lines", args->lines, "Last lines to begin with")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  return [args](const Session& session) { return Logs(session, *args); };
}

}  // namespace

std::vector<Command> ServerCommands() {
  return {
      {"server", "start", "Start the server on this machine", DefineStart},
      {"server", "stop", "Let the server finish its work and end", DefineStop},
      {"server", "status", "Show version, addresses and workers", DefineStatus},
      {"server", "logs", "Print the server's log", DefineLogs},
  };
}

}  // namespace dissonance::cli
