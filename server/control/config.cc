#include "server/control/config.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "toml++/toml.h"

namespace dissonance {
namespace {

constexpr uint64_t kFileLimitBytes = 1 << 20;
constexpr size_t kSocketPathLimit = 107;
constexpr absl::string_view kLongestSocket = "/dissonance.sock";

// One key: how it is read from a node (false: another type) and written.
struct Field {
  std::string type;
  std::function<bool(const toml::node&)> read;
  std::function<void(toml::table&, const std::string&)> write;
};
// By "section.key", or "key" at the top.
using Fields = std::map<std::string, Field, std::less<>>;

template <typename T>
Field Scalar(std::string type, T& target) {
  return {std::move(type),
          [&target](const toml::node& node) {
            const std::optional<T> value = node.value<T>();
            if (value.has_value()) target = *value;
            return value.has_value();
          },
          [&target](toml::table& table, const std::string& key) {
            table.insert_or_assign(key, target);
          }};
}

Field Text(std::string& target) { return Scalar("a string", target); }
Field Whole(int64_t& target) { return Scalar("a whole number", target); }
Field Number(double& target) { return Scalar("a number", target); }
Field Flag(bool& target) { return Scalar("true or false", target); }

Field Texts(std::vector<std::string>& target) {
  return {"a list of strings",
          [&target](const toml::node& node) {
            const toml::array* array = node.as_array();
            if (array == nullptr) return false;
            target.clear();
            for (const toml::node& element : *array) {
              const auto text = element.value<std::string>();
              if (!text.has_value()) return false;
              target.push_back(*text);
            }
            return true;
          },
          [&target](toml::table& table, const std::string& key) {
            toml::array array;
            for (const std::string& text : target) array.push_back(text);
            table.insert_or_assign(key, std::move(array));
          }};
}

void AddLlmFields(const std::string& name, LlmConfig& llm, Fields& fields) {
  const std::string section = absl::StrCat("llm.", name, ".");
  fields.merge(Fields{
      {section + "base_url", Text(llm.base_url)},
      {section + "api_key_file", Text(llm.api_key_file)},
      {section + "api_key_env", Text(llm.api_key_env)},
      {section + "ca_file", Text(llm.ca_file)},
      {section + "json_mode", Flag(llm.json_mode)},
      {section + "in_flight", Whole(llm.in_flight)},
      {section + "requests_per_minute", Number(llm.requests_per_minute)},
      {section + "tokens_per_minute", Number(llm.tokens_per_minute)},
      {section + "timeout_seconds", Number(llm.timeout_seconds)},
      {section + "patience_seconds", Number(llm.patience_seconds)},
      {section + "prompt_price", Number(llm.prompt_price)},
      {section + "completion_price", Number(llm.completion_price)},
  });
}

// Every key there is.
Fields FieldsOf(Config& config) {
  WorkerConfig& worker = config.worker;
  LimitsConfig& limits = config.limits;
  Fields fields = {
      {"data_dir", Text(config.data_dir)},
      {"listen", Texts(config.listen)},
      {"http_listen", Text(config.http_listen)},
      {"drain_seconds", Number(config.drain_seconds)},
      {"upgrade_database", Flag(config.upgrade_database)},
      {"log_level", Text(config.log_level)},
      {"log_format", Text(config.log_format)},
      {"tls.certificate_file", Text(config.tls.certificate_file)},
      {"tls.key_file", Text(config.tls.key_file)},
      {"tls.client_ca_file", Text(config.tls.client_ca_file)},
      {"worker.launcher", Text(worker.launcher)},
      {"worker.count", Whole(worker.count)},
      {"worker.least", Whole(worker.least)},
      {"worker.idle_seconds", Number(worker.idle_seconds)},
      {"worker.device", Text(worker.device)},
      {"worker.threads", Whole(worker.threads)},
      {"worker.step_tokens", Whole(worker.step_tokens)},
      {"worker.decode_step_tokens", Whole(worker.decode_step_tokens)},
      {"worker.reproducible", Flag(worker.reproducible)},
      {"worker.weight_bytes", Whole(worker.weight_bytes)},
      {"worker.training_bytes", Whole(worker.training_bytes)},
      {"worker.training_share", Number(worker.training_share)},
      {"worker.kv_cache_bytes", Whole(worker.kv_cache_bytes)},
      {"worker.prefix_cache_bytes", Whole(worker.prefix_cache_bytes)},
      {"worker.activation_store_bytes", Whole(worker.activation_store_bytes)},
      {"worker.queue_limit", Whole(worker.queue_limit)},
      {"worker.heartbeat_seconds", Number(worker.heartbeat_seconds)},
      {"worker.hang_seconds", Number(worker.hang_seconds)},
      {"worker.start_seconds", Number(worker.start_seconds)},
      {"worker.first_backoff_seconds", Number(worker.first_backoff_seconds)},
      {"worker.max_backoff_seconds", Number(worker.max_backoff_seconds)},
      {"slurm.options", Texts(config.slurm.options)},
      {"slurm.host", Text(config.slurm.host)},
      {"slurm.poll_seconds", Number(config.slurm.poll_seconds)},
      {"limits.message_bytes", Whole(limits.message_bytes)},
      {"limits.text_bytes", Whole(limits.text_bytes)},
      {"limits.items", Whole(limits.items)},
      {"limits.continuations", Whole(limits.continuations)},
      {"limits.tokens", Whole(limits.tokens)},
      {"limits.calls_per_second", Number(limits.calls_per_second)},
      {"limits.call_burst_seconds", Number(limits.call_burst_seconds)},
      {"jobs.concurrent", Whole(config.jobs.concurrent)},
      {"jobs.concurrent_hosted", Whole(config.jobs.concurrent_hosted)},
      {"jobs.aging_seconds", Number(config.jobs.aging_seconds)},
      {"jobs.share_half_life_hours", Number(config.jobs.share_half_life_hours)},
      {"quota.queued_jobs", Whole(config.quota.queued_jobs)},
      {"quota.running_jobs", Whole(config.quota.running_jobs)},
      {"quota.artifact_bytes", Whole(config.quota.artifact_bytes)},
      {"quota.device_seconds_per_week",
       Number(config.quota.device_seconds_per_week)},
      {"artifacts.unnamed_days", Number(config.artifacts.unnamed_days)},
      {"artifacts.max_bytes", Whole(config.artifacts.max_bytes)},
      {"artifacts.collect_hours", Number(config.artifacts.collect_hours)},
      {"jobs.lost_limit", Whole(config.jobs.lost_limit)},
      {"jobs.mcq_questions_per_batch",
       Whole(config.jobs.mcq_questions_per_batch)},
  };
  for (auto& [name, llm] : config.llm) AddLlmFields(name, llm, fields);
  return fields;
}

absl::Status BadKey(const std::string& file, const toml::node& node,
                    absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(file, ":", node.source().begin.line, ": ", what));
}

absl::Status ReadTable(const toml::table& table, const std::string& prefix,
                       const std::string& file, const Fields& fields) {
  for (const auto& [key, node] : table) {
    const std::string name = absl::StrCat(prefix, std::string(key.str()));
    const auto field = fields.find(name);
    if (field != fields.end()) {
      if (field->second.read(node)) continue;
      return BadKey(file, node,
                    absl::StrCat(name, " has to be ", field->second.type));
    }
    const auto first_inside = fields.lower_bound(name + ".");
    const bool is_section = node.is_table() && first_inside != fields.end() &&
                            absl::StartsWith(first_inside->first, name + ".");
    if (!is_section) {
      return BadKey(file, node,
                    absl::StrCat("there is no key ", name,
                                 "; deploy/dissonanced.example.toml lists all "
                                 "keys"));
    }
    RETURN_IF_ERROR(ReadTable(*node.as_table(), name + ".", file, fields));
  }
  return absl::OkStatus();
}

// Makes room for the endpoints that the file names, whose keys are known then.
void NameEndpoints(const toml::table& table, Config& config) {
  const toml::table* endpoints = table["llm"].as_table();
  if (endpoints == nullptr) return;
  for (const auto& [name, node] : *endpoints) {
    if (node.is_table()) config.llm[std::string(name.str())];
  }
}

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

absl::StatusOr<std::string> DefaultDataDir() {
  const std::string base = Environment("XDG_DATA_HOME");
  if (!base.empty()) return base + "/dissonance";
  const std::string home = Environment("HOME");
  if (!home.empty()) return home + "/.local/share/dissonance";
  return absl::InvalidArgumentError(
      "no data directory: set --data-dir, data_dir in the configuration, or "
      "HOME");
}

std::string Absolute(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::path absolute =
      std::filesystem::absolute(path, ignored).lexically_normal();
  return absolute.has_filename() ? absolute : absolute.parent_path();
}

absl::Status CheckRange(absl::string_view key, double value, double low,
                        double high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      key, " is ", value, "; it has to be from ", low, " to ", high));
}

