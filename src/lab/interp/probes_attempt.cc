#include "src/lab/interp/probes_attempt.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_prompt.h"
#include "src/lab/eval/mcq_scorer.h"
#include "src/lab/interp/activation_rows.h"
#include "src/lab/interp/ask_networks.h"
#include "src/lab/interp/network_spec.h"
#include "src/lab/interp/variant_json.h"
#include "src/lab/jobs/job_files.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

using internal::v1::ProbesRecord;

// Of one Score request and of one transaction of the record.
constexpr size_t kQuestionsPerBatch = 8;
constexpr uint64_t kDefaultSeed = 42;

std::string DataOf(const v1::TrainProbesSpec& spec, const ProbesPlan& plan) {
  return plan.source ? plan.source->spec().extract_activations().data()
                     : spec.data();
}

std::vector<std::string> NamesOf(const std::vector<v1::Variant>& variants) {
  std::vector<std::string> names;
  for (const v1::Variant& each : variants) names.push_back(VariantName(each));
  return names;
}

// How probes were fitted; null is the server's default.
nlohmann::json OptionsJson(const v1::ProbeOptions& options) {
  const auto word = [](const std::string& name, absl::string_view prefix) {
    return absl::AsciiStrToLower(absl::StripPrefix(name, prefix));
  };
  const auto method = options.method() == v1::PROBE_METHOD_UNSPECIFIED
                          ? v1::PROBE_METHOD_LOGISTIC
                          : options.method();
  const auto intercept = options.intercept() == v1::PROBE_INTERCEPT_UNSPECIFIED
                             ? v1::PROBE_INTERCEPT_FREE
                             : options.intercept();
  const auto given = [](bool has, auto value) {
    return has ? nlohmann::json(value) : nlohmann::json();
  };
  return {{"method", word(v1::ProbeMethod_Name(method), "PROBE_METHOD_")},
          {"intercept",
           word(v1::ProbeIntercept_Name(intercept), "PROBE_INTERCEPT_")},
          {"scaling", !options.skip_scaling()},
          {"transfer", options.transfer()},
          {"tolerance", given(options.tolerance() > 0, options.tolerance())},
          {"max_iteration_count", given(options.max_iteration_count() > 0,
                                        options.max_iteration_count())},
          {"test_fraction",
           given(options.has_test_fraction(), options.test_fraction())},
          {"permutation_count",
           given(options.has_permutation_count(), options.permutation_count())},
          {"bootstrap_count",
           given(options.has_bootstrap_count(), options.bootstrap_count())},
          {"shrinkage", given(options.has_shrinkage(), options.shrinkage())}};
}

// How many of `places` from the front one request can ask for: sites of which
// each is wanted in the same blocks, or in none.
size_t FrontGrid(absl::Span<const v1::SiteRef> places) {
  const auto end_of_site = [&places](size_t begin) {
    size_t end = begin;
    while (end < places.size() && places[end].site() == places[begin].site()) {
      ++end;
    }
    return end;
  };
  const size_t first = end_of_site(0);
  if (!IsInBlocks(places[0].site())) return first;
  size_t end = first;
  while (end < places.size() && IsInBlocks(places[end].site())) {
    const size_t next = end_of_site(end);
    if (next - end != first) break;
    bool same = true;
    for (size_t i = 0; i < first; ++i) {
      same &= places[end + i].block() == places[i].block();
    }
    if (!same) break;
    end = next;
  }
  return end;
}

}  // namespace

ProbesAttempt::ProbesAttempt(const ProbesParts& parts,
                             const v1::TrainProbesSpec& spec, ProbesPlan plan,
                             std::vector<v1::SiteRef> places)
    : parts_(parts),
      spec_(spec),
      plan_(std::move(plan)),
      places_(std::move(places)),
      call_{.cancelled = [&job = parts_.job] { return job.cancelled(); },
            .spend = &parts_.job.spend()},
      networks_(
          parts_.job, NamesOf(plan_.variants), Sha256Of(DataOf(spec_, plan_)),
          spec_.options().has_seed() ? spec_.options().seed() : kDefaultSeed) {
  outcome_.set = plan_.set;
  outcome_.questions = plan_.questions;
  outcome_.variants = VariantLabels(plan_.variants);
  outcome_.has_several_c = spec_.options().c_values_size() > 1;
  outcome_.is_ridge = spec_.options().method() == v1::PROBE_METHOD_RIDGE;
}

