// dissonance direction make.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/command.h"
#include "client/cli/direction.h"
#include "client/cli/errors.h"
#include "client/cli/parsed_option.h"
#include "client/cli/places.h"
#include "client/cli/proto_json.h"
#include "client/cli/safetensors_writer.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

struct DirectionArgs {
  std::string from;
  std::string minus;
  Place place;
  std::string out;
};

absl::StatusOr<v1::SiteRef> SinglePlace(const Place& place) {
  v1::SiteRef out;
  out.set_site(place.site);
  if (place.site == v1::SITE_PATTERN || place.site == v1::SITE_LOGITS) {
    return UsageError(absl::StrCat("--place: ", EnumWord(place.site),
                                   " can't be changed, so a direction "
                                   "there is of no use"));
  }
  if (!BelongsToBlock(place.site)) return out;
  if (place.blocks.size() != 1 || place.head.has_value()) {
    return UsageError(
        "--place: name one site in one block, as in blocks.3.resid_post");
  }
  out.set_block(place.blocks.front());
  return out;
}

// What the file says of the direction beside its numbers.
std::map<std::string, std::string> MetadataOf(const v1::SiteRef& place,
                                              const MeanRow& from,
                                              const MeanRow& minus,
                                              const Direction& direction) {
  const auto origin = [](const MeanRow& row) {
    const nlohmann::json provenance =
        row.manifest.value("provenance", nlohmann::json());
    return nlohmann::json{
        {"provenance", provenance},
        {"row_count", row.row_count},
        {"variant", row.manifest.value("variant", nlohmann::json())}}
        .dump();
  };
  return {
      {"source", "difference of means"},
      {"site", EnumWord(place.site())},
      {"block", place.has_block() ? absl::StrCat(place.block()) : ""},
      {"residual_norm", absl::StrFormat("%.17g", direction.residual_norm)},
      {"difference_norm", absl::StrFormat("%.17g", direction.difference_norm)},
      {"from", origin(from)},
      {"minus", origin(minus)}};
}

absl::Status WriteDirection(
    const std::string& path, const Direction& direction,
    const std::map<std::string, std::string>& metadata) {
  std::string bytes = SafetensorsHeader(
      {{"direction", v1::DTYPE_FLOAT32, direction.shape}}, metadata);
  bytes.append(reinterpret_cast<const char*>(direction.unit.data()),
               direction.unit.size() * sizeof(float));
  return WriteFileAtomically(path, bytes);
}

absl::Status MakeDirection(const Session& session, const DirectionArgs& args) {
  ASSIGN_OR_RETURN(const v1::SiteRef place, SinglePlace(args.place));
  const std::string name = PlaceName(place);
  ASSIGN_OR_RETURN(const MeanRow from, ReadMeanRow(args.from, name));
  ASSIGN_OR_RETURN(const MeanRow minus, ReadMeanRow(args.minus, name));
  ASSIGN_OR_RETURN(const Direction direction, DifferenceOfMeans(from, minus));
  RETURN_IF_ERROR(WriteDirection(args.out, direction,
                                 MetadataOf(place, from, minus, direction)));
  const std::string steer = absl::StrCat(
      args.out, "@", EnumWord(place.site()),
      place.has_block() ? absl::StrCat(".", place.block()) : "", "=COEF");
  const nlohmann::json record = {{"out", args.out},
                                 {"place", name},
                                 {"from_row_count", from.row_count},
                                 {"minus_row_count", minus.row_count},
                                 {"difference_norm", direction.difference_norm},
                                 {"residual_norm", direction.residual_norm},
                                 {"steer", steer}};
  Table table({{""}, {""}});
  table.AddRow({"place", name});
  table.AddRow(
      {"rows", absl::StrCat(from.row_count, " minus ", minus.row_count)});
  table.AddRow({"length of the difference",
                absl::StrFormat("%.4f", direction.difference_norm)});
  table.AddRow({"mean length of a row",
                absl::StrFormat("%.4f", direction.residual_norm)});
  table.AddRow({"steer with", absl::StrCat("--steer ", steer)});
  EmitOne(session.output, record, table);
  return absl::OkStatus();
}

CommandRun DefineMake(CLI::App& app) {
  auto args = std::make_shared<DirectionArgs>();
  app.add_option("--from", args->from, "Folder of 'dissonance activations'")
      ->required();
  app.add_option("--minus", args->minus, "The one whose mean is subtracted")
      ->required();
  AddParsed(app, "--place", "PLACE", args->place, ParsePlace,
            "Place that both folders hold: blocks.3.resid_post")
      ->required();
  app.add_option("--out", args->out, "File to write: NAME.safetensors")
      ->required();
  app.footer(
      "The difference of both means, of length 1: --steer adds COEF times it, "
      "where COEF is on the scale of the lengths that are printed.");
  return
      [args](const Session& session) { return MakeDirection(session, *args); };
}

}  // namespace

std::vector<Command> DirectionCommands() {
  return {
      {"direction", "make", "Difference of means of two captures", DefineMake}};
}

}  // namespace dissonance::cli
