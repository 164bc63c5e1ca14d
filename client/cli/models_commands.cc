// dissonance models load | list | show | share | unload | selfcheck.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/choice.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/errors.h"
#include "client/cli/names.h"
#include "client/cli/pages.h"
#include "client/cli/proto_json.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

std::string TextOrDash(const std::string& text) {
  return text.empty() ? "-" : text;
}

Table DetailsOf(const v1::Model& model) {
  Table table({{""}, {""}});
  table.AddRow({"name", model.name()});
  table.AddRow({"path", model.path()});
  table.AddRow({"architecture", model.architecture()});
  table.AddRow({"dtype", EnumWord(model.dtype())});
  table.AddRow({"device", model.device()});
  table.AddRow({"parameters", HumanCount(model.parameter_count())});
  table.AddRow({"resident",
                model.resident() ? HumanBytes(model.resident_bytes()) : "no"});
  table.AddRow({"blocks", absl::StrCat(model.block_count())});
  table.AddRow({"d_model", absl::StrCat(model.d_model())});
  table.AddRow({"heads", absl::StrCat(model.head_count(), " (",
                                      model.kv_head_count(), " key/value)")});
  table.AddRow({"vocabulary", HumanCount(model.vocab_size())});
  table.AddRow({"positions", HumanCount(model.max_position_count())});
  table.AddRow({"owner", TextOrDash(model.owner())});
  table.AddRow({"visibility", EnumWord(model.visibility())});
  table.AddRow({"digest", model.digest()});
  table.AddRow({"tokenizer", TextOrDash(model.tokenizer_digest())});
  table.AddRow({"chat template", model.has_chat_template() ? "yes" : "no"});
  return table;
}

struct LoadArgs {
  std::string path;
  std::string name;
  v1::DType dtype = v1::DTYPE_UNSPECIFIED;
  bool share = false;
};

// Whether a path that is not there looks like a hub's "organisation/model".
bool LooksLikeHubName(const std::string& path) {
  return std::count(path.begin(), path.end(), '/') == 1 &&
         path.front() != '/' && path.front() != '.' && path.back() != '/' &&
         !std::filesystem::exists(path);
}

absl::Status Load(const Session& session, const LoadArgs& args) {
  v1::LoadModelRequest request;
  request.set_name(ModelName(args.name));
  request.set_path(AbsolutePath(args.path));
  request.set_dtype(args.dtype);
  // Unset, what is there stays as it was.
  if (args.share) request.set_visibility(v1::VISIBILITY_LAB);
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  const absl::StatusOr<v1::LoadModelResponse> response = connection->Call(
      &v1::Models::Stub::LoadModel, request, absl::InfiniteDuration());
  if (absl::IsNotFound(response.status()) && LooksLikeHubName(args.path)) {
    return WithHint(
        response.status(),
        absl::StrCat("models are read from folders; if ", args.path,
                     " is a hub's name, download it first: hf download ",
                     args.path, " --local-dir DIR"));
  }
  RETURN_IF_ERROR(response.status());
  EmitOne(session.output, ToJson(response->model()),
          DetailsOf(response->model()));
  return absl::OkStatus();
}

CommandRun DefineLoad(CLI::App& app) {
  auto args = std::make_shared<LoadArgs>();
  app.add_option("DIR", args->path,
                 "Hugging Face model directory (config.json, safetensors)")
      ->required();
  app.add_option("--name", args->name, "Name to load it under")->required();
  AddChoice<v1::DType>(app, "--dtype", "TYPE", args->dtype,
                       {{"float32", v1::DTYPE_FLOAT32},
                        {"bfloat16", v1::DTYPE_BFLOAT16},
                        {"float64", v1::DTYPE_FLOAT64}},
                       "Compute type: float32, bfloat16 or float64 (default: "
                       "the checkpoint's)");
  app.add_flag("--share", args->share, "Everybody with a token may use it");
  return [args](const Session& session) { return Load(session, *args); };
}

absl::Status List(const Session& session) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(
      const std::vector<v1::Model> models,
      ListAll(*connection, &v1::Models::Stub::ListModels,
              v1::ListModelsRequest(), &v1::ListModelsResponse::models));
  Table table({{"NAME"},
               {"ARCHITECTURE"},
               {"DTYPE"},
               {"DEVICE"},
               {"PARAMETERS", Align::kRight},
               {"BLOCKS", Align::kRight},
               {"RESIDENT", Align::kRight},
               {"OWNER"},
               {"VISIBILITY"}});
  std::vector<nlohmann::json> records;
  for (const v1::Model& model : models) {
    records.push_back(ToJson(model));
    table.AddRow({ShortName(model.name()), model.architecture(),
                  EnumWord(model.dtype()), model.device(),
                  HumanCount(model.parameter_count()),
                  absl::StrCat(model.block_count()),
                  model.resident() ? HumanBytes(model.resident_bytes()) : "no",
                  OwnerOrDash(model.owner()), EnumWord(model.visibility())});
  }
  Emit(session.output, records, table);
  return absl::OkStatus();
}

