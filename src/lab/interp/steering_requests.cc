#include "src/lab/interp/steering_requests.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "src/base/mix.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_scores.h"
#include "src/lab/eval/network_difference.h"
#include "src/lab/interp/vectors.h"

namespace dissonance {
namespace {

UnitVector VectorOf(const SteeringPlan& plan, const SteeringSetting& setting) {
  if (setting.phase != SteeringPhase::kRandom) {
    return *plan.directions[static_cast<size_t>(setting.direction)].At(
        setting.block);
  }
  // As long, and of the same shape, as any direction there.
  const auto there =
      std::find_if(plan.directions.begin(), plan.directions.end(),
                   [&](const SteeringDirection& each) {
                     return each.At(setting.block) != nullptr;
                   });
  return RandomUnitVector(
      there->At(setting.block)->shape,
      Mix(plan.seed) + static_cast<uint64_t>(setting.direction));
}

std::string LabelOf(const SteeringPlan& plan, const SteeringSetting& setting) {
  return setting.phase == SteeringPhase::kRandom
             ? absl::StrCat("random ", setting.direction + 1)
             : plan.directions[static_cast<size_t>(setting.direction)].label;
}

// Takes lengths of captured rows, by block and input.
class NormReader {
 public:
  NormReader(const SteeringPlan& plan) : plan_(plan) {
    for (const int block : plan.blocks)
      lengths_[block].resize(plan.items.size());
  }

  // Of `count` questions from `first` on.
  void BeginRequest(size_t first, int count) {
    first_ = first;
    count_ = count;
    rows_.Clear();
  }

  absl::Status Take(const v1::StreamActivationsResponse& message) {
    if (message.has_rows()) {
      rows_ = message.rows();
      return absl::OkStatus();
    }
    if (message.has_summary() && message.summary().provenance_size() == 1) {
      return TakeProvenance(message.summary().provenance(0));
    }
    return message.has_chunk() ? TakeChunk(message.chunk()) : absl::OkStatus();
  }

  // Once the stream has ended.
  absl::StatusOr<MeasuredNorms> Finish() const {
    if (!provenance_.has_value()) {
      return absl::InternalError("StreamActivations: no provenance came back");
    }
    MeasuredNorms measured{.norms = {}, .provenance = *provenance_};
    for (const auto& [block, lengths] : lengths_) {
      double sum = 0;
      for (size_t i = 0; i < lengths.size(); ++i) {
        if (!lengths[i].has_value() || !std::isfinite(*lengths[i])) {
          return absl::InternalError(
              absl::StrCat("StreamActivations: no finite row of question ",
                           plan_.items[i].id, " came back for block ", block));
        }
        sum += *lengths[i];
      }
      measured.norms[block] = sum / static_cast<double>(lengths.size());
    }
    return measured;
  }

 private:
  absl::Status TakeProvenance(const v1::Provenance& now) {
    const std::string changed =
        provenance_.has_value() ? NetworkDifference(*provenance_, now) : "";
    provenance_ = now;
    if (changed.empty()) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        "the network changed while its rows were measured (", changed,
        "); create a new job rather than mix two networks in one result"));
  }

  absl::Status TakeChunk(const v1::ActivationChunk& chunk) {
    const auto lengths = lengths_.find(chunk.place().block());
    absl::StatusOr<std::vector<double>> numbers = TensorNumbers(chunk.tensor());
    RETURN_IF_ERROR(Annotate(numbers.status(), "StreamActivations"));
    const auto rows =
        chunk.tensor().shape_size() == 0 ? 0 : chunk.tensor().shape(0);
    if (lengths == lengths_.end() || rows <= 0 || chunk.first_row() < 0 ||
        chunk.first_row() + rows > rows_.rows_size()) {
      return absl::InternalError(
          "StreamActivations: rows came back that were not asked for");
    }
    const size_t width = numbers->size() / static_cast<size_t>(rows);
    for (int64_t row = 0; row < rows; ++row) {
      const int input =
          rows_.rows(static_cast<int>(chunk.first_row() + row)).input_index();
      if (input < 0 || input >= count_) {
        return absl::InternalError("StreamActivations: a row of no input");
      }
      lengths->second[first_ + static_cast<size_t>(input)] =
          LengthOf(absl::MakeConstSpan(*numbers).subspan(
              static_cast<size_t>(row) * width, width));
    }
    return absl::OkStatus();
  }

  const SteeringPlan& plan_;
  size_t first_ = 0;  // question of the request
  int count_ = 0;
  v1::ActivationRows rows_;
  std::map<int, std::vector<std::optional<double>>> lengths_;
  std::optional<v1::Provenance> provenance_;
};