int64_t ProbesAttempt::total_count() const {
  const size_t calls = std::max<size_t>(calls_.size(), 1);
  const size_t questions =
      plan_.asks_questions() ? plan_.set.questions.size() : 0;
  return static_cast<int64_t>(questions + calls * places_.size());
}

absl::Status ProbesAttempt::Record(absl::Span<const ProbesRecord> records) {
  std::vector<std::string> items;
  for (const ProbesRecord& record : records) {
    items.push_back(record.SerializeAsString());
  }
  return parts_.job.RecordItems(
      static_cast<int64_t>(recorded_count()), items, total_count(),
      plan_.asks_questions() ? "questions and places" : "places");
}

absl::Status ProbesAttempt::Resume() {
  ASSIGN_OR_RETURN(const std::vector<std::string> stored,
                   parts_.job.RecordedItems());
  for (size_t i = 0; i < stored.size(); ++i) {
    ProbesRecord record;
    if (!record.ParseFromString(stored[i])) {
      return absl::DataLossError(
          absl::StrCat("record ", i, ": not one of a train_probes job"));
    }
    (record.question().empty() ? records_ : answers_)
        .push_back(std::move(record));
  }
  for (size_t i = 0; i < answers_.size(); ++i) {
    if (i < plan_.set.questions.size() &&
        answers_[i].question() == plan_.set.questions[i].id &&
        answers_[i].answers_size() == std::ssize(plan_.variants)) {
      continue;
    }
    return absl::DataLossError(absl::StrCat("record ", i, ": of question ",
                                            answers_[i].question(),
                                            ", which is not the job's"));
  }
  RETURN_IF_ERROR(networks_.Resume(stored.size()));
  // Where nothing is captured, the networks are those of the other job.
  if (plan_.source.has_value()) {
    const auto& own = plan_.source->provenance();
    const std::vector<v1::Provenance> kept(own.begin(), own.end());
    RETURN_IF_ERROR(networks_.Keep(kept, stored.size()));
  } else {
    ASSIGN_OR_RETURN(const RenderedPrompts rendered,
                     RenderPrompts(plan_.set, plan_.variants, plan_.scoring,
                                   parts_.compute, call_));
    inputs_ = rendered.inputs;
    ASSIGN_OR_RETURN(
        const std::vector<v1::Provenance> now,
        AskNetworks(parts_.compute, plan_.variants, inputs_[0], call_));
    RETURN_IF_ERROR(networks_.Keep(now, stored.size()));
  }
  if (stored.empty()) return parts_.job.Log(GroupsOf(plan_.set).text);
  return parts_.job.Log(
      absl::StrCat("resumes after ", stored.size(), " of ", total_count()));
}

absl::Status ProbesAttempt::AskBatch(size_t first, size_t count) {
  const absl::Span<const McqItem> batch =
      absl::MakeConstSpan(plan_.set.questions).subspan(first, count);
  McqScorer scorer(parts_.compute, plan_.variants, plan_.scoring, call_);
  RETURN_IF_ERROR(scorer.ReadModels().status());
  ASSIGN_OR_RETURN(const McqAnswers answers, scorer.Score(batch));
  RETURN_IF_ERROR(networks_.Keep(answers.provenance, recorded_count()));
  std::vector<ProbesRecord> records(batch.size());
  for (size_t i = 0; i < batch.size(); ++i) {
    records[i].set_question(batch[i].id);
    for (const VariantScores& scores : answers.scores[i]) {
      records[i].add_answers(
          MakePrediction(batch[i], "", plan_.scoring, scorer.format(), scores)
              .pred);
    }
  }
  RETURN_IF_ERROR(Record(records));
  std::move(records.begin(), records.end(), std::back_inserter(answers_));
  return absl::OkStatus();
}

