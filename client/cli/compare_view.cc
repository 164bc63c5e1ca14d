#include "client/cli/compare_view.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/compared_variants.h"
#include "client/cli/output.h"
#include "client/cli/proto_json.h"

namespace dissonance::cli {
namespace {

using Cell = Table::Cell;
using Positions = absl::Span<const v1::ComparedPosition>;

// Mean over the positions that have a number, and the largest.
class Figures {
 public:
  void Add(double value, int position) {
    sum_ += value;
    if (count_++ == 0 || value > largest_) {
      largest_ = value;
      largest_at_ = position;
    }
  }
  double mean() const { return count_ == 0 ? 0 : sum_ / count_; }
  double largest() const { return largest_; }
  int largest_at() const { return largest_at_; }

 private:
  double sum_ = 0;
  int count_ = 0;
  double largest_ = 0;
  int largest_at_ = 0;
};

double LargestKl(Positions positions) {
  double largest = 0;
  for (const v1::ComparedPosition& position : positions) {
    for (const v1::VariantReading& reading : position.readings()) {
      largest = std::max(largest, reading.kl());
    }
  }
  return largest;
}

// `value` coloured by its share of `largest`.
Cell Shaded(double value, double largest, const Heat& heat) {
  return {absl::StrFormat("%.4f", value),
          heat.Style(largest > 0 ? value / largest : 0)};
}

Table PositionTable(Positions positions,
                    const std::vector<std::string>& variants, TokenTexts& texts,
                    const Heat& heat) {
  std::vector<Table::Column> columns = {{"", Align::kRight}, {""}};
  std::vector<std::string> titles = {"POSITION", "TOKEN"};
  for (size_t v = 0; v < variants.size(); ++v) {
    columns.push_back({TableLabel(variants[v]), Align::kRight});
    columns.push_back({""});
    titles.insert(titles.end(), {"NEXT LOGPROB", "TOP"});
    if (v == 0) continue;
    columns.push_back({"", Align::kRight});
    titles.emplace_back("KL");
  }
  Table table(std::move(columns));
  table.AddRow(std::move(titles));
  const double largest = LargestKl(positions);
  for (const v1::ComparedPosition& position : positions) {
    std::vector<Cell> row = {{absl::StrCat(position.row().position())},
                             {texts.Quoted(position.row().token_id())}};
    for (const v1::VariantReading& reading : position.readings()) {
      row.push_back({reading.has_next_token_logprob()
                         ? absl::StrFormat("%.4f", reading.next_token_logprob())
                         : "-"});
      row.push_back({reading.top().empty()
                         ? "-"
                         : texts.Quoted(reading.top(0).token_id())});
      if (reading.variant_index() > 0) {
        row.push_back(Shaded(reading.kl(), largest, heat));
      }
    }
    table.AddCells(std::move(row));
  }
  return table;
}

// Of the variant, by block.
Table BlockTable(Positions positions, int variant, const Heat& heat) {
  Table table({{"BLOCK", Align::kRight},
               {"RELATIVE DISTANCE", Align::kRight},
               {"COSINE", Align::kRight},
               {"LENS KL", Align::kRight},
               {"LARGEST", Align::kRight},
               {"AT POSITION", Align::kRight}});
  const int blocks = positions.front().readings(variant).residual_size();
  std::vector<Figures> distance(blocks);
  std::vector<Figures> cosine(blocks);
  std::vector<Figures> kl(blocks);
  double largest = 0;
  for (const v1::ComparedPosition& position : positions) {
    const int at = position.row().position();
    for (int b = 0; b < blocks; ++b) {
      const v1::ResidualDifference& block =
          position.readings(variant).residual(b);
      if (block.has_relative_distance()) {
        distance[b].Add(block.relative_distance(), at);
      }
      if (block.has_cosine()) cosine[b].Add(block.cosine(), at);
      kl[b].Add(block.lens_kl(), at);
      largest = std::max(largest, block.lens_kl());
    }
  }
  for (int b = 0; b < blocks; ++b) {
    table.AddCells(
        {{absl::StrCat(
             positions.front().readings(variant).residual(b).block())},
         {absl::StrFormat("%.4f", distance[b].mean()),
          heat.Style(distance[b].mean())},
         {absl::StrFormat("%.4f", cosine[b].mean())},
         Shaded(kl[b].mean(), largest, heat),
         Shaded(kl[b].largest(), largest, heat),
         {absl::StrCat(kl[b].largest_at())}});
  }
  return table;
}

}  // namespace

nlohmann::json ComparedJson(const nlohmann::json& id,
                            const v1::ComparedPosition& position,
                            const std::vector<std::string>& variants,
                            TokenTexts& texts) {
  nlohmann::json readings = nlohmann::json::array();
  for (const v1::VariantReading& reading : position.readings()) {
    nlohmann::json fields = ToJson(reading);
    fields.erase("variant_index");
    fields["variant"] = variants[reading.variant_index()];
    fields["top"] = texts.TopJson(reading.top());
    readings.push_back(std::move(fields));
  }
  return {{"id", id},
          {"position", position.row().position()},
          {"token_id", position.row().token_id()},
          {"token", texts.Of(position.row().token_id())},
          {"readings", std::move(readings)}};
}

std::string ComparedText(const nlohmann::json& id, Positions positions,
                         const std::vector<std::string>& variants,
                         TokenTexts& texts, const Heat& heat) {
  std::string out =
      absl::StrCat(TextOfId(id), "\n",
                   PositionTable(positions, variants, texts, heat).Render());
  for (size_t v = 1; v < variants.size(); ++v) {
    absl::StrAppend(&out, "\n", TextOfId(id), ", resid_post of ",
                    TableLabel(variants[v]), " against ",
                    TableLabel(variants[0]), ", mean over ", positions.size(),
                    " positions\n",
                    BlockTable(positions, static_cast<int>(v), heat).Render());
  }
  return out;
}

}  // namespace dissonance::cli