// All variants of a sweep are one network with other interventions.
absl::StatusOr<v1::Provenance> OneProvenance(
    const google::protobuf::RepeatedPtrField<v1::Provenance>& all) {
  if (all.empty()) {
    return absl::InternalError("no provenance came back");
  }
  return all.Get(0);
}

// That steering has left numbers to compare. A record could not hold others.
absl::Status CheckFinite(const v1::ScoreResponse& response,
                         const SteeringPlan& plan,
                         absl::Span<const SteeringSetting> settings,
                         absl::Span<const McqItem> items) {
  for (const v1::ItemScore& score : response.scores()) {
    if (score.variant_index() < 0 || score.item_index() < 0 ||
        score.variant_index() >= std::ssize(settings) ||
        score.item_index() >= std::ssize(items)) {
      continue;  // said when the scores are unpacked
    }
    for (const v1::ContinuationScore& each : score.continuations()) {
      if (std::isfinite(each.logprob())) continue;
      const SteeringSetting& at =
          settings[static_cast<size_t>(score.variant_index())];
      const std::string setting =
          at.phase == SteeringPhase::kUnsteered
              ? "unsteered"
              : absl::StrCat(LabelOf(plan, at), " in block ", at.block,
                             " times ", at.coefficient);
      return absl::OutOfRangeError(
          absl::StrCat(setting, ", question ",
                       items[static_cast<size_t>(score.item_index())].id,
                       ": log-probability is ", each.logprob(),
                       ", not a finite number; use smaller coefficients"));
    }
  }
  return absl::OkStatus();
}

// Whether the vector is as long as the site's rows: one for every head alike
// is not.
bool CanMeter(v1::Site site, const UnitVector& unit) {
  const bool has_heads = site == v1::SITE_Q || site == v1::SITE_K ||
                         site == v1::SITE_V || site == v1::SITE_Z;
  return !has_heads || unit.shape.size() == 2;
}

// Measures along the setting's direction.
void AddMeter(const SteeringPlan& plan, const SteeringSetting& setting,
              v1::GenerateRequest& request) {
  const UnitVector unit = VectorOf(plan, setting);
  if (!CanMeter(plan.site, unit)) return;
  v1::Meter& meter = *request.add_meters();
  meter.set_name(LabelOf(plan, setting));
  meter.mutable_place()->set_site(plan.site);
  meter.mutable_place()->set_block(setting.block);
  *meter.mutable_vector()->mutable_tensor() =
      FloatTensor(unit.values, {static_cast<int64_t>(unit.values.size())});
}

// Adds an event of the sample's stream: text, tokens, readings of earlier ones.
void AddEvent(const v1::GenerateResponse& event, std::string& text,
              std::vector<MeteredToken>& tokens) {
  const std::string& added =
      event.has_end() ? event.end().text() : event.delta().text();
  text += added;
  tokens.resize(tokens.size() +
                static_cast<size_t>(event.delta().tokens_size()));
  if (!tokens.empty()) tokens.back().text += added;
  for (const v1::MeterReading& reading :
       event.has_end() ? event.end().meters() : event.delta().meters()) {
    const auto index = static_cast<size_t>(reading.token_index());
    if (index >= tokens.size() || reading.projections_size() != 1 ||
        !std::isfinite(reading.projections(0))) {
      continue;
    }
    tokens[index].projection = reading.projections(0);
  }
}

}  // namespace

double AbsoluteCoefficient(const SteeringPlan& plan,
                           const SteeringSetting& setting,
                           const SteeringNorms& norms) {
  if (!plan.relative || setting.phase == SteeringPhase::kUnsteered) {
    return setting.coefficient;
  }
  const auto norm = norms.find(setting.block);
  return norm == norms.end() ? 0 : setting.coefficient * norm->second;
}

v1::Variant Steered(const v1::Variant& variant, const SteeringPlan& plan,
                    const SteeringSetting& setting,
                    const SteeringNorms& norms) {
  v1::Variant steered = variant;
  if (setting.phase == SteeringPhase::kUnsteered) return steered;
  const UnitVector unit = VectorOf(plan, setting);
  const bool by_head = unit.shape.size() == 2;
  const int64_t heads = by_head ? unit.shape[0] : 1;
  const size_t width = unit.values.size() / static_cast<size_t>(heads);
  for (int64_t head = 0; head < heads; ++head) {
    v1::Intervention& added = *steered.add_interventions();
    added.set_site(plan.site);
    added.add_blocks(setting.block);
    if (by_head) added.set_head(static_cast<int>(head));
    added.mutable_positions()->set_set(setting.positions);
    v1::AddVector& add = *added.mutable_add();
    add.set_coefficient(AbsoluteCoefficient(plan, setting, norms));
    add.mutable_vector()->set_label(LabelOf(plan, setting));
    *add.mutable_vector()->mutable_tensor() =
        FloatTensor(absl::MakeConstSpan(unit.values)
                        .subspan(static_cast<size_t>(head) * width, width),
                    {static_cast<int64_t>(width)});
  }
  return steered;
}

