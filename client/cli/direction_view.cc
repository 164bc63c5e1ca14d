#include "client/cli/direction_view.h"

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/names.h"
#include "client/cli/proto_json.h"
#include "nlohmann/json.hpp"
#include "src/lab/tensors/direction_file.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance::cli {
namespace {

std::string SharedWord(const v1::Direction& direction) {
  return direction.shared() ? "yes" : "no";
}

// What it was found in, for people: JSON has digests and versions too.
std::string SourceText(const std::string& source_json) {
  nlohmann::json source =
      nlohmann::json::parse(source_json, nullptr, /*allow_exceptions=*/false);
  if (!source.is_object()) return source_json;
  source.erase("data_digest");
  source.erase("provenance");
  for (nlohmann::json& side : source) {
    if (side.is_object()) side.erase("provenance");
  }
  return source.dump();
}

// "truth", or "truth blocks.3.resid_post" where that is needed.
std::string Title(const v1::ComparedVector& vector, bool with_place) {
  const std::string name = ShortName(vector.direction());
  return with_place ? absl::StrCat(name, " ", PlaceName(vector.place())) : name;
}

}  // namespace

Table DirectionsTable(absl::Span<const v1::Direction> directions) {
  Table table({{"NAME"},
               {"MODEL"},
               {"METHOD"},
               {"PLACES"},
               {"WIDTH", Align::kRight},
               {"OWNER"},
               {"SHARED"},
               {"MADE"}});
  for (const v1::Direction& direction : directions) {
    table.AddRow({ShortName(direction.name()), ShortName(direction.model()),
                  EnumWord(direction.method()),
                  direction.places_size() == 1
                      ? PlaceName(direction.places(0))
                      : absl::StrCat(direction.places_size(), " places"),
                  absl::StrCat(direction.width()),
                  OwnerOrDash(direction.owner()), SharedWord(direction),
                  HumanTime(direction.create_time())});
  }
  return table;
}

Table DirectionTable(const v1::Direction& direction) {
  Table table({{""}, {""}});
  table.AddRow({"name", direction.name()});
  table.AddRow({"model", direction.model()});
  table.AddRow({"method", EnumWord(direction.method())});
  table.AddRow({"numbers", absl::StrCat(direction.width())});
  table.AddRow({"owner", OwnerOrDash(direction.owner())});
  table.AddRow({"shared", SharedWord(direction)});
  table.AddRow({"made", HumanTime(direction.create_time())});
  table.AddRow({"file", direction.artifact()});
  if (!direction.source_json().empty()) {
    table.AddRow({"source", SourceText(direction.source_json())});
  }
  for (const v1::DirectionVector& vector : direction.vectors()) {
    table.AddRow(
        {PlaceName(vector.place()),
         absl::StrFormat("length was %.4g; rows there have %.4g on average",
                         vector.norm(), vector.residual_norm())});
  }
  return table;
}

Table CosineTable(const v1::CompareDirectionsResponse& compared) {
  const int count = compared.vectors_size();
  bool with_place = false;
  for (int i = 1; i < count; ++i) {
    with_place = with_place || compared.vectors(i).direction() ==
                                   compared.vectors(i - 1).direction();
  }
  // Names with places are too long for columns, which are numbered then.
  std::vector<std::string> titles;
  std::vector<Table::Column> columns = {{"COSINE"}};
  for (int i = 0; i < count; ++i) {
    const std::string title = Title(compared.vectors(i), with_place);
    const std::string number = absl::StrCat(i + 1);
    titles.push_back(with_place ? absl::StrCat(number, " ", title) : title);
    columns.push_back({with_place ? number : title, Align::kRight});
  }
  Table table(std::move(columns));
  for (int row = 0; row < count; ++row) {
    std::vector<std::string> cells = {titles[static_cast<size_t>(row)]};
    for (int column = 0; column < count; ++column) {
      const double cosine = compared.cosines(row * count + column);
      cells.push_back(std::isnan(cosine) ? "-"
                                         : absl::StrFormat("%+.4f", cosine));
    }
    table.AddRow(std::move(cells));
  }
  return table;
}

}  // namespace dissonance::cli
