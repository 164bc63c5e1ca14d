#include "client/cli/settings.h"

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "client/cli/toml_message.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "toml++/toml.h"

namespace dissonance::cli {
namespace {

constexpr uint64_t kConfigLimitBytes = 1 << 20;
// Longest path that fits into sockaddr_un, without the final NUL.
constexpr size_t kSocketPathLimit = 107;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string FirstOf(const std::string& a, const std::string& b,
                    const std::string& c) {
  return !a.empty() ? a : !b.empty() ? b : c;
}

std::string DefaultDataDir() {
  const std::string base = Environment("XDG_DATA_HOME");
  return absl::StrCat(base.empty() ? "~/.local/share" : base, "/dissonance");
}

std::string ConfigPath() {
  const std::string base = Environment("XDG_CONFIG_HOME");
  return AbsolutePath(absl::StrCat(base.empty() ? "~/.config" : base,
                                   "/dissonance/config.toml"));
}

struct Profile {
  std::string server;
  std::string data_dir;
  std::string token_file;
  std::string tls_ca_file;
  std::string tls_certificate_file;
  std::string tls_key_file;
};

std::string* FieldOf(Profile& profile, const std::string& key) {
  if (key == "server") return &profile.server;
  if (key == "data_dir") return &profile.data_dir;
  if (key == "token_file") return &profile.token_file;
  if (key == "tls_ca_file") return &profile.tls_ca_file;
  if (key == "tls_certificate_file") return &profile.tls_certificate_file;
  if (key == "tls_key_file") return &profile.tls_key_file;
  return nullptr;
}

absl::StatusOr<Profile> ReadProfile(const toml::table& table,
                                    const std::string& where) {
  Profile profile;
  for (const auto& [key, value] : table) {
    const std::optional<std::string> text = value.value<std::string>();
    const std::string name(key.str());
    std::string* field = FieldOf(profile, name);
    if (field == nullptr || !text.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(
          where, ":", value.source().begin.line, ": ", name,
          field == nullptr ? " is not a key of a profile" : " is not a string",
          "; a profile has the strings server, data_dir, token_file, "
          "tls_ca_file, tls_certificate_file and tls_key_file"));
    }
    *field = *text;
  }
  if (profile.tls_certificate_file.empty() != profile.tls_key_file.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ":", table.source().begin.line, ": this profile has ",
        profile.tls_key_file.empty() ? "tls_certificate_file and no "
                                       "tls_key_file"
                                     : "tls_key_file and no "
                                       "tls_certificate_file",
        "; a client that shows a certificate needs both"));
  }
  return profile;
}

absl::StatusOr<Profile> FindProfile(const toml::table& config,
                                    const std::string& wanted,
                                    const std::string& path) {
  const std::string name =
      wanted.empty() ? config["default_profile"].value_or(std::string())
                     : wanted;
  if (name.empty()) return Profile();
  const toml::table* profiles = config["profiles"].as_table();
  const toml::table* profile =
      profiles == nullptr ? nullptr : (*profiles)[name].as_table();
  if (profile == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("no table [profiles.", name, "] in ", path));
  }
  return ReadProfile(*profile, path);
}

// The profile asked for, or the default one; an empty one where there is no
// configuration file and none was asked for.
absl::StatusOr<Profile> LoadProfile(const std::string& wanted) {
  const std::string path = ConfigPath();
  absl::StatusOr<std::string> text = ReadFile(path, kConfigLimitBytes);
  if (absl::IsNotFound(text.status())) {
    if (wanted.empty()) return Profile();
    return absl::NotFoundError(
        absl::StrCat("profile ", wanted, " is not known: there is no ", path));
  }
  if (!text.ok()) return text.status();
  try {
    return FindProfile(toml::parse(*text, path), wanted, path);
  } catch (const toml::parse_error& e) {
    return TomlError(path, e);
  }
}

absl::StatusOr<std::string> UnixTarget(const std::string& path) {
  const std::string absolute = AbsolutePath(path);
  if (absolute.size() > kSocketPathLimit) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the socket's path ", absolute, " is longer than ", kSocketPathLimit,
        " bytes, which the system does not take; choose a shorter --data-dir"));
  }
  return absl::StrCat("unix:", absolute);
}

