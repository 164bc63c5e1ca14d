// Where the server is and who asks: options, environment and profile resolved
// into one value, in that order of precedence. Thread safe; owns nothing.
//
// A profile is a table of ~/.config/dissonance/config.toml:
//
//   default_profile = "lab"
//   [profiles.lab]
//   server = "lab.example:7433"
//   token_file = "~/.config/dissonance/lab.token"
//   tls_ca_file = "~/.config/dissonance/lab-ca.pem"
//   tls_certificate_file = "~/.config/dissonance/me.pem"
//   tls_key_file = "~/.config/dissonance/me.key"
#ifndef DISSONANCE_CLIENT_CLI_SETTINGS_H_
#define DISSONANCE_CLIENT_CLI_SETTINGS_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/output.h"

namespace dissonance::cli {

// The options that every command takes, as typed; empty: not given.
struct GlobalOptions {
  std::string server;
  std::string data_dir;
  std::string token_file;
  std::string profile;
  std::optional<OutputFormat> output;
};

// What the options come to.
struct Settings {
  // gRPC target: "unix:/PATH" or "HOST:PORT".
  std::string address;
  // Absolute; may not exist yet.
  std::string data_dir;
  // Whether someone named it; else it is the default.
  bool data_dir_given = false;
  // File the token is read from; empty: `token` holds it already.
  std::string token_file;
  // The token, where the environment gave it.
  std::string token;
  // Whether a missing token_file is an error (it was asked for by name).
  bool token_required = false;
  // PEM file of the authorities that a remote server is checked against;
  // empty: the system's.
  std::string tls_ca_file;
  // PEM files of the certificate that this client shows to a remote server and
  // of its key; both or neither.
  std::string tls_certificate_file;
  std::string tls_key_file;
};

// INVALID_ARGUMENT for a bad address or configuration file, with its line;
// NOT_FOUND for an unknown profile.
absl::StatusOr<Settings> ResolveSettings(const GlobalOptions& options);

// What a server's configuration file says under data_dir; empty if nothing.
absl::StatusOr<std::string> DataDirOfServerConfig(const std::string& path);

// Whether the address is a unix socket or this machine's loopback, where no
// TLS is needed.
bool IsLocalAddress(const std::string& address);

// `path` made absolute against the working folder, with a leading "~/"
// replaced by the home folder.
std::string AbsolutePath(const std::string& path);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_SETTINGS_H_
