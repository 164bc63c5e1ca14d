#include "src/lab/interp/steering_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_prompt.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

constexpr size_t kDataLimitBytes = size_t{16} << 20;
constexpr size_t kDataArtifactLimitBytes = size_t{256} << 20;
constexpr size_t kNameLimitBytes = 255;
constexpr int kDirectionLimit = 64;
constexpr size_t kGridLimit = 4096;
constexpr int kNullLimit = 1000;
constexpr int kRefineLimit = 10;
constexpr int kSampleLimit = 100;
constexpr int kSampleTokenLimit = 1024;

absl::Status BadField(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("steering_sweep.", field, ": ", what));
}

absl::StatusOr<int> Count(absl::string_view field, int value, int limit) {
  if (value >= 0 && value <= limit) return value;
  return BadField(field,
                  absl::StrCat("expected 0 to ", limit, ", found ", value));
}

std::string EnumWord(absl::string_view name, absl::string_view prefix) {
  return absl::AsciiStrToLower(absl::StripPrefix(name, prefix));
}

std::string PlaceName(v1::Site site, int block) {
  return absl::StrCat("blocks.", block, ".", SiteName(site));
}

absl::Status CheckSite(v1::Site site) {
  switch (site) {
    case v1::SITE_PATTERN:
    case v1::SITE_LOGITS:
      return BadField("site", absl::StrCat(SiteName(site),
                                           " can't be changed; choose another "
                                           "site, e.g. resid_post"));
    case v1::SITE_FINAL_NORM:
      return BadField("site",
                      "final_norm belongs to no block, and a sweep is over "
                      "blocks; the last block's resid_post comes before it");
    default:
      break;
  }
  if (v1::Site_IsValid(site)) return absl::OkStatus();
  return BadField("site",
                  absl::StrCat(static_cast<int>(site), " names no site"));
}

// Rows of a site with heads; 0 for other sites.
int64_t HeadsOf(v1::Site site, const v1::Model& model) {
  switch (site) {
    case v1::SITE_Q:
    case v1::SITE_Z:
      return model.head_count();
    case v1::SITE_K:
    case v1::SITE_V:
      return model.kv_head_count();
    default:
      return 0;
  }
}

// 0: not known here; the worker says it.
int64_t WidthOf(v1::Site site, const v1::Model& model) {
  if (HeadsOf(site, model) > 0 || site == v1::SITE_MLP_HIDDEN) return 0;
  return model.d_model();
}

absl::Status CheckShape(const UnitVector& unit, v1::Site site,
                        const v1::Model& model) {
  const int64_t heads = HeadsOf(site, model);
  if (unit.shape.size() == 2 && unit.shape[0] != heads) {
    return absl::InvalidArgumentError(absl::StrCat(
        "its shape is [", absl::StrJoin(unit.shape, ", "), "], but ",
        SiteName(site), " of ", model.name(),
        heads == 0 ? " has no heads" : absl::StrCat(" has ", heads, " heads")));
  }
  const int64_t width = WidthOf(site, model);
  if (width == 0 || unit.shape[0] == width) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "it has ", unit.shape[0], " numbers, ", SiteName(site), " of ",
      model.name(), " has ", width, ": it belongs to another model"));
}

absl::StatusOr<UnitVector> ReadVector(const v1::Tensor& tensor, v1::Site site,
                                      const v1::Model& model) {
  ASSIGN_OR_RETURN(UnitVector unit, UnitVectorOf(tensor));
  RETURN_IF_ERROR(CheckShape(unit, site, model));
  return unit;
}

// The vectors of a direction that has them by block.
absl::Status ReadPlaces(const v1::SweepDirection& message, v1::Site site,
                        const v1::Model& model, SteeringDirection& direction) {
  std::vector<std::string> places;
  for (const v1::DirectionVector& vector : message.vectors()) {
    const v1::SiteRef& place = vector.place();
    places.push_back(PlaceName(place.site(), place.block()));
    if (place.site() != site || !place.has_block()) continue;
    absl::StatusOr<UnitVector> unit = ReadVector(vector.vector(), site, model);
    RETURN_IF_ERROR(Annotate(unit.status(), places.back()));
    direction.by_block[place.block()] = *std::move(unit);
  }
  if (!direction.by_block.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("no vector at ",
                                                 SiteName(site), "; it has ",
                                                 absl::StrJoin(places, ", ")));
}

absl::StatusOr<SteeringDirection> ReadDirection(
    const v1::SweepDirection& message, int index, v1::Site site,
    const v1::Model& model) {
  SteeringDirection direction;
  direction.label = !message.label().empty() ? message.label()
                    : !message.vector().label().empty()
                        ? message.vector().label()
                        : absl::StrCat("direction ", index + 1);
  if (direction.label.size() > kNameLimitBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("label: at most ", kNameLimitBytes, " bytes"));
  }
  if (!message.vectors().empty()) {
    RETURN_IF_ERROR(ReadPlaces(message, site, model, direction));
    return direction;
  }
  if (message.vector().has_direction()) {
    return absl::InvalidArgumentError(absl::StrCat(
        message.vector().direction(), " was not resolved to its vectors"));
  }
  if (!message.vector().has_tensor()) {
    return absl::InvalidArgumentError("no vector; give vector or vectors");
  }
  ASSIGN_OR_RETURN(direction.everywhere,
                   ReadVector(message.vector().tensor(), site, model));
  return direction;
}