// The gRPC target of an address as people write it.
absl::StatusOr<std::string> TargetOf(absl::string_view address) {
  if (absl::ConsumePrefix(&address, "unix://") ||
      absl::ConsumePrefix(&address, "unix:") ||
      absl::StrContains(address, '/')) {
    return UnixTarget(std::string(address));
  }
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == absl::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 1 ||
      port > std::numeric_limits<uint16_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat("server address \"", address,
                     "\" is neither HOST:PORT nor unix:/PATH"));
  }
  return std::string(address);
}

// The server as it was named, or empty for the data directory's socket. What is
// typed outranks the environment, which outranks the default profile.
std::string ChooseServer(const GlobalOptions& options, const Profile& profile) {
  if (!options.server.empty()) return options.server;
  if (!options.data_dir.empty()) return "";
  if (!options.profile.empty()) return profile.server;
  std::string server = Environment("DISSONANCE_SERVER");
  if (!server.empty()) return server;
  return Environment("DISSONANCE_DATA_DIR").empty() ? profile.server : "";
}

void ChooseToken(const GlobalOptions& options,
                 const std::string& profile_token_file, Settings& settings) {
  settings.token_file = options.token_file;
  if (settings.token_file.empty() && !options.profile.empty()) {
    settings.token_file = profile_token_file;
  }
  if (settings.token_file.empty()) {
    settings.token = Environment("DISSONANCE_TOKEN");
    if (!settings.token.empty()) return;
    settings.token_file = profile_token_file;
  }
  settings.token_required = !settings.token_file.empty();
  // The owner's token is never sent to another machine.
  if (settings.token_file.empty() && IsLocalAddress(settings.address)) {
    settings.token_file = settings.data_dir + "/owner.token";
  }
  if (!settings.token_file.empty()) {
    settings.token_file = AbsolutePath(settings.token_file);
  }
}

}  // namespace

std::string AbsolutePath(const std::string& path) {
  std::filesystem::path full(path);
  if (path == "~" || absl::StartsWith(path, "~/")) {
    full = Environment("HOME") + path.substr(1);
  }
  std::error_code ignored;
  const std::filesystem::path absolute =
      std::filesystem::absolute(full, ignored).lexically_normal();
  // "dir/." and "dir/" name the same folder as "dir".
  return absolute.has_filename() || absolute == absolute.root_path()
             ? absolute.string()
             : absolute.parent_path().string();
}

bool IsLocalAddress(const std::string& address) {
  if (absl::StartsWith(address, "unix:")) return true;
  const std::string host = address.substr(0, address.rfind(':'));
  return host == "localhost" || host == "[::1]" ||
         absl::StartsWith(host, "127.");
}

absl::StatusOr<std::string> DataDirOfServerConfig(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kConfigLimitBytes));
  try {
    const toml::table config = toml::parse(text, path);
    return config["data_dir"].value_or(std::string());
  } catch (const toml::parse_error& e) {
    return TomlError(path, e);
  }
}

absl::StatusOr<Settings> ResolveSettings(const GlobalOptions& options) {
  ASSIGN_OR_RETURN(const Profile profile,
                   LoadProfile(FirstOf(options.profile,
                                       Environment("DISSONANCE_PROFILE"), "")));
  Settings settings;
  const std::string data_dir = FirstOf(
      options.data_dir, Environment("DISSONANCE_DATA_DIR"), profile.data_dir);
  settings.data_dir_given = !data_dir.empty();
  settings.data_dir =
      AbsolutePath(data_dir.empty() ? DefaultDataDir() : data_dir);
  const std::string server = ChooseServer(options, profile);
  ASSIGN_OR_RETURN(settings.address,
                   server.empty()
                       ? UnixTarget(settings.data_dir + "/dissonance.sock")
                       : TargetOf(server));
  // What belongs to a profile's server is no other server's business.
  const bool use_profile =
      !options.profile.empty() || (!server.empty() && server == profile.server);
  if (use_profile) {
    settings.tls_ca_file = profile.tls_ca_file;
    settings.tls_certificate_file = profile.tls_certificate_file;
    settings.tls_key_file = profile.tls_key_file;
  }
  ChooseToken(options, use_profile ? profile.token_file : "", settings);
  return settings;
}

}  // namespace dissonance::cli
