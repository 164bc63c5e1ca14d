#include "src/lab/interp/lens_files.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <numeric>
#include <utility>

#include "src/lab/files/json_document.h"
#include "src/lab/files/row_files.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

// Student's t at 97.5 % for 1 to 10 degrees of freedom.
constexpr double kStudent[] = {
    12.706204736, 4.302652730, 3.182446305, 2.776445105, 2.570581836,
    2.446911851,  2.364624252, 2.306004135, 2.262157163, 2.228138852};
constexpr double kNormal = 1.959963985;

// Beyond the table by its expansion in 1 / degrees of freedom (Cornish and
// Fisher; Abramowitz and Stegun 26.7.5), good to 1e-5 there.
double Student(int64_t degrees) {
  if (degrees <= std::ssize(kStudent)) return kStudent[degrees - 1];
  const double z = kNormal;
  const double z2 = z * z;
  const auto n = static_cast<double>(degrees);
  return z + z * (z2 + 1) / (4 * n) +
         z * (5 * z2 * z2 + 16 * z2 + 3) / (96 * n * n) +
         z * (3 * z2 * z2 * z2 + 19 * z2 * z2 + 17 * z2 - 15) /
             (384 * n * n * n);
}

double Mean(absl::Span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) /
         static_cast<double>(values.size());
}

Json CandidatesJson(const v1::LensLayer& layer) {
  Json out = Json::object();
  for (const v1::CandidateReading& each : layer.candidates()) {
    out[each.name()] = {{"token_id", each.token_id()},
                        {"logit", each.logit()},
                        {"logprob", each.logprob()},
                        {"prob", each.prob()},
                        {"rank", each.rank()}};
  }
  return out;
}

Json LayerJson(const v1::LensLayer& layer) {
  Json top = Json::array();
  for (const v1::TokenLogprob& token : layer.top()) {
    top.push_back(
        {{"token_id", token.token_id()}, {"logprob", token.logprob()}});
  }
  const bool in_block = IsInBlocks(layer.place().site());
  return {{"block", in_block ? Json(layer.place().block()) : Json()},
          {"site", SiteName(layer.place().site())},
          {"candidates", CandidatesJson(layer)},
          {"margin", layer.has_margin() ? Json(layer.margin()) : Json()},
          {"top", std::move(top)}};
}

std::string LinesOf(const LensOutcome& outcome) {
  std::vector<Json> lines;
  for (size_t i = 0; i < outcome.prompts.size(); ++i) {
    Json labels = Json::object();
    for (const auto& [key, value] : outcome.set.inputs[i].labels()) {
      labels[key] = value;
    }
    for (const v1::LensPosition& position : outcome.prompts[i].positions()) {
      Json layers = Json::array();
      for (const v1::LensLayer& layer : position.layers()) {
        layers.push_back(LayerJson(layer));
      }
      lines.push_back(
          {{"id", outcome.prompts[i].id()},
           {"labels", labels},
           {"variant",
            outcome.variants[static_cast<size_t>(position.variant_index())]},
           {"position", position.row().position()},
           {"token_id", position.row().token_id()},
           {"breaking_block", position.has_breaking_block()
                                  ? Json(position.breaking_block())
                                  : Json()},
           {"layers", std::move(layers)}});
    }
  }
  return LinesFile(lines);
}

// Last positions of one variant that have two candidates.
std::vector<const v1::LensPosition*> LastPositions(const LensOutcome& outcome,
                                                   int variant) {
  std::vector<const v1::LensPosition*> last;
  for (const internal::v1::LensRecord& prompt : outcome.prompts) {
    const v1::LensPosition* own = nullptr;
    for (const v1::LensPosition& position : prompt.positions()) {
      if (position.variant_index() == variant) own = &position;
    }
    if (own != nullptr && own->has_breaking_block()) last.push_back(own);
  }
  return last;
}

// One layer of a variant, over the prompts.
Json TrajectoryRow(const std::string& variant, int layer,
                   const std::vector<const v1::LensPosition*>& positions) {
  std::vector<double> margins;
  std::vector<double> first;
  std::vector<double> second;
  int64_t favours_first = 0;
  for (const v1::LensPosition* position : positions) {
    const v1::LensLayer& own = position->layers(layer);
    margins.push_back(own.margin());
    first.push_back(own.candidates(0).logprob());
    second.push_back(own.candidates(1).logprob());
    favours_first += own.margin() > 0 ? 1 : 0;
  }
  const v1::SiteRef& place = positions[0]->layers(layer).place();
  const std::optional<double> half = MeanInterval(margins);
  const double mean = Mean(margins);
  return {{"variant", variant},
          {"layer", layer},
          {"site", SiteName(place.site())},
          {"block", IsInBlocks(place.site()) ? Json(place.block()) : Json()},
          {"n", positions.size()},
          {"margin_mean", mean},
          {"margin_low", half ? Json(mean - *half) : Json()},
          {"margin_high", half ? Json(mean + *half) : Json()},
          {"share_first", static_cast<double>(favours_first) /
                              static_cast<double>(positions.size())},
          {"first_logprob_mean", Mean(first)},
          {"second_logprob_mean", Mean(second)}};
}