absl::Status ReadDirections(const v1::SteeringSweepSpec& spec,
                            const v1::Model& model, SteeringPlan& plan) {
  if (spec.directions().empty() || spec.directions_size() > kDirectionLimit) {
    return BadField("directions",
                    absl::StrCat("expected 1 to ", kDirectionLimit, ", found ",
                                 spec.directions_size()));
  }
  std::set<std::string> labels;
  for (int i = 0; i < spec.directions_size(); ++i) {
    const std::string field = absl::StrCat("directions[", i, "]");
    absl::StatusOr<SteeringDirection> direction =
        ReadDirection(spec.directions(i), i, plan.site, model);
    RETURN_IF_ERROR(
        Annotate(direction.status(), absl::StrCat("steering_sweep.", field)));
    if (!labels.insert(direction->label).second) {
      return BadField(
          field, absl::StrCat("a second direction called \"", direction->label,
                              "\"; give each its own label"));
    }
    plan.directions.push_back(*std::move(direction));
  }
  return absl::OkStatus();
}

// The blocks in which one direction is tried.
absl::StatusOr<std::vector<int>> BlocksOf(const v1::SteeringSweepSpec& spec,
                                          const v1::Model& model,
                                          const SteeringDirection& direction) {
  std::vector<int> blocks(spec.blocks().begin(), spec.blocks().end());
  if (blocks.empty() && direction.everywhere.has_value()) {
    blocks.resize(static_cast<size_t>(model.block_count()));
    std::iota(blocks.begin(), blocks.end(), 0);
  }
  if (blocks.empty()) {
    for (const auto& [block, vector] : direction.by_block) {
      blocks.push_back(block);
    }
  }
  std::sort(blocks.begin(), blocks.end());
  blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
  for (const int block : blocks) {
    if (block < 0 || block >= model.block_count()) {
      return BadField("blocks",
                      absl::StrCat(model.name(), " has blocks 0 to ",
                                   model.block_count() - 1, ", not ", block));
    }
    if (direction.At(block) != nullptr) continue;
    const std::string has = absl::StrJoin(
        direction.by_block, ", ", [&](std::string* out, const auto& each) {
          out->append(absl::StrCat(each.first));
        });
    return BadField("blocks", absl::StrCat("\"", direction.label,
                                           "\" has no vector in block ", block,
                                           "; it has some in ", has));
  }
  return blocks;
}

absl::StatusOr<std::vector<double>> CoefficientsOf(
    const v1::SteeringSweepSpec& spec) {
  std::vector<double> all(spec.coefficients().begin(),
                          spec.coefficients().end());
  if (all.empty()) {
    all = spec.relative_coefficients() ? std::vector<double>{-0.5, 0.25, 0.5, 1}
                                       : std::vector<double>{-5, -15, 10};
  }
  std::vector<double> coefficients;
  for (const double coefficient : all) {
    if (!std::isfinite(coefficient)) {
      return BadField("coefficients", "expected finite numbers");
    }
    // 0 is the unsteered setting, which is tried once.
    if (coefficient == 0 ||
        std::count(coefficients.begin(), coefficients.end(), coefficient)) {
      continue;
    }
    coefficients.push_back(coefficient);
  }
  if (!coefficients.empty()) return coefficients;
  return BadField("coefficients", "0 alone steers nothing; give another");
}

absl::StatusOr<std::vector<v1::PositionSet>> PositionsOf(
    const v1::SteeringSweepSpec& spec) {
  std::vector<v1::PositionSet> sets;
  for (const int value : spec.positions()) {
    const auto set = static_cast<v1::PositionSet>(value);
    if (!v1::PositionSet_IsValid(value) ||
        set == v1::POSITION_SET_UNSPECIFIED) {
      return BadField("positions",
                      absl::StrCat(value, " names no set of positions"));
    }
    if (std::find(sets.begin(), sets.end(), set) == sets.end()) {
      sets.push_back(set);
    }
  }
  if (sets.empty()) sets.push_back(v1::POSITION_SET_ALL);
  return sets;
}