constexpr double kDay = 86400.0;
constexpr double kMany = 1e15;

// What the shared box is divided by.
absl::Status CheckShares(const Config& config) {
  const QuotaConfig& quota = config.quota;
  const ArtifactsConfig& artifacts = config.artifacts;
  struct Range {
    absl::string_view key;
    double value, low, high;
  };
  const Range ranges[] = {
      {"limits.calls_per_second", config.limits.calls_per_second, 0, 1e6},
      {"limits.call_burst_seconds", config.limits.call_burst_seconds, 0, 3600},
      {"jobs.aging_seconds", config.jobs.aging_seconds, 1, 365 * kDay},
      {"jobs.share_half_life_hours", config.jobs.share_half_life_hours, 0.01,
       24 * 365},
      {"quota.queued_jobs", static_cast<double>(quota.queued_jobs), 0, kMany},
      {"quota.running_jobs", static_cast<double>(quota.running_jobs), 0, kMany},
      {"quota.artifact_bytes", static_cast<double>(quota.artifact_bytes), 0,
       kMany},
      {"quota.device_seconds_per_week", quota.device_seconds_per_week, 0,
       kMany},
      {"artifacts.unnamed_days", artifacts.unnamed_days, 0, 36500},
      {"artifacts.max_bytes", static_cast<double>(artifacts.max_bytes), 0,
       kMany},
      {"artifacts.collect_hours", artifacts.collect_hours, 0.01, 24 * 365},
  };
  for (const Range& range : ranges) {
    RETURN_IF_ERROR(CheckRange(range.key, range.value, range.low, range.high));
  }
  return absl::OkStatus();
}

