// dissonance adapters register | list | show | share | load | unload | delete.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/errors.h"
#include "client/cli/names.h"
#include "client/cli/pages.h"
#include "client/cli/progress.h"
#include "client/cli/proto_json.h"
#include "client/cli/upload.h"
#include "src/base/clock.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

// As PEFT names them.
constexpr char kConfigFile[] = "adapter_config.json";
constexpr char kWeightsFile[] = "adapter_model.safetensors";

struct AdapterArgs {
  std::string path;
  std::string model;
  std::string name;
  bool upload = false;
  bool share = false;
  // --private.
  bool undo = false;
};

// The full name; a usage error if nothing says which model is meant.
absl::StatusOr<std::string> FullName(const AdapterArgs& args) {
  const std::string name = AdapterName(args.model, args.name);
  if (!absl::StartsWith(name, "models/")) {
    return UsageError(absl::StrCat(
        "which model's adapter is ", args.name,
        "? add --model MODEL, or write models/MODEL/adapters/", args.name));
  }
  return name;
}

std::string Residency(const v1::Adapter& adapter) {
  return adapter.resident() ? HumanBytes(adapter.resident_bytes()) : "no";
}

void EmitAdapter(const Session& session, const v1::Adapter& adapter) {
  Table table({{""}, {""}});
  table.AddRow({"name", adapter.name()});
  if (adapter.has_artifacts()) {
    table.AddRow({"config", adapter.artifacts().config()});
    table.AddRow({"weights", adapter.artifacts().weights()});
  } else {
    table.AddRow({"path", adapter.path()});
  }
  table.AddRow({"rank", absl::StrCat(adapter.rank())});
  table.AddRow({"modules", absl::StrCat(adapter.module_count())});
  table.AddRow({"targets", absl::StrJoin(adapter.target_modules(), ", ")});
  table.AddRow({"dropout", absl::StrFormat("%g", adapter.dropout())});
  table.AddRow({"resident", Residency(adapter)});
  table.AddRow({"owner", adapter.owner()});
  table.AddRow({"visibility", EnumWord(adapter.visibility())});
  table.AddRow({"digest", adapter.digest()});
  EmitOne(session.output, ToJson(adapter), table);
}

// The two files of a PEFT directory on this machine.
struct AdapterUploads {
  Upload config;
  Upload weights;
};

absl::StatusOr<AdapterUploads> UploadsOf(const std::string& directory) {
  AdapterUploads uploads;
  ASSIGN_OR_RETURN(uploads.config,
                   UploadOfFile(absl::StrCat(directory, "/", kConfigFile)));
  absl::StatusOr<Upload> weights =
      UploadOfFile(absl::StrCat(directory, "/", kWeightsFile));
  if (absl::IsNotFound(weights.status())) {
    return WithHint(weights.status(),
                    "weights are read from safetensors alone: save the "
                    "adapter with PEFT's save_pretrained(DIR, "
                    "safe_serialization=True)");
  }
  RETURN_IF_ERROR(weights.status());
  uploads.weights = *std::move(weights);
  return uploads;
}

absl::StatusOr<v1::AdapterArtifacts> SendUploads(
    Connection& connection, const AdapterUploads& uploads) {
  ProgressDisplay display(stderr, ::isatty(STDERR_FILENO) == 1, Clock::Real());
  for (const Upload* upload : {&uploads.config, &uploads.weights}) {
    RETURN_IF_ERROR(
        SendUpload(connection, *upload, MediaTypeOf(upload->label), display)
            .status());
  }
  v1::AdapterArtifacts artifacts;
  artifacts.set_config(uploads.config.name);
  artifacts.set_weights(uploads.weights.name);
  return artifacts;
}

absl::Status Register(const Session& session, const AdapterArgs& args) {
  v1::RegisterAdapterRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), FullName(args));
  // Unset, what is there stays as it was.
  if (args.share) request.set_visibility(v1::VISIBILITY_LAB);
  const std::string path = AbsolutePath(args.path);
  AdapterUploads uploads;
  if (args.upload) {
    ASSIGN_OR_RETURN(uploads, UploadsOf(path));
  } else {
    request.set_path(path);
  }
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  if (args.upload) {
    ASSIGN_OR_RETURN(*request.mutable_artifacts(),
                     SendUploads(*connection, uploads));
  }
  ASSIGN_OR_RETURN(const v1::RegisterAdapterResponse response,
                   connection->Call(&v1::Models::Stub::RegisterAdapter, request,
                                    absl::InfiniteDuration()));
  EmitAdapter(session, response.adapter());
  return absl::OkStatus();
}

CommandRun DefineRegister(CLI::App& app) {
  auto args = std::make_shared<AdapterArgs>();
  app.add_option("DIR", args->path, "PEFT LoRA directory")->required();
  app.add_option("--model", args->model, "Base model")->required();
  app.add_option("--name", args->name, "Name to register it under")->required();
  app.add_flag("--upload", args->upload,
               "Send the directory's files, for a server on another machine");
  app.add_flag("--share", args->share, "Everybody with a token may use it");
  return [args](const Session& session) { return Register(session, *args); };
}

absl::StatusOr<std::vector<v1::Adapter>> AdaptersOf(Connection& connection,
                                                    const std::string& model) {
  v1::ListAdaptersRequest request;
  request.set_parent(model);
  return ListAll(connection, &v1::Models::Stub::ListAdapters, request,
                 &v1::ListAdaptersResponse::adapters);
}

