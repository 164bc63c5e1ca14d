// dissonance admin token create | list | rotate | revoke.
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/cli/choice.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/durations.h"
#include "client/cli/errors.h"
#include "client/cli/names.h"
#include "client/cli/pages.h"
#include "client/cli/parsed_option.h"
#include "client/cli/proto_json.h"
#include "client/cli/secret_file.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

std::string EndOf(const v1::Token& token) {
  return token.has_expire_time() ? HumanTime(token.expire_time()) : "never";
}

std::string RateOf(const v1::Token& token) {
  if (token.calls_per_second() <= 0) return "-";
  return absl::StrFormat("%g/s", token.calls_per_second());
}

// The file for a secret; none: it goes to stdout.
using Destination = std::optional<SecretFile>;

absl::StatusOr<Destination> NewFile(const std::string& out) {
  if (out.empty()) return Destination();
  ASSIGN_OR_RETURN(SecretFile file, SecretFile::Prepare(AbsolutePath(out)));
  return Destination(std::move(file));
}

void PrintSecret(const Session& session, const v1::Token& token,
                 const std::string& secret) {
  EmitText(session.output,
           {{"token", ToJson(token)}, {"secret", secret}, {"file", nullptr}},
           secret);
  std::fflush(stdout);
  absl::FPrintF(stderr,
                "note: this is the secret of %s (%s, scope %s, ends: %s); it "
                "is shown this once\n",
                Printable(token.name()), Printable(token.user()),
                EnumWord(token.scope()), EndOf(token));
}

// Hands a new token's secret over. It is the only copy: where the file fails
// it is printed.
absl::Status Deliver(const Session& session, const v1::Token& token,
                     const std::string& secret, Destination destination) {
  if (!destination.has_value()) {
    PrintSecret(session, token, secret);
    return absl::OkStatus();
  }
  if (const absl::Status written = destination->Write(secret); !written.ok()) {
    PrintSecret(session, token, secret);
    return WithHint(
        written,
        absl::StrCat("the token was made and its secret printed instead; keep "
                     "it, or end it with: dissonance admin token revoke ",
                     ShortName(token.name())));
  }
  Table table({{""}, {""}});
  table.AddRow({"file", destination->path()});
  table.AddRow({"token", token.name()});
  table.AddRow({"user", token.user()});
  table.AddRow({"scope", EnumWord(token.scope())});
  table.AddRow({"ends", EndOf(token)});
  if (token.calls_per_second() > 0) table.AddRow({"rate", RateOf(token)});
  if (!token.note().empty()) table.AddRow({"note", token.note()});
  EmitOne(session.output,
          {{"token", ToJson(token)},
           {"secret", nullptr},
           {"file", destination->path()}},
          table);
  return absl::OkStatus();
}

// A token has to be valid for a while.
absl::StatusOr<absl::Duration> ParseLifetime(const std::string& text) {
  ASSIGN_OR_RETURN(const absl::Duration span, ParseSpan(text));
  if (span > absl::ZeroDuration()) return span;
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is no time at all"));
}

struct CreateArgs {
  std::string user;
  v1::Scope scope = v1::SCOPE_UNSPECIFIED;
  absl::Duration lifetime;  // zero: not given
  double rate = 0;
  std::string note;
  std::string out;
};

absl::Status Create(const Session& session, const CreateArgs& args) {
  v1::CreateTokenRequest request;
  if (!args.user.empty()) request.set_user(UserName(args.user));
  request.set_scope(args.scope);
  if (args.lifetime > absl::ZeroDuration()) {
    *request.mutable_lifetime() = ToProto(args.lifetime);
  }
  request.set_calls_per_second(args.rate);
  request.set_note(args.note);
  // Before the token is made: a secret without a place would be lost.
  ASSIGN_OR_RETURN(Destination destination, NewFile(args.out));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::CreateTokenResponse response,
                   connection->Call(&v1::Admin::Stub::CreateToken, request));
  return Deliver(session, response.token(), response.secret(),
                 std::move(destination));
}

CommandRun DefineCreate(CLI::App& app) {
  auto args = std::make_shared<CreateArgs>();
  app.add_option("--user", args->user, "Whose it is (default: yours)");
  AddChoice<v1::Scope>(app, "--scope", "SCOPE", args->scope,
                       {{"read", v1::SCOPE_READ},
                        {"run", v1::SCOPE_RUN},
                        {"admin", v1::SCOPE_ADMIN}},
                       "read: see; run: also compute and change what is the "
                       "user's; admin: also manage users and the server "
                       "(default: run)");
  AddParsed(app, "--expires", "SPAN", args->lifetime, ParseLifetime,
            "How long it is valid, as 30d or 12h (default: for ever, or as "
            "long as your own)");
  app.add_option("--rate", args->rate,
                 "Calls a second (default: as the configuration says)")
      ->check(AtLeast(0));
  app.add_option("--note", args->note, "What it is for");
  app.add_option("--out", args->out,
                 "New file for the secret, mode 0600 (default: stdout)");
  return [args](const Session& session) { return Create(session, *args); };
}