absl::StatusOr<MeasuredNorms> MeasureNorms(const SteeringCalls& calls,
                                           int questions_per_call) {
  v1::StreamActivationsRequest request;
  *request.add_variants() = calls.variant;
  v1::CaptureSpec& capture = *request.mutable_capture();
  capture.add_sites(calls.plan.site);
  capture.mutable_blocks()->Add(calls.plan.blocks.begin(),
                                calls.plan.blocks.end());
  capture.mutable_positions()->set_set(v1::POSITION_SET_LAST_PROMPT);
  NormReader reader(calls.plan);
  const absl::Span<const McqItem> all = calls.plan.items;
  const auto each = static_cast<size_t>(questions_per_call);
  for (size_t begin = 0; begin < all.size(); begin += each) {
    request.clear_inputs();
    for (const McqItem& item : all.subspan(begin, each)) {
      *request.add_inputs() =
          McqPromptInput(item, calls.plan.scoring, calls.format);
    }
    reader.BeginRequest(begin, request.inputs_size());
    RETURN_IF_ERROR(calls.compute.StreamActivations(
        request, calls.call,
        [&reader](const v1::StreamActivationsResponse& message) {
          return reader.Take(message);
        }));
  }
  return reader.Finish();
}

absl::StatusOr<SteeringAnswers> AskAll(
    const SteeringCalls& calls, absl::Span<const SteeringSetting> settings,
    const SteeringNorms& norms, int questions_per_call) {
  std::vector<v1::Variant> variants;
  SteeringAnswers answers;
  for (const SteeringSetting& setting : settings) {
    variants.push_back(Steered(calls.variant, calls.plan, setting, norms));
    answers.results.push_back({setting, {}});
  }
  const absl::Span<const McqItem> all = calls.plan.items;
  for (size_t begin = 0; begin < all.size();
       begin += static_cast<size_t>(questions_per_call)) {
    const absl::Span<const McqItem> asked =
        all.subspan(begin, static_cast<size_t>(questions_per_call));
    const v1::ScoreRequest request =
        MakeScoreRequest(asked, variants, calls.plan.scoring, calls.format);
    ASSIGN_OR_RETURN(const v1::ScoreResponse response,
                     calls.compute.Score(request, calls.call));
    RETURN_IF_ERROR(CheckFinite(response, calls.plan, settings, asked));
    ASSIGN_OR_RETURN(const McqScoreGrid grid,
                     UnpackScores(request, response, calls.plan.scoring));
    for (size_t v = 0; v < variants.size(); ++v) {
      for (const std::vector<RawScores>& samples : grid[v]) {
        answers.results[v].answers.push_back(LogprobsOf(samples.front()));
      }
    }
    ASSIGN_OR_RETURN(answers.provenance, OneProvenance(response.provenance()));
  }
  return answers;
}

absl::StatusOr<SteeringSamples> Continue(const SteeringCalls& calls,
                                         absl::Span<const McqItem> items,
                                         const SteeringSetting& setting,
                                         const SteeringNorms& norms) {
  v1::GenerateRequest request;
  *request.add_variants() = calls.variant;
  *request.add_variants() = Steered(calls.variant, calls.plan, setting, norms);
  SteeringSamples out;
  for (const McqItem& item : items) {
    *request.add_inputs() =
        McqPromptInput(item, calls.plan.scoring, calls.format);
    out.samples.emplace_back().id = item.id;
  }
  AddMeter(calls.plan, setting, request);
  request.mutable_options()->set_max_new_token_count(
      calls.plan.sample_token_count);
  bool ended = false;
  RETURN_IF_ERROR(calls.compute.Generate(
      request, calls.call, [&](const v1::GenerateResponse& message) {
        if (message.has_summary()) {
          ASSIGN_OR_RETURN(out.provenance,
                           OneProvenance(message.summary().provenance()));
          ended = true;
          return absl::OkStatus();
        }
        const int input = message.input_index();
        if (input < 0 || input >= std::ssize(out.samples)) {
          return absl::InternalError("Generate: tokens of no input");
        }
        SteeringSample& sample = out.samples[static_cast<size_t>(input)];
        if (message.variant_index() == 0) {
          AddEvent(message, sample.unsteered, sample.unsteered_tokens);
        } else {
          AddEvent(message, sample.steered, sample.steered_tokens);
        }
        return absl::OkStatus();
      }));
  if (!ended) return absl::InternalError("Generate: the stream has no end");
  return out;
}

}  // namespace dissonance