// Blocks, from 0; the last entry is the output.
std::vector<Json> BreakingRows(
    const std::string& variant, int32_t block_count,
    const std::vector<const v1::LensPosition*>& positions) {
  std::vector<int64_t> counts(static_cast<size_t>(block_count) + 1, 0);
  for (const v1::LensPosition* position : positions) {
    ++counts[static_cast<size_t>(
        std::clamp(position->breaking_block(), 0, block_count))];
  }
  std::vector<Json> rows;
  for (size_t block = 0; block < counts.size(); ++block) {
    const bool output = block + 1 == counts.size();
    rows.push_back({{"variant", variant},
                    {"block", block},
                    {"where", output ? "output" : std::to_string(block)},
                    {"prompts", counts[block]},
                    {"share", static_cast<double>(counts[block]) /
                                  static_cast<double>(positions.size())}});
  }
  return rows;
}

// The median and mean of the prompts' own blocks, and that of the mean.
Json BreakingJson(const std::vector<const v1::LensPosition*>& positions,
                  const std::vector<Json>& trajectory, int32_t block_count,
                  const std::vector<Json>& distribution) {
  std::vector<double> own;
  for (const v1::LensPosition* position : positions) {
    own.push_back(position->breaking_block());
  }
  std::sort(own.begin(), own.end());
  std::vector<double> margins;
  std::vector<v1::SiteRef> places;
  for (size_t i = 0; i < trajectory.size(); ++i) {
    margins.push_back(trajectory[i]["margin_mean"].get<double>());
    places.push_back(positions[0]->layers(static_cast<int>(i)).place());
  }
  Json shares = Json::array();
  for (const Json& row : distribution) {
    shares.push_back({{"where", row["where"]}, {"prompts", row["prompts"]}});
  }
  return {{"of_the_mean", BreakingBlock(margins, places, block_count)},
          {"mean", Mean(own)},
          {"median", (own[(own.size() - 1) / 2] + own[own.size() / 2]) / 2},
          {"output_is", block_count},
          {"prompts", std::move(shares)}};
}

}  // namespace

std::optional<double> MeanInterval(absl::Span<const double> values) {
  const std::ptrdiff_t n = std::ssize(values);
  if (n < 2) return std::nullopt;
  const double mean = Mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double deviation = std::sqrt(squares / static_cast<double>(n - 1));
  return Student(n - 1) * deviation / std::sqrt(static_cast<double>(n));
}

int32_t BreakingBlock(absl::Span<const double> margins,
                      absl::Span<const v1::SiteRef> places,
                      int32_t block_count) {
  const bool sign = margins.back() > 0;
  int32_t block = block_count;
  for (size_t i = margins.size() - 1; i-- > 0;) {
    // Another site is no earlier layer of this one.
    if (places[i].site() != places[places.size() - 2].site()) continue;
    if ((margins[i] > 0) != sign) break;
    block = places[i].block();
  }
  return block;
}

std::vector<JobFile> LensFiles(const LensOutcome& outcome) {
  std::vector<Json> trajectories;
  std::vector<Json> breaking;
  Json variants = Json::object();
  for (size_t v = 0; v < outcome.variants.size(); ++v) {
    const std::string& name = outcome.variants[v];
    const auto positions = LastPositions(outcome, static_cast<int>(v));
    if (positions.empty()) {
      variants[name] = {{"prompts", 0},
                        {"trajectory", nullptr},
                        {"reason", "no prompt has two candidates"}};
      continue;
    }
    std::vector<Json> own;
    for (int layer = 0; layer < positions[0]->layers_size(); ++layer) {
      own.push_back(TrajectoryRow(name, layer, positions));
    }
    const std::vector<Json> rows =
        BreakingRows(name, outcome.block_count, positions);
    variants[name] = {
        {"prompts", positions.size()},
        {"trajectory", own},
        {"breaking_block",
         BreakingJson(positions, own, outcome.block_count, rows)}};
    trajectories.insert(trajectories.end(), own.begin(), own.end());
    breaking.insert(breaking.end(), rows.begin(), rows.end());
  }
  std::vector<JobFile> files;
  files.push_back({"lens.jsonl", LinesOf(outcome)});
  files.push_back({"trajectories.json",
                   JsonDocument({{"interval", "Student's t, 95 %, of the mean"},
                                 {"variants", std::move(variants)}})});
  if (trajectories.empty()) return files;
  files.push_back(
      {"trajectories.csv",
       CsvFile({"variant", "layer", "site", "block", "n", "margin_mean",
                "margin_low", "margin_high", "share_first",
                "first_logprob_mean", "second_logprob_mean"},
               trajectories)});
  files.push_back({"trajectories.vl.json", TrajectoryChartFile(trajectories)});
  files.push_back(
      {"breaking.csv",
       CsvFile({"variant", "block", "where", "prompts", "share"}, breaking)});
  files.push_back({"breaking.vl.json", BreakingChartFile(breaking)});
  return files;
}

}  // namespace dissonance