absl::Status ProbesAttempt::AskQuestions() {
  const size_t count = plan_.asks_questions() ? plan_.set.questions.size() : 0;
  while (answers_.size() < count) {
    if (parts_.job.cancelled()) return absl::CancelledError("cancelled");
    RETURN_IF_ERROR(
        AskBatch(answers_.size(),
                 std::min(kQuestionsPerBatch, count - answers_.size())));
  }
  ChooseCalls();
  for (const SkippedProbe& each : outcome_.skipped) {
    RETURN_IF_ERROR(parts_.job.Log(absl::StrCat(
        plan_.questions[static_cast<size_t>(each.target)].name, " of ",
        outcome_.variants[static_cast<size_t>(each.variant)],
        " is left out: ", each.reason)));
  }
  if (!calls_.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "no target can be fitted; ",
      outcome_.variants[static_cast<size_t>(outcome_.skipped[0].variant)], ", ",
      plan_.questions[static_cast<size_t>(outcome_.skipped[0].target)].name,
      ": ", outcome_.skipped[0].reason));
}

void ProbesAttempt::ChooseCalls() {
  const size_t variants = plan_.variants.size();
  outcome_.labels.resize(plan_.questions.size());
  std::vector<std::vector<const v1::ProbeLabels*>> fitted(
      plan_.questions.size());
  for (size_t t = 0; t < plan_.questions.size(); ++t) {
    outcome_.labels[t].resize(variants, plan_.questions[t].labels);
    fitted[t].resize(variants, nullptr);
    for (size_t v = 0; v < variants; ++v) {
      v1::ProbeLabels& own = outcome_.labels[t][v];
      fitted[t][v] = &own;
      if (!plan_.questions[t].is_answered) continue;
      std::vector<int32_t> answers;
      for (const ProbesRecord& record : answers_) {
        answers.push_back(record.answers(static_cast<int>(v)));
      }
      own = AnsweredLabels(plan_.set, answers);
      const absl::Status fits = CheckFit(own, spec_.options(), plan_.set);
      if (fits.ok()) continue;
      fitted[t][v] = nullptr;
      outcome_.skipped.push_back({static_cast<int>(t), static_cast<int>(v),
                                  std::string(fits.message())});
    }
  }
  calls_ = ProbeCalls(fitted);
}

