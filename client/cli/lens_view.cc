#include "client/cli/lens_view.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/compared_variants.h"
#include "client/cli/output.h"
#include "client/cli/places.h"
#include "client/cli/proto_json.h"

namespace dissonance::cli {
namespace {

using Cell = Table::Cell;

// "3.resid_post"; what the layers end with is the model's own answer.
std::string LayerName(const v1::LensLayer& layer) {
  return layer.place().has_block()
             ? absl::StrCat(layer.place().block(), ".",
                            EnumWord(layer.place().site()))
             : "output";
}

double LargestMargin(absl::Span<const LensResult> results) {
  double largest = 0;
  for (const LensResult& result : results) {
    for (const v1::LensLayer& layer : result.reading.layers()) {
      largest = std::max(largest, std::abs(layer.margin()));
    }
  }
  return largest;
}

Cell MarginCell(const v1::LensLayer& layer, double largest, const Heat& heat) {
  return {absl::StrFormat("%+.2f", layer.margin()),
          heat.Style(largest > 0 ? layer.margin() / largest : 0)};
}

Cell ProbCell(double prob, const Heat& heat) {
  return {absl::StrFormat("%.3f", prob), heat.Style(prob)};
}

Cell TopCell(const v1::LensLayer& layer, TokenTexts& texts, const Heat& heat) {
  if (layer.top().empty()) return {"-"};
  return {texts.Quoted(layer.top(0).token_id()),
          heat.Style(std::exp(layer.top(0).logprob()))};
}

// What the margin says of where the answer is made.
std::string BreakingLine(const LensResult& result) {
  const v1::LensPosition& reading = result.reading;
  if (!reading.has_breaking_block()) return "";
  const v1::LensLayer& output = *reading.layers().rbegin();
  const std::string& winner =
      output.candidates(output.margin() > 0 ? 0 : 1).name();
  const std::string where =
      absl::StrCat("position ", reading.row().position(), ", ",
                   TableLabel(result.variant), ": ", winner);
  // The server counts the output as the block behind the last.
  const bool is_late =
      absl::c_none_of(reading.layers(), [&](const v1::LensLayer& layer) {
        return layer.place().has_block() &&
               layer.place().block() == reading.breaking_block();
      });
  if (is_late) {
    return absl::StrCat(where, " wins at the output alone\n");
  }
  return absl::StrCat(where, " leads from block ", reading.breaking_block(),
                      " on (breaking block)\n");
}

// Variants side by side.
Table TableOfPosition(absl::Span<const LensResult> results, TokenTexts& texts,
                      const Heat& heat) {
  std::vector<Table::Column> columns = {{""}};
  std::vector<std::string> titles = {"LAYER"};
  const auto add_column = [&](const std::string& title, Align align) {
    columns.push_back({"", align});
    titles.push_back(title);
  };
  for (const LensResult& result : results) {
    const size_t first_column = columns.size();
    const v1::LensLayer& first = result.reading.layers(0);
    for (const v1::CandidateReading& candidate : first.candidates()) {
      add_column(candidate.name(), Align::kRight);
    }
    if (first.has_margin()) add_column("MARGIN", Align::kRight);
    add_column("TOP", Align::kLeft);
    columns[first_column].title = TableLabel(result.variant);
  }
  Table table(std::move(columns));
  table.AddRow(std::move(titles));
  const double largest = LargestMargin(results);
  for (int l = 0; l < results.front().reading.layers_size(); ++l) {
    std::vector<Cell> row = {{LayerName(results.front().reading.layers(l))}};
    for (const LensResult& result : results) {
      const v1::LensLayer& layer = result.reading.layers(l);
      for (const v1::CandidateReading& candidate : layer.candidates()) {
        row.push_back(ProbCell(candidate.prob(), heat));
      }
      if (layer.has_margin()) row.push_back(MarginCell(layer, largest, heat));
      row.push_back(TopCell(layer, texts, heat));
    }
    table.AddCells(std::move(row));
  }
  return table;
}

// One variant's positions side by side.
Table TableOfVariant(absl::Span<const LensResult> results,
                     double largest_margin, TokenTexts& texts,
                     const Heat& heat) {
  std::vector<Table::Column> columns = {{"LAYER"}};
  for (const LensResult& result : results) {
    const v1::RowLabel& row = result.reading.row();
    columns.push_back(
        {absl::StrCat(row.position(), " ", texts.Quoted(row.token_id())),
         Align::kRight});
  }
  Table table(std::move(columns));
  for (int l = 0; l < results.front().reading.layers_size(); ++l) {
    std::vector<Cell> row = {{LayerName(results.front().reading.layers(l))}};
    for (const LensResult& result : results) {
      const v1::LensLayer& layer = result.reading.layers(l);
      if (layer.has_margin()) {
        row.push_back(MarginCell(layer, largest_margin, heat));
      } else if (!layer.candidates().empty()) {
        row.push_back(ProbCell(layer.candidates(0).prob(), heat));
      } else {
        row.push_back(TopCell(layer, texts, heat));
      }
    }
    table.AddCells(std::move(row));
  }
  return table;
}

// The results in front with the same variant as the first.
absl::Span<const LensResult> FirstVariant(
    absl::Span<const LensResult> results) {
  size_t count = 1;
  while (count < results.size() &&
         results[count].variant == results[0].variant) {
    ++count;
  }
  return results.subspan(0, count);
}

}  // namespace

nlohmann::json LensJson(const LensResult& result, TokenTexts& texts) {
  const v1::LensPosition& reading = result.reading;
  nlohmann::json fields = ToJson(reading);
  nlohmann::json layers = nlohmann::json::array();
  for (int l = 0; l < reading.layers_size(); ++l) {
    nlohmann::json& layer = fields["layers"][l];
    nlohmann::json candidates = nlohmann::json::object();
    for (nlohmann::json& each : layer["candidates"]) {
      const std::string name = each["name"];
      each.erase("name");
      candidates[name] = std::move(each);
    }
    layers.push_back({{"block", layer["place"]["block"]},
                      {"site", layer["place"]["site"]},
                      {"candidates", std::move(candidates)},
                      {"margin", layer["margin"]},
                      {"top", texts.TopJson(reading.layers(l).top())}});
  }
  return {{"id", result.id},
          {"variant", result.variant},
          {"position", reading.row().position()},
          {"token_id", reading.row().token_id()},
          {"token", texts.Of(reading.row().token_id())},
          {"breaking_block", fields["breaking_block"]},
          {"layers", std::move(layers)}};
}

std::string LensText(absl::Span<const LensResult> results, TokenTexts& texts,
                     const Heat& heat) {
  std::string out;
  const v1::RowLabel& row = results.front().reading.row();
  if (FirstVariant(results).size() == 1) {
    out = absl::StrCat(TextOfId(results.front().id), ", position ",
                       row.position(), " ", texts.Quoted(row.token_id()), "\n",
                       TableOfPosition(results, texts, heat).Render());
  } else {
    const double largest = LargestMargin(results);
    for (absl::Span<const LensResult> left = results; !left.empty();) {
      const absl::Span<const LensResult> own = FirstVariant(left);
      left.remove_prefix(own.size());
      absl::StrAppend(&out, TextOfId(own.front().id), ", ",
                      TableLabel(own.front().variant), "\n",
                      TableOfVariant(own, largest, texts, heat).Render());
    }
  }
  for (const LensResult& result : results) {
    absl::StrAppend(&out, BreakingLine(result));
  }
  return out;
}

}  // namespace dissonance::cli
