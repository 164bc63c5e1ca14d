// dissonance direction list, show, delete, compare.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/direction_make.h"
#include "client/cli/direction_view.h"
#include "client/cli/names.h"
#include "client/cli/pages.h"
#include "client/cli/proto_json.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/lab/tensors/direction_file.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance::cli {
namespace {

absl::Status List(const Session& session) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(
      const std::vector<v1::Direction> directions,
      ListAll<v1::Direction>(*connection, &v1::Directions::Stub::ListDirections,
                             v1::ListDirectionsRequest(),
                             &v1::ListDirectionsResponse::directions));
  std::vector<nlohmann::json> records;
  for (const v1::Direction& direction : directions) {
    records.push_back(ToJson(direction));
  }
  Emit(session.output, records, DirectionsTable(directions));
  return absl::OkStatus();
}

CommandRun DefineList(CLI::App& /*app*/) {
  return [](const Session& session) { return List(session); };
}

struct ShowArgs {
  std::string name;
  std::string out;
};

absl::Status Show(const Session& session, const ShowArgs& args) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  v1::GetDirectionRequest request;
  request.set_name(DirectionName(args.name));
  ASSIGN_OR_RETURN(
      const v1::GetDirectionResponse response,
      connection->Call(&v1::Directions::Stub::GetDirection, request));
  const v1::Direction& direction = response.direction();
  if (!args.out.empty()) {
    RETURN_IF_ERROR(WriteFileAtomically(args.out, DirectionFile(direction)));
  }
  EmitOne(session.output, ToJson(direction), DirectionTable(direction));
  return absl::OkStatus();
}

CommandRun DefineShow(CLI::App& app) {
  auto args = std::make_shared<ShowArgs>();
  app.add_option("NAME", args->name, "Direction to show")->required();
  app.add_option("--out", args->out,
                 "Also write its vectors: NAME.safetensors, a tensor for each "
                 "place");
  return [args](const Session& session) { return Show(session, *args); };
}

absl::Status Delete(const Session& session, const std::string& name) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  v1::DeleteDirectionRequest request;
  request.set_name(DirectionName(name));
  RETURN_IF_ERROR(
      connection->Call(&v1::Directions::Stub::DeleteDirection, request)
          .status());
  Table table({{""}, {""}});
  table.AddRow({"deleted", request.name()});
  EmitOne(session.output, {{"deleted", request.name()}}, table);
  return absl::OkStatus();
}

CommandRun DefineDelete(CLI::App& app) {
  auto name = std::make_shared<std::string>();
  app.add_option("NAME", *name, "Direction to delete")->required();
  app.footer("Jobs that were created with it keep its numbers.");
  return [name](const Session& session) { return Delete(session, *name); };
}

nlohmann::json CosineJson(const v1::CompareDirectionsResponse& compared) {
  nlohmann::json vectors = nlohmann::json::array();
  nlohmann::json rows = nlohmann::json::array();
  const int count = compared.vectors_size();
  for (int row = 0; row < count; ++row) {
    vectors.push_back({{"direction", compared.vectors(row).direction()},
                       {"place", PlaceName(compared.vectors(row).place())}});
    nlohmann::json cosines = nlohmann::json::array();
    for (int column = 0; column < count; ++column) {
      cosines.push_back(FiniteOrNull(compared.cosines(row * count + column)));
    }
    rows.push_back(std::move(cosines));
  }
  return {{"vectors", std::move(vectors)}, {"cosines", std::move(rows)}};
}

absl::Status Compare(const Session& session,
                     const std::vector<std::string>& names) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  v1::CompareDirectionsRequest request;
  for (const std::string& name : names) {
    request.add_names(DirectionName(name));
  }
  ASSIGN_OR_RETURN(
      const v1::CompareDirectionsResponse compared,
      connection->Call(&v1::Directions::Stub::CompareDirections, request));
  EmitOne(session.output, CosineJson(compared), CosineTable(compared));
  return absl::OkStatus();
}

CommandRun DefineCompare(CLI::App& app) {
  auto names = std::make_shared<std::vector<std::string>>();
  app.add_option("NAME", *names,
                 "Two directions or more, or one with several places")
      ->required();
  app.footer("In JSON, null between vectors of different widths.");
  return [names](const Session& session) { return Compare(session, *names); };
}

}  // namespace

std::vector<Command> DirectionCommands() {
  return {
      {"direction", "make", "Find a direction, and give it a name",
       DefineDirectionMake},
      {"direction", "list", "List directions that have a name", DefineList},
      {"direction", "show", "Show one direction", DefineShow},
      {"direction", "delete", "Forget a direction", DefineDelete},
      {"direction", "compare", "Cosines between directions", DefineCompare}};
}

}  // namespace dissonance::cli
