// The configuration of dissonanced: a TOML file, then command-line flags on
// top. deploy/dissonanced.example.toml documents every key. Values; thread
// safe.
//
//   ASSIGN_OR_RETURN(Config config, ReadConfigFile(path));
//   ASSIGN_OR_RETURN(config, ResolveConfig(std::move(config)));
//   std::string stored_with_each_job = ConfigToToml(config);
#ifndef DISSONANCE_SERVER_CONTROL_CONFIG_H_
#define DISSONANCE_SERVER_CONTROL_CONFIG_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace dissonance {

struct TlsConfig {
  std::string certificate_file;  // PEM chain; empty: no TLS
  std::string key_file;
  std::string client_ca_file;  // PEM; empty: clients need no certificate
};

inline constexpr char kLocalLauncher[] = "local";
inline constexpr char kSlurmLauncher[] = "slurm";

struct WorkerConfig {
  std::string launcher = kLocalLauncher;
  int64_t count = 1;
  int64_t least = 0;  // 0: as count
  double idle_seconds = 600.0;
  std::string device = "cpu";
  int64_t threads = 0;
  int64_t step_tokens = 0;  // 0: what suits the device; also below
  int64_t decode_step_tokens = 0;
  bool reproducible = true;
  int64_t weight_bytes = 0;
  int64_t training_bytes = 0;
  double training_share = 0.1;
  int64_t kv_cache_bytes = 0;  // as step_tokens
  int64_t prefix_cache_bytes = int64_t{1} << 30;
  int64_t activation_store_bytes = int64_t{4} << 30;
  int64_t queue_limit = 100'000;
  double heartbeat_seconds = 5.0;
  double hang_seconds = 600.0;
  double start_seconds = 120.0;
  double first_backoff_seconds = 0.2;
  double max_backoff_seconds = 30.0;
};

struct SlurmConfig {
  std::vector<std::string> options = {};  // of sbatch
  std::string host = {};  // by which nodes find this machine; empty: its name
  double poll_seconds = 5.0;
};

struct LimitsConfig {
  int64_t message_bytes = 256 << 20;
  int64_t text_bytes = 1 << 20;
  int64_t items = 100'000;
  int64_t continuations = 10'000;
  int64_t tokens = 16 << 20;
  double calls_per_second = 0;
  double call_burst_seconds = 10;
};

struct JobsConfig {
  int64_t concurrent = 4;
  int64_t concurrent_hosted = 4;
  double aging_seconds = 3600;
  double share_half_life_hours = 24;
  int64_t lost_limit = 5;
  int64_t mcq_questions_per_batch = 8;
};

// Of users without a quota of their own; 0: no limit.
struct QuotaConfig {
  int64_t queued_jobs = 0;
  int64_t running_jobs = 0;
  int64_t artifact_bytes = 0;
  double device_seconds_per_week = 0;
};

struct ArtifactsConfig {
  double unnamed_days = 90;  // 0: kept for ever
  int64_t max_bytes = 0;     // 0: no limit
  double collect_hours = 24;
};

// A chat endpoint, "[llm.NAME]".
struct LlmConfig {
  std::string base_url = {};
  // Where its key is; both empty: it needs none.
  std::string api_key_file = {};
  std::string api_key_env = {};
  std::string ca_file = {};  // PEM; empty: the system's authorities
  bool json_mode = true;
  int64_t in_flight = 20;
  double requests_per_minute = 0;  // 0: no limit
  double tokens_per_minute = 0;    // 0: no limit
  double timeout_seconds = 300;
  double patience_seconds = 3600;
  double prompt_price = 0;  // US dollars per million tokens; 0: not known
  double completion_price = 0;
};

struct Config {
  std::string data_dir;  // absolute once resolved
  // "unix": <data_dir>/dissonance.sock; or HOST:PORT.
  std::vector<std::string> listen = {"unix", "127.0.0.1:50071"};
  std::string http_listen;  // HOST:PORT; empty: no metrics, no /healthz
  double drain_seconds = 20.0;
  bool upgrade_database = false;
  std::string log_level = "info";
  std::string log_format = "text";
  TlsConfig tls;
  WorkerConfig worker;
  SlurmConfig slurm;
  LimitsConfig limits;
  JobsConfig jobs;
  QuotaConfig quota;
  ArtifactsConfig artifacts;
  std::map<std::string, LlmConfig> llm;
};

// Defaults with what the file sets. INVALID_ARGUMENT names file, line and key
// of one that is not known or has another type; NOT_FOUND without the file.
absl::StatusOr<Config> ReadConfigFile(const std::string& path);

// The same from text; `file` begins the messages.
absl::StatusOr<Config> ParseConfig(absl::string_view text,
                                   const std::string& file);

// Fills in the data directory ($XDG_DATA_HOME/dissonance, else
// ~/.local/share/dissonance), makes paths absolute and checks every value.
absl::StatusOr<Config> ResolveConfig(Config config);

// Only the data directory of it, for commands that need nothing else.
absl::StatusOr<std::string> ResolveDataDir(const std::string& data_dir);

// All keys, sorted, with their values. Parses back to the same Config.
std::string ConfigToToml(const Config& config);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_CONFIG_H_