// The adapters of one model, or of all if `model` is empty.
absl::StatusOr<std::vector<v1::Adapter>> Collect(Connection& connection,
                                                 const std::string& model) {
  if (!model.empty()) return AdaptersOf(connection, ModelName(model));
  ASSIGN_OR_RETURN(
      const std::vector<v1::Model> models,
      ListAll(connection, &v1::Models::Stub::ListModels,
              v1::ListModelsRequest(), &v1::ListModelsResponse::models));
  std::vector<v1::Adapter> all;
  for (const v1::Model& each : models) {
    ASSIGN_OR_RETURN(const std::vector<v1::Adapter> some,
                     AdaptersOf(connection, each.name()));
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

absl::Status List(const Session& session, const AdapterArgs& args) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const std::vector<v1::Adapter> adapters,
                   Collect(*connection, args.model));
  Table table({{"MODEL"},
               {"NAME"},
               {"RANK", Align::kRight},
               {"MODULES", Align::kRight},
               {"TARGETS"},
               {"RESIDENT", Align::kRight},
               {"OWNER"},
               {"VISIBILITY"}});
  std::vector<nlohmann::json> records;
  for (const v1::Adapter& adapter : adapters) {
    records.push_back(ToJson(adapter));
    const std::string parent =
        adapter.name().substr(0, adapter.name().find("/adapters/"));
    table.AddRow(
        {ShortName(parent), ShortName(adapter.name()),
         absl::StrCat(adapter.rank()), absl::StrCat(adapter.module_count()),
         absl::StrJoin(adapter.target_modules(), ","), Residency(adapter),
         OwnerOrDash(adapter.owner()), EnumWord(adapter.visibility())});
  }
  Emit(session.output, records, table);
  return absl::OkStatus();
}

CommandRun DefineList(CLI::App& app) {
  auto args = std::make_shared<AdapterArgs>();
  app.add_option("--model", args->model,
                 "Only this model's adapters (default: all models')");
  return [args](const Session& session) { return List(session, *args); };
}

// show, load and unload differ in the call alone.
template <typename Request, typename Response,
          grpc::Status (v1::Models::Stub::*method)(grpc::ClientContext*,
                                                   const Request&, Response*)>
absl::Status CallAndShow(const Session& session, const AdapterArgs& args) {
  Request request;
  ASSIGN_OR_RETURN(*request.mutable_name(), FullName(args));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const Response response,
                   connection->Call(method, request, absl::InfiniteDuration()));
  EmitAdapter(session, response.adapter());
  return absl::OkStatus();
}

absl::Status Delete(const Session& session, const AdapterArgs& args) {
  v1::DeleteAdapterRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), FullName(args));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  RETURN_IF_ERROR(
      connection->Call(&v1::Models::Stub::DeleteAdapter, request).status());
  Table table({{""}});
  table.AddRow({absl::StrCat("deleted ", request.name())});
  EmitOne(session.output, {{"name", request.name()}}, table);
  return absl::OkStatus();
}

absl::Status Share(const Session& session, const AdapterArgs& args) {
  v1::UpdateAdapterRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), FullName(args));
  request.set_visibility(args.undo ? v1::VISIBILITY_PRIVATE
                                   : v1::VISIBILITY_LAB);
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(
      const v1::UpdateAdapterResponse response,
      connection->CallAgain(&v1::Models::Stub::UpdateAdapter, request));
  EmitAdapter(session, response.adapter());
  return absl::OkStatus();
}

std::shared_ptr<AdapterArgs> AddNameOptions(CLI::App& app) {
  auto args = std::make_shared<AdapterArgs>();
  app.add_option("ADAPTER", args->name,
                 "Adapter, or models/MODEL/adapters/ADAPTER")
      ->required();
  app.add_option("--model", args->model, "Its base model");
  return args;
}

CommandRun DefineShare(CLI::App& app) {
  auto args = AddNameOptions(app);
  app.add_flag("--private", args->undo, "Its owner alone sees it again");
  return [args](const Session& session) { return Share(session, *args); };
}

template <absl::Status (*run)(const Session&, const AdapterArgs&)>
CommandRun DefineNamed(CLI::App& app) {
  auto args = AddNameOptions(app);
  return [args](const Session& session) { return run(session, *args); };
}

constexpr auto kShow =
    CallAndShow<v1::GetAdapterRequest, v1::GetAdapterResponse,
                &v1::Models::Stub::GetAdapter>;
constexpr auto kLoad =
    CallAndShow<v1::LoadAdapterRequest, v1::LoadAdapterResponse,
                &v1::Models::Stub::LoadAdapter>;
constexpr auto kUnload =
    CallAndShow<v1::UnloadAdapterRequest, v1::UnloadAdapterResponse,
                &v1::Models::Stub::UnloadAdapter>;

}  // namespace

std::vector<Command> AdaptersCommands() {
  return {
      {"adapters", "register", "Load a PEFT LoRA directory beside its model",
       DefineRegister},
      {"adapters", "list", "List adapters", DefineList},
      {"adapters", "show", "Show one adapter", DefineNamed<kShow>},
      {"adapters", "share", "Let everybody with a token use an adapter",
       DefineShare},
      {"adapters", "load", "Make a registered adapter resident again",
       DefineNamed<kLoad>},
      {"adapters", "unload", "Release an adapter's weights, keep it registered",
       DefineNamed<kUnload>},
      {"adapters", "delete", "Release and forget an adapter; files stay",
       DefineNamed<Delete>},
  };
}

}  // namespace dissonance::cli