absl::Status CheckNumbers(const Config& config) {
  constexpr double kMaxInt = 2147483647.0;
  const WorkerConfig& w = config.worker;
  const LimitsConfig& l = config.limits;
  struct Range {
    absl::string_view key;
    double value, low, high;
  };
  const Range ranges[] = {
      {"drain_seconds", config.drain_seconds, 0, kDay},
      {"worker.count", static_cast<double>(w.count), 1, 256},
      {"worker.least", static_cast<double>(w.least), 0,
       static_cast<double>(w.count)},
      {"worker.idle_seconds", w.idle_seconds, 0.1, kDay},
      {"slurm.poll_seconds", config.slurm.poll_seconds, 0.1, 3600},
      {"worker.threads", static_cast<double>(w.threads), 0, 4096},
      {"worker.step_tokens", static_cast<double>(w.step_tokens), 0, 1 << 20},
      {"worker.decode_step_tokens", static_cast<double>(w.decode_step_tokens),
       0, 1 << 20},
      {"worker.weight_bytes", static_cast<double>(w.weight_bytes), 0, kMany},
      {"worker.training_bytes", static_cast<double>(w.training_bytes), 0,
       kMany},
      {"worker.training_share", w.training_share, 0, 0.9},
      {"worker.kv_cache_bytes", static_cast<double>(w.kv_cache_bytes), 0,
       kMany},
      {"worker.prefix_cache_bytes", static_cast<double>(w.prefix_cache_bytes),
       0, kMany},
      {"worker.activation_store_bytes",
       static_cast<double>(w.activation_store_bytes), 0, kMany},
      {"worker.queue_limit", static_cast<double>(w.queue_limit), 1, kMaxInt},
      {"worker.heartbeat_seconds", w.heartbeat_seconds, 0.01, 3600},
      {"worker.hang_seconds", w.hang_seconds, 0.01, kDay},
      {"worker.start_seconds", w.start_seconds, 0.1, kDay},
      {"worker.first_backoff_seconds", w.first_backoff_seconds, 0.001, kDay},
      {"worker.max_backoff_seconds", w.max_backoff_seconds, 0.001, kDay},
      {"limits.message_bytes", static_cast<double>(l.message_bytes), 1 << 20,
       kMaxInt},
      {"limits.text_bytes", static_cast<double>(l.text_bytes), 1, kMaxInt},
      {"limits.items", static_cast<double>(l.items), 1, kMaxInt},
      {"limits.continuations", static_cast<double>(l.continuations), 1,
       kMaxInt},
      {"limits.tokens", static_cast<double>(l.tokens), 1, kMany},
      {"jobs.concurrent", static_cast<double>(config.jobs.concurrent), 1, 64},
      {"jobs.concurrent_hosted",
       static_cast<double>(config.jobs.concurrent_hosted), 1, 64},
      {"jobs.lost_limit", static_cast<double>(config.jobs.lost_limit), 1, 1000},
      {"jobs.mcq_questions_per_batch",
       static_cast<double>(config.jobs.mcq_questions_per_batch), 1, 100'000},
  };
  for (const Range& range : ranges) {
    RETURN_IF_ERROR(CheckRange(range.key, range.value, range.low, range.high));
  }
  return absl::OkStatus();
}

bool IsEndpointName(absl::string_view name) {
  return !name.empty() && absl::c_all_of(name, [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_';
  });
}

absl::Status CheckEndpoints(const Config& config) {
  for (const auto& [name, llm] : config.llm) {
    const std::string section = absl::StrCat("llm.", name, ".");
    if (!IsEndpointName(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("[llm.\"", name,
                       "\"]: an endpoint's name has letters, digits, - and _ "
                       "alone; it is not the model's name"));
    }
    if (llm.base_url.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(section,
                       "base_url is missing; give the address that "
                       "/chat/completions is added to, e.g. "
                       "https://api.openai.com/v1"));
    }
    if (!llm.api_key_file.empty() && !llm.api_key_env.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(section, "api_key_file and ", section,
                       "api_key_env are both given; give one of them"));
    }
    struct Range {
      absl::string_view key;
      double value, low, high;
    };
    const Range ranges[] = {
        {"in_flight", static_cast<double>(llm.in_flight), 1, 1000},
        {"requests_per_minute", llm.requests_per_minute, 0, 1e9},
        {"tokens_per_minute", llm.tokens_per_minute, 0, kMany},
        {"timeout_seconds", llm.timeout_seconds, 1, kDay},
        {"patience_seconds", llm.patience_seconds, 0, 30 * kDay},
        {"prompt_price", llm.prompt_price, 0, 1e6},
        {"completion_price", llm.completion_price, 0, 1e6},
    };
    for (const Range& range : ranges) {
      RETURN_IF_ERROR(CheckRange(absl::StrCat(section, range.key), range.value,
                                 range.low, range.high));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOneOf(absl::string_view key, const std::string& value,
                        absl::Span<const absl::string_view> allowed) {
  if (absl::c_linear_search(allowed, value)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(key, " is \"", value,
                                                 "\"; it has to be one of ",
                                                 absl::StrJoin(allowed, ", ")));
}

absl::Status CheckTexts(const Config& config) {
  RETURN_IF_ERROR(CheckOneOf("worker.launcher", config.worker.launcher,
                             {kLocalLauncher, kSlurmLauncher}));
  RETURN_IF_ERROR(CheckOneOf("log_level", config.log_level,
                             {"debug", "info", "warning", "error"}));
  RETURN_IF_ERROR(
      CheckOneOf("log_format", config.log_format, {"text", "json"}));
  if (config.listen.empty()) {
    return absl::InvalidArgumentError(
        "listen is empty; give \"unix\", an address HOST:PORT, or both");
  }
  if (config.tls.certificate_file.empty() != config.tls.key_file.empty()) {
    return absl::InvalidArgumentError(
        "tls needs both certificate_file and key_file, or neither");
  }
  if (config.tls.certificate_file.empty() &&
      !config.tls.client_ca_file.empty()) {
    return absl::InvalidArgumentError(
        "tls.client_ca_file needs tls.certificate_file and tls.key_file: "
        "without TLS nobody shows a certificate");
  }
  if (config.data_dir.size() + kLongestSocket.size() > kSocketPathLimit) {
    return absl::InvalidArgumentError(
        absl::StrCat("data_dir ", config.data_dir, " is too long: with ",
                     kLongestSocket, " a socket's path may have ",
                     kSocketPathLimit, " bytes; choose a shorter one"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Config> ParseConfig(absl::string_view text,
                                   const std::string& file) {
  Config config;
  try {
    const toml::table table =
        toml::parse(std::string_view(text.data(), text.size()), file);
    NameEndpoints(table, config);
    RETURN_IF_ERROR(ReadTable(table, "", file, FieldsOf(config)));
  } catch (const toml::parse_error& e) {
    return absl::InvalidArgumentError(absl::StrCat(
        file, ":", e.source().begin.line, ": ", std::string(e.description())));
  }
  return config;
}

absl::StatusOr<Config> ReadConfigFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kFileLimitBytes));
  return ParseConfig(text, path);
}

absl::StatusOr<std::string> ResolveDataDir(const std::string& data_dir) {
  if (!data_dir.empty()) return Absolute(data_dir);
  ASSIGN_OR_RETURN(const std::string usual, DefaultDataDir());
  return Absolute(usual);
}

absl::StatusOr<Config> ResolveConfig(Config config) {
  ASSIGN_OR_RETURN(config.data_dir, ResolveDataDir(config.data_dir));
  for (std::string* file : {&config.tls.certificate_file, &config.tls.key_file,
                            &config.tls.client_ca_file}) {
    if (!file->empty()) *file = Absolute(*file);
  }
  for (auto& [name, llm] : config.llm) {
    for (std::string* file : {&llm.api_key_file, &llm.ca_file}) {
      if (!file->empty()) *file = Absolute(*file);
    }
  }
  RETURN_IF_ERROR(CheckTexts(config));
  RETURN_IF_ERROR(CheckNumbers(config));
  RETURN_IF_ERROR(CheckShares(config));
  RETURN_IF_ERROR(CheckEndpoints(config));
  return config;
}

std::string ConfigToToml(const Config& config) {
  Config copy = config;
  toml::table root;
  for (const auto& [name, field] : FieldsOf(copy)) {
    toml::table* table = &root;
    std::string key = name;
    for (size_t dot; (dot = key.find('.')) != std::string::npos;) {
      const std::string section = key.substr(0, dot);
      table->insert(section, toml::table());
      table = (*table)[section].as_table();
      key = key.substr(dot + 1);
    }
    field.write(*table, key);
  }
  std::ostringstream out;
  out << root << "\n";
  return out.str();
}

}  // namespace dissonance