CommandRun DefineList(CLI::App& /*app*/) { return List; }

absl::Status Show(const Session& session, const std::string& name) {
  v1::GetModelRequest request;
  request.set_name(ModelName(name));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::GetModelResponse response,
                   connection->Call(&v1::Models::Stub::GetModel, request));
  EmitOne(session.output, ToJson(response.model()),
          DetailsOf(response.model()));
  return absl::OkStatus();
}

CommandRun DefineShow(CLI::App& app) {
  auto name = std::make_shared<std::string>();
  app.add_option("MODEL", *name, "Model to show")->required();
  return [name](const Session& session) { return Show(session, *name); };
}

struct ShareArgs {
  std::string name;
  bool undo = false;
};

absl::Status Share(const Session& session, const ShareArgs& args) {
  v1::UpdateModelRequest request;
  request.set_name(ModelName(args.name));
  request.set_visibility(args.undo ? v1::VISIBILITY_PRIVATE
                                   : v1::VISIBILITY_LAB);
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(
      const v1::UpdateModelResponse response,
      connection->CallAgain(&v1::Models::Stub::UpdateModel, request));
  EmitOne(session.output, ToJson(response.model()),
          DetailsOf(response.model()));
  return absl::OkStatus();
}

CommandRun DefineShare(CLI::App& app) {
  auto args = std::make_shared<ShareArgs>();
  app.add_option("MODEL", args->name, "Model to share")->required();
  app.add_flag("--private", args->undo, "Its owner alone sees it again");
  return [args](const Session& session) { return Share(session, *args); };
}

absl::Status Unload(const Session& session, const std::string& name) {
  v1::UnloadModelRequest request;
  request.set_name(ModelName(name));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  RETURN_IF_ERROR(
      connection->Call(&v1::Models::Stub::UnloadModel, request).status());
  Table table({{""}});
  table.AddRow({absl::StrCat("unloaded ", request.name())});
  EmitOne(session.output, {{"name", request.name()}}, table);
  return absl::OkStatus();
}

CommandRun DefineUnload(CLI::App& app) {
  auto name = std::make_shared<std::string>();
  app.add_option("MODEL", *name, "Model to release and forget")->required();
  return [name](const Session& session) { return Unload(session, *name); };
}

struct SelfCheckArgs {
  std::string name;
  uint64_t seed = 0;
};

Table InvariantTable(const v1::SelfCheckResponse& response) {
  Table table({{"INVARIANT"},
               {"RESULT"},
               {"DIFFERENCE", Align::kRight},
               {"LIMIT", Align::kRight},
               {"COMPARED", Align::kRight},
               {"REMARK"}});
  for (const v1::Invariant& each : response.invariants()) {
    table.AddRow({each.name(), each.passed() ? "pass" : "FAIL",
                  absl::StrFormat("%.3g", each.difference()),
                  absl::StrFormat("%.3g", each.limit()),
                  HumanCount(each.compared_count()), each.message()});
  }
  return table;
}

// An error that names the invariants that don't hold.
absl::Status StatusOfCheck(const v1::SelfCheckResponse& response,
                           const std::string& model) {
  std::vector<std::string> failed;
  for (const v1::Invariant& each : response.invariants()) {
    if (!each.passed()) failed.push_back(each.name());
  }
  if (failed.empty()) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat(
      model, " fails ", failed.size(), " of ", response.invariants_size(),
      " invariants: ", absl::StrJoin(failed, "; "),
      "; do not rely on its results"));
}

absl::Status SelfCheck(const Session& session, const SelfCheckArgs& args) {
  v1::SelfCheckRequest request;
  request.set_name(ModelName(args.name));
  request.set_seed(args.seed);
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::SelfCheckResponse response,
                   connection->CallAgain(&v1::Models::Stub::SelfCheck, request,
                                         absl::InfiniteDuration()));
  EmitOne(session.output, ToJson(response), InvariantTable(response));
  return StatusOfCheck(response, request.name());
}

CommandRun DefineSelfCheck(CLI::App& app) {
  auto args = std::make_shared<SelfCheckArgs>();
  app.add_option("MODEL", args->name, "Model to check")->required();
  app.add_option("--seed", args->seed,
                 "Seed from which the prompts are drawn (default: 0)");
  return [args](const Session& session) { return SelfCheck(session, *args); };
}

}  // namespace

std::vector<Command> ModelsCommands() {
  return {
      {"models", "load", "Load a model directory and keep it resident",
       DefineLoad},
      {"models", "list", "List the models that the server knows", DefineList},
      {"models", "show", "Show one model", DefineShow},
      {"models", "share", "Let everybody with a token use a model",
       DefineShare},
      {"models", "unload", "Release a model and forget it and its adapters",
       DefineUnload},
      {"models", "selfcheck", "Check on a model what every result relies on",
       DefineSelfCheck},
  };
}

}  // namespace dissonance::cli