absl::Status MakeGrid(const v1::SteeringSweepSpec& spec, const v1::Model& model,
                      SteeringPlan& plan) {
  ASSIGN_OR_RETURN(const std::vector<double> coefficients,
                   CoefficientsOf(spec));
  ASSIGN_OR_RETURN(const std::vector<v1::PositionSet> positions,
                   PositionsOf(spec));
  plan.grid.emplace_back();
  std::set<int> all_blocks;
  for (size_t d = 0; d < plan.directions.size(); ++d) {
    ASSIGN_OR_RETURN(const std::vector<int> blocks,
                     BlocksOf(spec, model, plan.directions[d]));
    all_blocks.insert(blocks.begin(), blocks.end());
    for (const int block : blocks) {
      for (const v1::PositionSet set : positions) {
        for (const double coefficient : coefficients) {
          plan.grid.push_back({.phase = SteeringPhase::kGrid,
                               .direction = static_cast<int>(d),
                               .block = block,
                               .positions = set,
                               .coefficient = coefficient});
        }
      }
    }
  }
  plan.blocks.assign(all_blocks.begin(), all_blocks.end());
  if (plan.grid.size() <= kGridLimit) return absl::OkStatus();
  return BadField(
      "coefficients",
      absl::StrCat("the grid has ", plan.grid.size(), " settings; at most ",
                   kGridLimit, ", so try fewer at once"));
}

absl::Status ReadCounts(const v1::SteeringSweepSpec& spec, SteeringPlan& plan) {
  if (spec.has_null_count()) {
    ASSIGN_OR_RETURN(plan.null_count,
                     Count("null_count", spec.null_count(), kNullLimit));
  }
  if (spec.has_refine_count()) {
    ASSIGN_OR_RETURN(plan.refine_count,
                     Count("refine_count", spec.refine_count(), kRefineLimit));
  }
  if (spec.has_sample_count()) {
    ASSIGN_OR_RETURN(plan.sample_count,
                     Count("sample_count", spec.sample_count(), kSampleLimit));
  }
  if (spec.sample_token_count() != 0) {
    ASSIGN_OR_RETURN(plan.sample_token_count,
                     Count("sample_token_count", spec.sample_token_count(),
                           kSampleTokenLimit));
  }
  if (spec.has_seed()) plan.seed = spec.seed();
  if (!spec.has_control_tolerance()) return absl::OkStatus();
  plan.control_tolerance = spec.control_tolerance();
  if (plan.control_tolerance >= 0 && plan.control_tolerance <= 1) {
    return absl::OkStatus();
  }
  return BadField("control_tolerance", "expected a share from 0 to 1");
}

absl::Status ReadQuestions(const v1::SteeringSweepSpec& spec,
                           SteeringPlan& plan) {
  const size_t limit =
      spec.data_artifact().empty() ? kDataLimitBytes : kDataArtifactLimitBytes;
  if (spec.data().size() > limit) {
    return BadField(
        "data", absl::StrCat(spec.data().size(), " bytes; at most ", limit));
  }
  if (spec.data_name().size() > kNameLimitBytes) {
    return BadField("data_name",
                    absl::StrCat("at most ", kNameLimitBytes, " bytes"));
  }
  const std::string name = spec.data_name().empty() ? "data" : spec.data_name();
  ASSIGN_OR_RETURN(plan.items, ParseMcqData(spec.data(), name));
  if (std::any_of(plan.items.begin(), plan.items.end(), MeasuresBelief)) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(
      Annotate(CheckBeliefIsMeasured(plan.items, name), "steering_sweep.data"));
  return BadField("data",
                  absl::StrCat(name,
                               " has no question with a false answer, so "
                               "there is no belief to measure; add "
                               "\"false_answer\" to its conflict questions"));
}

}  // namespace

const UnitVector* SteeringDirection::At(int block) const {
  if (everywhere.has_value()) return &*everywhere;
  const auto vector = by_block.find(block);
  return vector == by_block.end() ? nullptr : &vector->second;
}

bool MeasuresBelief(const McqItem& item) {
  return item.implied_false_answer.has_value();
}

bool IsControl(const McqItem& item) {
  return !IsConflict(item.category, item.implied_false_answer);
}

std::string SteeringPhaseName(SteeringPhase phase) {
  switch (phase) {
    case SteeringPhase::kUnsteered:
      return "unsteered";
    case SteeringPhase::kGrid:
      return "grid";
    case SteeringPhase::kRefined:
      return "refined";
    case SteeringPhase::kRandom:
      return "random";
  }
  return "";
}

std::string PositionSetName(v1::PositionSet positions) {
  return EnumWord(v1::PositionSet_Name(positions), "POSITION_SET_");
}

absl::StatusOr<SteeringPlan> MakeSteeringPlan(const v1::SteeringSweepSpec& spec,
                                              const v1::Model& model) {
  SteeringPlan plan;
  RETURN_IF_ERROR(ReadQuestions(spec, plan));
  ASSIGN_OR_RETURN(plan.scoring, ResolveMcqScoring(spec.scoring()));
  if (spec.site() != v1::SITE_UNSPECIFIED) plan.site = spec.site();
  RETURN_IF_ERROR(CheckSite(plan.site));
  plan.relative = spec.relative_coefficients();
  RETURN_IF_ERROR(ReadCounts(spec, plan));
  RETURN_IF_ERROR(ReadDirections(spec, model, plan));
  RETURN_IF_ERROR(MakeGrid(spec, model, plan));
  return plan;
}

}  // namespace dissonance