absl::Status ProbesAttempt::TrainRest() {
  if (records_.size() > calls_.size() * places_.size()) {
    return absl::DataLossError(absl::StrCat(records_.size(),
                                            " places are recorded, of ",
                                            calls_.size() * places_.size()));
  }
  size_t most = places_.size();  // that the worker takes at a time
  while (records_.size() < calls_.size() * places_.size()) {
    if (parts_.job.cancelled()) return absl::CancelledError("cancelled");
    const size_t at = records_.size();
    const absl::Span<const v1::SiteRef> left =
        absl::MakeConstSpan(places_).subspan(at % places_.size(), most);
    // Rows that are given are sent place by place: they fill the messages.
    const size_t count = plan_.source.has_value() ? 1 : FrontGrid(left);
    const absl::Status trained =
        RunCall(static_cast<int>(at / places_.size()), left.subspan(0, count));
    if (absl::IsResourceExhausted(trained) && count > 1) {
      most = count / 2;
      RETURN_IF_ERROR(parts_.job.Log(
          absl::StrCat(count, " places at a time are too many, asks for ", most,
                       ": ", trained.message())));
      continue;
    }
    RETURN_IF_ERROR(trained);
    if (records_.size() == at + count) continue;
    return absl::InternalError(absl::StrCat("the worker gave ",
                                            records_.size() - at, " of ", count,
                                            " places, without an error"));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::TrainProbesRequest> ProbesAttempt::MakeRequest(
    int call, absl::Span<const v1::SiteRef> places) {
  const ProbeCall& asked = calls_[static_cast<size_t>(call)];
  v1::TrainProbesRequest request;
  for (const int v : asked.variants) {
    *request.add_variants() = plan_.variants[static_cast<size_t>(v)];
  }
  if (plan_.source.has_value()) {
    for (const v1::Input& input : plan_.set.inputs) {
      v1::Input& own = *request.add_inputs();
      own.set_id(input.id());
      own.set_group(input.group());
    }
    RETURN_IF_ERROR(AddActivations(call, places, request));
  } else {
    *request.mutable_inputs() = {inputs_.begin(), inputs_.end()};
    std::set<v1::Site> sites;
    std::set<int32_t> blocks;
    for (const v1::SiteRef& place : places) {
      sites.insert(place.site());
      if (IsInBlocks(place.site())) blocks.insert(place.block());
    }
    request.mutable_sites()->Assign(sites.begin(), sites.end());
    request.mutable_blocks()->Assign(blocks.begin(), blocks.end());
    if (spec_.has_positions()) {
      *request.mutable_positions() = spec_.positions();
    }
  }
  for (const int t : asked.targets) {
    const auto target = static_cast<size_t>(t);
    v1::ProbeTarget& out = *request.add_targets();
    out.set_name(plan_.questions[target].name);
    if (!plan_.questions[target].is_answered) {
      *out.add_labels() = plan_.questions[target].labels;
      continue;
    }
    for (const int v : asked.variants) {
      *out.add_labels() = outcome_.labels[target][static_cast<size_t>(v)];
    }
  }
  *request.mutable_options() = spec_.options();
  if (asked.has_components) {
    request.set_component_count(plan_.component_count);
  }
  return request;
}

absl::Status ProbesAttempt::AddActivations(int call,
                                           absl::Span<const v1::SiteRef> places,
                                           v1::TrainProbesRequest& request) {
  for (const int v : calls_[static_cast<size_t>(call)].variants) {
    v1::VariantActivations& own = *request.add_activations();
    for (const v1::SiteRef& place : places) {
      v1::ActivationMatrix& matrix = *own.add_places();
      *matrix.mutable_place() = place;
      ASSIGN_OR_RETURN(
          *matrix.mutable_rows(),
          ReadActivationRows(parts_.jobs, *plan_.source,
                             outcome_.variants[static_cast<size_t>(v)], place));
      if (matrix.rows().shape(0) == std::ssize(plan_.set.inputs)) continue;
      return absl::DataLossError(absl::StrCat(
          plan_.source->name(), " has ", matrix.rows().shape(0), " rows at ",
          PlaceName(place), " for ", plan_.set.inputs.size(), " inputs"));
    }
  }
  return absl::OkStatus();
}

absl::Status ProbesAttempt::RunCall(int call,
                                    absl::Span<const v1::SiteRef> places) {
  ASSIGN_OR_RETURN(const v1::TrainProbesRequest request,
                   MakeRequest(call, places));
  Incoming incoming;
  return parts_.compute.TrainProbes(
      request, call_, [&](const v1::TrainProbesResponse& message) {
        return Take(call, message, incoming);
      });
}

absl::Status ProbesAttempt::Take(int call,
                                 const v1::TrainProbesResponse& message,
                                 Incoming& incoming) {
  const ProbeCall& asked = calls_[static_cast<size_t>(call)];
  switch (message.event_case()) {
    case v1::TrainProbesResponse::kFolds: {
      v1::ProbeFolds folds = message.folds();
      folds.set_target_index(
          asked.targets[static_cast<size_t>(folds.target_index())]);
      folds.set_variant_index(
          asked.variants[static_cast<size_t>(folds.variant_index())]);
      incoming.folds.push_back(std::move(folds));
      return absl::OkStatus();
    }
    case v1::TrainProbesResponse::kResult:
      return TakeResult(call, message.result(), incoming);
    case v1::TrainProbesResponse::kComponents:
      *incoming.current.mutable_components() = message.components();
      return absl::OkStatus();
    case v1::TrainProbesResponse::kProgress:
      return RecordComplete(call, incoming);
    case v1::TrainProbesResponse::kSummary:
      return CheckSummary(call, message.summary());
    case v1::TrainProbesResponse::EVENT_NOT_SET:
      break;
  }
  return absl::OkStatus();
}

absl::Status ProbesAttempt::TakeResult(int call, const v1::ProbeResult& result,
                                       Incoming& incoming) {
  const ProbeCall& asked = calls_[static_cast<size_t>(call)];
  if (result.target_index() < 0 || result.variant_index() < 0 ||
      result.target_index() >= std::ssize(asked.targets) ||
      result.variant_index() >= std::ssize(asked.variants)) {
    return absl::InternalError(
        "the worker gave a probe of a target or variant that was not asked "
        "for; are both of the same version?");
  }
  incoming.has_current = true;
  *incoming.current.mutable_place() = result.place();
  v1::ProbeResult& own = *incoming.current.add_probes();
  own = result;
  own.set_target_index(
      asked.targets[static_cast<size_t>(result.target_index())]);
  own.set_variant_index(
      asked.variants[static_cast<size_t>(result.variant_index())]);
  for (v1::ProbeTransfer& transfer : *own.mutable_transfers()) {
    transfer.set_variant_index(
        asked.variants[static_cast<size_t>(transfer.variant_index())]);
  }
  return absl::OkStatus();
}

absl::Status ProbesAttempt::RecordComplete(int call, Incoming& incoming) {
  if (incoming.has_current) {
    incoming.current.set_call_index(call);
    const std::string place = PlaceName(incoming.current.place());
    incoming.complete[place] = std::exchange(incoming.current, {});
    incoming.has_current = false;
  }
  while (records_.size() < (static_cast<size_t>(call) + 1) * places_.size()) {
    const size_t at = records_.size() % places_.size();
    const auto next = incoming.complete.find(PlaceName(places_[at]));
    if (next == incoming.complete.end()) break;
    ProbesRecord record = std::move(next->second);
    incoming.complete.erase(next);
    // Once for each call, whichever attempt makes it.
    if (at == 0) {
      record.mutable_folds()->Assign(incoming.folds.begin(),
                                     incoming.folds.end());
    }
    RETURN_IF_ERROR(Record(absl::MakeConstSpan(&record, 1)));
    records_.push_back(std::move(record));
  }
  return absl::OkStatus();
}

absl::Status ProbesAttempt::CheckSummary(
    int call, const v1::TrainProbesSummary& summary) {
  if (plan_.source.has_value()) return absl::OkStatus();
  const ProbeCall& asked = calls_[static_cast<size_t>(call)];
  if (summary.provenance_size() != std::ssize(asked.variants)) {
    return absl::InternalError("the worker did not say which networks it read");
  }
  std::vector<v1::Provenance> now(networks_.all().begin(),
                                  networks_.all().end());
  for (int i = 0; i < summary.provenance_size(); ++i) {
    now[static_cast<size_t>(asked.variants[static_cast<size_t>(i)])] =
        summary.provenance(i);
  }
  return networks_.Keep(now, recorded_count());
}

absl::Status ProbesAttempt::WriteFiles() {
  outcome_.places = records_;
  nlohmann::json variants = nlohmann::json::array();
  for (size_t v = 0; v < plan_.variants.size(); ++v) {
    nlohmann::json own = VariantJson(plan_.variants[v], networks_.all()[v]);
    own["name"] = outcome_.variants[v];
    variants.push_back(std::move(own));
  }
  nlohmann::json targets = nlohmann::json::array();
  for (const ProbeQuestion& question : plan_.questions) {
    targets.push_back(
        {{"name", question.name}, {"classes", question.class_names}});
  }
  nlohmann::json places = nlohmann::json::array();
  for (const v1::SiteRef& place : places_) places.push_back(PlaceName(place));
  const std::string data = DataOf(spec_, plan_);
  return AddFiles(
      parts_.job, ProbeFiles(outcome_),
      {{"kind", "train_probes"},
       {"data",
        {{"name", spec_.data_name()},
         {"sha256", Sha256Of(data)},
         {"row_count", plan_.set.inputs.size()}}},
       {"activations_job", spec_.activations_job()},
       {"targets", std::move(targets)},
       {"options", OptionsJson(spec_.options())},
       {"scoring", plan_.set.kind == PromptKind::kQuestions
                       ? nlohmann::json(McqScoringName(plan_.scoring))
                       : nlohmann::json()},
       {"places", std::move(places)},
       {"seed", networks_.all().empty() ? 0 : networks_.all()[0].seed()},
       {"variants", std::move(variants)}});
}

}  // namespace dissonance
