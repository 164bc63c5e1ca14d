#include "client/cli/direction_make.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "client/cli/choice.h"
#include "client/cli/connection.h"
#include "client/cli/direction.h"
#include "client/cli/direction_of_job.h"
#include "client/cli/direction_view.h"
#include "client/cli/errors.h"
#include "client/cli/names.h"
#include "client/cli/parsed_option.h"
#include "client/cli/places.h"
#include "client/cli/prompt_options.h"
#include "client/cli/proto_json.h"
#include "src/base/file.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/tensors/direction_file.h"
#include "src/lab/tensors/place_name.h"
#include "src/lab/tensors/safetensors_writer.h"

namespace dissonance::cli {
namespace {

struct MakeArgs {
  // Folders of activations.
  std::string from;
  std::string minus;
  // Rows of prompts.
  std::string input;
  std::optional<LabelChoice> label;
  v1::DirectionMethod method = v1::DIRECTION_METHOD_UNSPECIFIED;
  std::string model;
  std::string adapter;
  std::string minus_adapter;
  std::optional<v1::Positions> positions;
  // Probes of a job.
  std::string probe;
  ProbeChoice choice;
  // What a job found.
  std::string job;
  // Of all.
  std::optional<Place> place;
  std::string name;
  bool shared = false;
  std::string out;
};

// Where a direction in a file of one vector was found.
absl::StatusOr<v1::SiteRef> SinglePlace(const std::optional<Place>& place) {
  v1::SiteRef out;
  if (!place.has_value()) {
    return UsageError("--place: name it, as in blocks.3.resid_post");
  }
  out.set_site(place->site);
  if (place->site == v1::SITE_PATTERN || place->site == v1::SITE_LOGITS) {
    return UsageError(absl::StrCat("--place: ", EnumWord(place->site),
                                   " can't be changed, so a direction "
                                   "there is of no use"));
  }
  if (!BelongsToBlock(place->site)) return out;
  if (place->blocks.size() != 1 || place->head.has_value()) {
    return UsageError(
        "--place: name one site in one block, as in blocks.3.resid_post");
  }
  out.set_block(place->blocks.front());
  return out;
}

// What the rows of a folder are of.
nlohmann::json OriginOf(const MeanRow& row) {
  return {{"provenance", row.manifest.value("provenance", nlohmann::json())},
          {"row_count", row.row_count},
          {"variant", row.manifest.value("variant", nlohmann::json())}};
}

// What the file says of the direction beside its numbers.
std::map<std::string, std::string> MetadataOf(const v1::SiteRef& place,
                                              const MeanRow& from,
                                              const MeanRow& minus,
                                              const Direction& direction) {
  return {
      {"source", "difference of means"},
      {"site", EnumWord(place.site())},
      {"block", place.has_block() ? absl::StrCat(place.block()) : ""},
      {"residual_norm", absl::StrFormat("%.17g", direction.residual_norm)},
      {"difference_norm", absl::StrFormat("%.17g", direction.difference_norm)},
      {"from", OriginOf(from).dump()},
      {"minus", OriginOf(minus).dump()}};
}

std::string BytesOf(const Direction& direction) {
  return {reinterpret_cast<const char*>(direction.unit.data()),
          direction.unit.size() * sizeof(float)};
}

absl::Status WriteDirection(
    const std::string& path, const Direction& direction,
    const std::map<std::string, std::string>& metadata) {
  const std::string header = SafetensorsHeader(
      {{"direction", v1::DTYPE_FLOAT32, direction.shape}}, metadata);
  return WriteFileAtomically(path, header + BytesOf(direction));
}

absl::StatusOr<v1::Direction> Store(Connection& connection,
                                    v1::CreateDirectionRequest request,
                                    const MakeArgs& args) {
  request.set_name(DirectionName(args.name));
  request.set_shared(args.shared);
  ASSIGN_OR_RETURN(
      const v1::CreateDirectionResponse response,
      connection.Call(&v1::Directions::Stub::CreateDirection, request));
  return response.direction();
}

// The model that the folder's rows are of.
absl::StatusOr<std::string> ModelOf(const MeanRow& row, const MakeArgs& args) {
  if (!args.model.empty()) return ModelName(args.model);
  const nlohmann::json::json_pointer at("/variant/model");
  if (row.manifest.contains(at) && row.manifest[at].is_string()) {
    return row.manifest[at].get<std::string>();
  }
  return UsageError("--model: the folder does not say it; name the model");
}

absl::Status StoreFolders(const Session& session, const MakeArgs& args,
                          const v1::SiteRef& place, const MeanRow& from,
                          const MeanRow& minus, const Direction& direction) {
  v1::CreateDirectionRequest request;
  v1::GivenVectors& given = *request.mutable_given();
  ASSIGN_OR_RETURN(*given.mutable_model(), ModelOf(from, args));
  given.set_method(v1::DIRECTION_METHOD_MEAN_DIFFERENCE);
  given.set_source_json(nlohmann::json{
      {"from", OriginOf(from)},
      {"minus",
       OriginOf(minus)}}.dump());
  v1::DirectionVector& vector = *given.add_vectors();
  *vector.mutable_place() = place;
  vector.set_norm(direction.difference_norm);
  vector.set_residual_norm(direction.residual_norm);
  vector.mutable_vector()->set_dtype(v1::DTYPE_FLOAT32);
  vector.mutable_vector()->mutable_shape()->Add(direction.shape.begin(),
                                                direction.shape.end());
  vector.mutable_vector()->set_data(BytesOf(direction));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  return Store(*connection, request, args).status();
}

// Of two folders, without a server but for the name.
absl::Status FromFolders(const Session& session, const MakeArgs& args) {
  ASSIGN_OR_RETURN(const v1::SiteRef place, SinglePlace(args.place));
  const std::string name = PlaceName(place);
  ASSIGN_OR_RETURN(const MeanRow from, ReadMeanRow(args.from, name));
  ASSIGN_OR_RETURN(const MeanRow minus, ReadMeanRow(args.minus, name));
  ASSIGN_OR_RETURN(const Direction direction, DifferenceOfMeans(from, minus));
  if (!args.name.empty()) {
    RETURN_IF_ERROR(StoreFolders(session, args, place, from, minus, direction));
  }
  if (!args.out.empty()) {
    RETURN_IF_ERROR(WriteDirection(args.out, direction,
                                   MetadataOf(place, from, minus, direction)));
  }
  const std::string steer = absl::StrCat(
      args.name.empty() ? args.out : args.name, "@", EnumWord(place.site()),
      place.has_block() ? absl::StrCat(".", place.block()) : "", "=COEF");
  const nlohmann::json record = {
      {"name", args.name.empty() ? nlohmann::json()
                                 : nlohmann::json(DirectionName(args.name))},
      {"out", args.out.empty() ? nlohmann::json() : nlohmann::json(args.out)},
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

// Writes and shows a direction that the server found or has stored.
absl::Status Finish(const Session& session, const MakeArgs& args,
                    const v1::Direction& direction) {
  if (!args.out.empty()) {
    RETURN_IF_ERROR(WriteFileAtomically(args.out, DirectionFile(direction)));
  }
  EmitOne(session.output, ToJson(direction), DirectionTable(direction));
  return absl::OkStatus();
}

absl::Status FromProbes(const Session& session, const MakeArgs& args) {
  if (args.name.empty()) {
    return UsageError("--probe: the server makes it; give it a --name");
  }
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(
      const v1::Direction direction,
      Store(*connection, DirectionOfProbes(args.probe, args.choice, args.place),
            args));
  return Finish(session, args, direction);
}

absl::Status FromJob(const Session& session, const MakeArgs& args) {
  if (args.name.empty()) {
    return UsageError("--job: give the direction a --name");
  }
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(
      const v1::CreateDirectionRequest request,
      DirectionOfJob(*connection, args.job, args.choice, args.place));
  ASSIGN_OR_RETURN(const v1::Direction direction,
                   Store(*connection, request, args));
  return Finish(session, args, direction);
}

// The class of each row; none where the method needs none.
absl::StatusOr<v1::ProbeLabels> ClassesOf(const std::vector<InputRow>& rows,
                                          const MakeArgs& args) {
  v1::ProbeLabels labels;
  if (!args.label.has_value()) {
    if (args.method == v1::DIRECTION_METHOD_VARIANT_DIFFERENCE) return labels;
    return UsageError("--label: say which rows are class 1: FIELD=ONE,ZERO");
  }
  int counts[2] = {0, 0};
  for (const InputRow& row : rows) {
    const auto found = row.input.labels().find(args.label->field);
    int32_t label = -1;
    if (found != row.input.labels().end()) {
      if (found->second == args.label->one) {
        label = 1;
      } else if (args.label->zero.empty() ||
                 found->second == args.label->zero) {
        label = 0;
      }
    }
    labels.add_classes(label);
    if (label >= 0) ++counts[label];
  }
  if (counts[1] > 0) return labels;
  return UsageError(absl::StrCat("--label: no row of ", args.input, " has ",
                                 args.label->field, " ", args.label->one,
                                 " among its labels"));
}

absl::StatusOr<v1::FitDirectionsRequest> FitRequest(
    const std::vector<InputRow>& rows, const MakeArgs& args) {
  v1::FitDirectionsRequest request;
  v1::Variant& first = *request.add_variants();
  first.set_model(ModelName(args.model));
  if (!args.adapter.empty()) {
    first.set_adapter(AdapterName(args.model, args.adapter));
  }
  if (args.method == v1::DIRECTION_METHOD_VARIANT_DIFFERENCE) {
    v1::Variant& second = *request.add_variants();
    second.set_model(ModelName(args.model));
    if (!args.minus_adapter.empty()) {
      second.set_adapter(AdapterName(args.model, args.minus_adapter));
    }
    if (first.adapter() == second.adapter()) {
      return UsageError(
          "--method variant-difference: both networks are the same; add "
          "--adapter or --minus-adapter");
    }
  }
  for (const InputRow& row : rows) *request.add_inputs() = row.input;
  const v1::Site site =
      args.place.has_value() ? args.place->site : v1::SITE_RESID_POST;
  request.add_sites(site);
  if (args.place.has_value()) {
    request.mutable_blocks()->Add(args.place->blocks.begin(),
                                  args.place->blocks.end());
  }
  if (args.positions.has_value()) {
    *request.mutable_positions() = *args.positions;
  }
  ASSIGN_OR_RETURN(*request.mutable_labels(), ClassesOf(rows, args));
  request.set_method(args.method);
  return request;
}

// Where the vectors come from, for whoever finds them later.
absl::StatusOr<std::string> SourceOf(const MakeArgs& args,
                                     const v1::FitDirectionsRequest& request,
                                     const v1::FitDirectionsResponse& fit) {
  ASSIGN_OR_RETURN(const std::string digest, Sha256OfFile(args.input));
  nlohmann::json variants = nlohmann::json::array();
  for (const v1::Variant& variant : request.variants()) {
    variants.push_back(
        {{"model", variant.model()}, {"adapter", variant.adapter()}});
  }
  nlohmann::json provenance = nlohmann::json::array();
  for (const v1::Provenance& each : fit.provenance()) {
    provenance.push_back(ToJson(each));
  }
  nlohmann::json label;
  if (args.label.has_value()) {
    label = {{"field", args.label->field},
             {"one", args.label->one},
             {"zero", args.label->zero}};
  }
  const std::vector<int32_t> counts(fit.row_counts().begin(),
                                    fit.row_counts().end());
  return nlohmann::json{
      {"data", args.input},        {"data_digest", digest},
      {"label", std::move(label)}, {"variants", std::move(variants)},
      {"row_counts", counts},      {"provenance", std::move(provenance)}}
      .dump();
}

absl::Status FromInput(const Session& session, const MakeArgs& args) {
  if (args.model.empty()) return UsageError("--model: name the model");
  PromptOptions prompts;
  prompts.input = args.input;
  ASSIGN_OR_RETURN(const std::vector<InputRow> rows, ReadPrompts(prompts));
  ASSIGN_OR_RETURN(const v1::FitDirectionsRequest request,
                   FitRequest(rows, args));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::FitDirectionsResponse fit,
                   connection->CallAgain(&v1::Probes::Stub::FitDirections,
                                         request, absl::InfiniteDuration()));
  v1::CreateDirectionRequest create;
  v1::GivenVectors& given = *create.mutable_given();
  given.set_model(request.variants(0).model());
  given.set_method(args.method == v1::DIRECTION_METHOD_UNSPECIFIED
                       ? v1::DIRECTION_METHOD_MEAN_DIFFERENCE
                       : args.method);
  *given.mutable_vectors() = fit.vectors();
  ASSIGN_OR_RETURN(*given.mutable_source_json(), SourceOf(args, request, fit));
  if (!args.name.empty()) {
    ASSIGN_OR_RETURN(const v1::Direction direction,
                     Store(*connection, create, args));
    return Finish(session, args, direction);
  }
  v1::Direction direction;
  direction.set_name(args.out);
  direction.set_model(given.model());
  direction.set_method(given.method());
  direction.set_source_json(given.source_json());
  *direction.mutable_vectors() = given.vectors();
  RETURN_IF_ERROR(NormalizeVectors(direction));
  return Finish(session, args, direction);
}

absl::Status Make(const Session& session, const MakeArgs& args) {
  const bool has_folders = !args.from.empty() || !args.minus.empty();
  const int given = has_folders + !args.input.empty() + !args.probe.empty() +
                    !args.job.empty();
  if (given != 1 || args.from.empty() != args.minus.empty()) {
    return UsageError(
        "give --from and --minus (two folders of activations), --input (rows "
        "of prompts), or --job or --probe (a job)");
  }
  if (args.name.empty() && args.out.empty()) {
    return UsageError(
        "give --name, to keep it on the server, or --out, a file to write");
  }
  if (has_folders) return FromFolders(session, args);
  if (!args.job.empty()) return FromJob(session, args);
  return args.input.empty() ? FromProbes(session, args)
                            : FromInput(session, args);
}

void AddInputOptions(CLI::App& app, MakeArgs& args) {
  constexpr char kGroup[] = "Of prompts, by the server";
  app.add_option("--input", args.input, "JSON lines with a row per prompt")
      ->group(kGroup);
  app.add_option("--model", args.model, "Model")->group(kGroup);
  app.add_option("--adapter", args.adapter, "Adapter (default: the base model)")
      ->group(kGroup);
  AddParsed(app, "--label", "FIELD=ONE,ZERO", args.label, ParseLabelChoice,
            "A label of the rows, and its values of class 1 and class 0")
      ->group(kGroup);
  AddChoice<v1::DirectionMethod>(
      app, "--method", "METHOD", args.method,
      {{"mean-difference", v1::DIRECTION_METHOD_MEAN_DIFFERENCE},
       {"contrast-pca", v1::DIRECTION_METHOD_CONTRAST_PCA},
       {"variant-difference", v1::DIRECTION_METHOD_VARIANT_DIFFERENCE}},
      "mean-difference (default), contrast-pca of the pairs that share a "
      "group, or variant-difference: --adapter minus --minus-adapter")
      ->group(kGroup);
  app.add_option("--minus-adapter", args.minus_adapter,
                 "Of variant-difference (default: the base model)")
      ->group(kGroup);
  AddParsed(app, "--positions", "POSITIONS", args.positions, ParsePositions,
            "Positions of the prompt, averaged (default: last_prompt)")
      ->group(kGroup);
}

void AddProbeOptions(CLI::App& app, MakeArgs& args) {
  constexpr char kGroup[] = "Of probes";
  app.add_option("--probe", args.probe, "A train_probes job that succeeded")
      ->group(kGroup);
  app.add_option("--target", args.choice.target,
                 "Which of its targets (default: the only one)")
      ->group(kGroup);
  app.add_option("--variant", args.choice.variant_index,
                 "Which of its networks, by number: 0 is the first, usually "
                 "the base model (default: 0)")
      ->group(kGroup);
  app.add_option("--c", args.choice.c, "Which C (default: the only one)")
      ->group(kGroup);
}

}  // namespace

absl::StatusOr<LabelChoice> ParseLabelChoice(absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits('=', 1));
  const std::pair<absl::string_view, absl::string_view> values =
      absl::StrSplit(parts.second, absl::MaxSplits(',', 1));
  if (parts.first.empty() || values.first.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is not of the form FIELD=ONE,ZERO"));
  }
  return LabelChoice{.field = std::string(parts.first),
                     .one = std::string(values.first),
                     .zero = std::string(values.second)};
}

CommandRun DefineDirectionMake(CLI::App& app) {
  auto args = std::make_shared<MakeArgs>();
  app.add_option("--from", args->from, "Folder of 'dissonance activations'");
  app.add_option("--minus", args->minus, "The one whose mean is subtracted");
  AddInputOptions(app, *args);
  app.add_option("--job", args->job,
                 "Of a fit_directions or train_probes job that succeeded, as "
                 "that of a pipeline's stage (stages.json names it)");
  AddProbeOptions(app, *args);
  AddParsed(app, "--place", "PLACE", args->place, ParsePlace,
            "Of folders the place that both hold: blocks.3.resid_post; else "
            "also several: resid_post.0-5 (default: resid_post in all blocks, "
            "or all places of the job)");
  app.add_option("--name", args->name, "Name to keep it by on the server");
  app.add_flag("--shared", args->shared, "All users of the server see it");
  app.add_option("--out", args->out, "File to write: NAME.safetensors");
  app.footer(
      "Vectors have length 1: --steer NAME@resid_post.3=COEF adds COEF times "
      "the one of block 3, where COEF is on the scale of the lengths that are "
      "printed; --steer NAME=COEF takes all places of the direction.");
  return [args](const Session& session) { return Make(session, *args); };
}

}  // namespace dissonance::cli
