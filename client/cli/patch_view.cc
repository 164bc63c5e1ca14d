#include "client/cli/patch_view.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/output.h"
#include "client/cli/places.h"
#include "client/cli/proto_json.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance::cli {
namespace {

using Cell = Table::Cell;
// By block, -1 for a site of no block.
using Row = std::map<int, const v1::PatchResult*>;
// Of one site, by position.
using Map = std::map<int, Row>;

int BlockOf(const v1::PatchResult& result) {
  return result.place().has_block() ? result.place().block() : -1;
}

// 0: as the target was; 1: as the source is.
double Effect(const v1::PatchResult& result) {
  const double whole = result.delta_source() - result.delta_before();
  return whole == 0 ? 0
                    : (result.delta_after() - result.delta_before()) / whole;
}

std::string TokenAt(int position, const std::vector<int32_t>& tokens,
                    TokenTexts& texts) {
  const auto index = static_cast<size_t>(position);
  if (index >= tokens.size()) return "-";
  return texts.Quoted(tokens[index]);
}

Table MapTable(const Map& map, const std::vector<int32_t>& tokens,
               TokenTexts& texts, const Heat& heat) {
  std::vector<Table::Column> columns = {{"POSITION", Align::kRight}, {"TOKEN"}};
  for (const auto& [block, result] : map.begin()->second) {
    columns.push_back(
        {block < 0 ? "DELTA" : absl::StrCat("BLOCK ", block), Align::kRight});
  }
  Table table(std::move(columns));
  for (const auto& [position, row] : map) {
    std::vector<Cell> cells = {{absl::StrCat(position)},
                               {TokenAt(position, tokens, texts)}};
    for (const auto& [block, result] : row) {
      cells.push_back({absl::StrFormat("%+.2f%s", result->delta_after(),
                                       result->flip() ? "*" : " "),
                       heat.Style(Effect(*result))});
    }
    table.AddCells(std::move(cells));
  }
  return table;
}

}  // namespace

nlohmann::json PatchJson(const nlohmann::json& id,
                         const v1::PatchResult& result) {
  nlohmann::json fields = ToJson(result);
  fields["id"] = id;
  fields["site"] = fields["place"]["site"];
  fields["block"] = fields["place"]["block"];
  fields.erase("place");
  fields.erase("input_index");
  return fields;
}

std::string PatchText(const nlohmann::json& id,
                      absl::Span<const v1::PatchResult> results,
                      const std::vector<int32_t>& tokens,
                      const PatchNames& names, TokenTexts& texts,
                      const Heat& heat) {
  const v1::PatchResult& first = results.front();
  std::string out = absl::StrFormat(
      "%s, delta = logit(%s) - logit(%s): %+.2f in %s, %+.2f in %s, which is "
      "patched\n",
      TextOfId(id), names.first, names.second, first.delta_source(),
      names.source, first.delta_before(), names.target);
  std::map<v1::Site, Map> sites;
  int flips = 0;
  const v1::PatchResult* best = &first;
  for (const v1::PatchResult& result : results) {
    sites[result.place().site()][result.position()][BlockOf(result)] = &result;
    flips += result.flip() ? 1 : 0;
    if (Effect(result) > Effect(*best)) best = &result;
  }
  for (const auto& [site, map] : sites) {
    absl::StrAppend(&out, EnumWord(site), ", delta after each patch\n",
                    MapTable(map, tokens, texts, heat).Render());
  }
  absl::StrAppendFormat(
      &out,
      "%d of %d patches flip the answer (*); furthest towards %s: %s at "
      "position %d %s, %+.2f to %+.2f (%s)\n",
      flips, results.size(), names.source, PlaceName(best->place()),
      best->position(), TokenAt(best->position(), tokens, texts),
      best->delta_before(), best->delta_after(), HumanPercent(Effect(*best)));
  return out;
}

}  // namespace dissonance::cli