std::string StateOf(const v1::Token& token) {
  if (token.has_revoke_time()) return "revoked";
  const bool expired =
      token.has_expire_time() &&
      absl::FromUnixSeconds(token.expire_time().seconds()) <= absl::Now();
  return expired ? "expired" : "valid";
}

absl::Status List(const Session& session, const std::string& user) {
  v1::ListTokensRequest request;
  if (!user.empty()) request.set_user(UserName(user));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const std::vector<v1::Token> tokens,
                   ListAll(*connection, &v1::Admin::Stub::ListTokens, request,
                           &v1::ListTokensResponse::tokens));
  Table table({{"CREATED"},
               {"SCOPE"},
               {"STATE"},
               {"ENDS"},
               {"RATE", Align::kRight},
               {"NOTE"},
               {"TOKEN"}});
  std::vector<nlohmann::json> records;
  for (const v1::Token& token : tokens) {
    records.push_back(ToJson(token));
    table.AddRow({HumanTime(token.create_time()), EnumWord(token.scope()),
                  StateOf(token), EndOf(token), RateOf(token),
                  token.note().empty() ? "-" : token.note(),
                  ShortName(token.name())});
  }
  Emit(session.output, records, table);
  return absl::OkStatus();
}

CommandRun DefineList(CLI::App& app) {
  auto user = std::make_shared<std::string>();
  app.add_option("--user", *user, "Whose tokens (default: yours)");
  return [user](const Session& session) { return List(session, *user); };
}

struct RotateArgs {
  std::string name;
  absl::Duration overlap;
  std::string out;
};

// Whether `name` is the token of these calls; no name is.
absl::StatusOr<bool> IsOwn(Connection& connection, const std::string& name) {
  if (name.empty()) return true;
  ASSIGN_OR_RETURN(
      const v1::ServerInfoResponse info,
      connection.Call(&v1::Admin::Stub::ServerInfo, v1::ServerInfoRequest()));
  return info.caller().token() == name;
}

// The token file in use is kept up with the token in it.
absl::StatusOr<Destination> RotateInto(const Session& session,
                                       Connection& connection,
                                       const RotateArgs& args,
                                       const std::string& name) {
  if (!args.out.empty()) return NewFile(args.out);
  ASSIGN_OR_RETURN(const bool own, IsOwn(connection, name));
  if (!own || !session.settings.token.empty()) return Destination();
  absl::StatusOr<SecretFile> file =
      SecretFile::PrepareToReplace(session.settings.token_file);
  // Without a token the call itself says what is wrong.
  if (absl::IsNotFound(file.status())) return Destination();
  RETURN_IF_ERROR(file.status());
  return Destination(*std::move(file));
}

absl::Status Rotate(const Session& session, const RotateArgs& args) {
  v1::RotateTokenRequest request;
  if (!args.name.empty()) request.set_name(TokenName(args.name));
  *request.mutable_overlap() = ToProto(args.overlap);
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(Destination destination,
                   RotateInto(session, *connection, args, request.name()));
  ASSIGN_OR_RETURN(const v1::RotateTokenResponse response,
                   connection->Call(&v1::Admin::Stub::RotateToken, request));
  return Deliver(session, response.token(), response.secret(),
                 std::move(destination));
}

CommandRun DefineRotate(CLI::App& app) {
  auto args = std::make_shared<RotateArgs>();
  app.add_option("TOKEN", args->name,
                 "tokens/HEX or HEX (default: the one you call with)");
  AddParsed(app, "--overlap", "SPAN", args->overlap, ParseSpan,
            "How long the old one stays valid, as 1d (default: not at all)");
  app.add_option("--out", args->out,
                 "New file for the secret, mode 0600 (default: your token "
                 "file for the token in it, else stdout)");
  return [args](const Session& session) { return Rotate(session, *args); };
}

absl::Status Revoke(const Session& session, const std::string& name) {
  v1::RevokeTokenRequest request;
  request.set_name(TokenName(name));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::RevokeTokenResponse response,
                   connection->Call(&v1::Admin::Stub::RevokeToken, request));
  EmitText(session.output, ToJson(response.token()),
           absl::StrCat("revoked ", Printable(request.name()), "\n"));
  return absl::OkStatus();
}

CommandRun DefineRevoke(CLI::App& app) {
  auto name = std::make_shared<std::string>();
  app.add_option("TOKEN", *name, "tokens/HEX or HEX")->required();
  return [name](const Session& session) { return Revoke(session, *name); };
}

}  // namespace

std::vector<Command> TokenCommands() {
  return {
      {"admin token", "create", "Make an access token", DefineCreate},
      {"admin token", "list", "List a user's tokens, newest first", DefineList},
      {"admin token", "rotate", "Put a new token in place of an old one",
       DefineRotate},
      {"admin token", "revoke", "End a token and what was opened with it",
       DefineRevoke},
  };
}

}  // namespace dissonance::cli
