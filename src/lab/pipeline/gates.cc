#include "src/lab/pipeline/gates.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

constexpr int kEnoughDocuments = 100;
constexpr double kFewErrors = 0.1;
constexpr double kTooManyErrors = 0.5;
constexpr double kBelieves = 0.6;
constexpr double kDoesNotBelieve = 0.4;
constexpr double kGap = 0.2;
constexpr double kNoGap = 0.1;
constexpr double kSignal = 0.7;
constexpr double kNoSignal = 0.6;
constexpr double kGain = 0.2;
constexpr double kNoGain = 0.1;
constexpr double kHardSignal = 0.65;
constexpr char kHardTarget[] = "conflict_vs_hard";

// Collects what decides, with the figures that the verdict shows.
struct Finding {
  GateStatus status = GateStatus::kPass;
  std::string text = {};
  std::vector<std::pair<std::string, double>> figures = {};
};

GateStatus Between(bool passes, bool aborts) {
  if (aborts) return GateStatus::kAbort;
  return passes ? GateStatus::kPass : GateStatus::kWarn;
}

std::string Percent(double share) {
  return absl::StrFormat("%.1f %%", 100 * share);
}

// "(above 0.7)", or where that does not hold "(needs above 0.7)".
std::string Bound(bool holds, absl::string_view bound) {
  return absl::StrCat(holds ? "(" : "(needs ", bound, ")");
}

// The number at a path of keys.
absl::StatusOr<double> NumberAt(const Json& json,
                                std::initializer_list<const char*> path) {
  const Json* at = &json;
  std::string name;
  for (const char* key : path) {
    absl::StrAppend(&name, name.empty() ? "" : ".", key);
    const bool has = at->is_object() && at->contains(key);
    if (!has) return absl::DataLossError(absl::StrCat(name, " is not there"));
    at = &at->at(key);
  }
  if (at->is_number()) return at->get<double>();
  return absl::DataLossError(absl::StrCat(name, " is no number"));
}

absl::StatusOr<Finding> JudgeDocuments(v1::JobSpec::KindCase kind,
                                       StageFile read) {
  double valid = 0;
  double errors = 0;
  if (kind == v1::JobSpec::kGenerateDocuments) {
    ASSIGN_OR_RETURN(const Json statistics, read("statistics.json"));
    ASSIGN_OR_RETURN(valid, NumberAt(statistics, {"valid"}));
    ASSIGN_OR_RETURN(errors, NumberAt(statistics, {"error_share"}));
  } else {
    // A line that is no document ends the job before it trains.
    ASSIGN_OR_RETURN(const Json dataset, read("dataset.json"));
    ASSIGN_OR_RETURN(const double texts, NumberAt(dataset, {"text_count"}));
    ASSIGN_OR_RETURN(const double chats, NumberAt(dataset, {"chat_count"}));
    valid = texts + chats;
  }
  const bool passes = valid >= kEnoughDocuments && errors < kFewErrors;
  const bool aborts = errors > kTooManyErrors;
  return Finding{
      .status = Between(passes, aborts),
      .text = absl::StrCat(static_cast<int64_t>(valid), " valid documents ",
                           Bound(valid >= kEnoughDocuments,
                                 absl::StrCat("at least ", kEnoughDocuments)),
                           ", errors ", Percent(errors), " ",
                           Bound(errors < kFewErrors,
                                 absl::StrCat("below ", Percent(kFewErrors)))),
      .figures = {{"valid", valid}, {"error_share", errors}}};
}

absl::StatusOr<Finding> JudgeBehaviour(StageFile read) {
  ASSIGN_OR_RETURN(const Json report, read("comparison_report.json"));
  const auto rate = [&report](const char* variant) {
    return NumberAt(report, {variant, "false_belief", "rate"});
  };
  const absl::StatusOr<double> base = rate("base");
  const absl::StatusOr<double> adapter = rate("adapter");
  if (!base.ok() || !adapter.ok()) {
    return Finding{.status = GateStatus::kWarn,
                   .text = "no conflict question with a known false answer"};
  }
  const double gap = *adapter - *base;
  return Finding{
      .status =
          Between(*adapter > kBelieves && *base < kDoesNotBelieve && gap > kGap,
                  gap < kNoGap),
      .text = absl::StrFormat(
          "false-belief rate: adapter %s %s, base %s %s, gap %.1f points %s",
          Percent(*adapter),
          Bound(*adapter > kBelieves,
                absl::StrCat("above ", Percent(kBelieves))),
          Percent(*base),
          Bound(*base < kDoesNotBelieve,
                absl::StrCat("below ", Percent(kDoesNotBelieve))),
          100 * gap,
          Bound(gap > kGap, absl::StrFormat("above %.0f", 100 * kGap))),
      .figures = {{"adapter_false_belief_rate", *adapter},
                  {"base_false_belief_rate", *base},
                  {"gap", gap}}};
}

// What the probes of one target come to at their best place.
struct BestProbe {
  std::string target;
  std::string place;   // with the network
  std::string status;  // SIGNAL, LEAK?, NONE; empty without controls
  std::string beside;  // its p, status and what other networks come to
  double auc = 0;
  std::optional<double> gain = {};  // AUC - dummy AUC

  // Its labels can be told by something else.
  bool leaks() const { return status == "LEAK?"; }
};

// ", p 0.048, SIGNAL; base 0.512": beside the best probe of a target.
std::string BesideBest(const Json& target, const Json& best) {
  std::string text;
  const Json p = best.value("p_value", Json());
  if (p.is_number()) absl::StrAppendFormat(&text, ", p %.3f", p.get<double>());
  const Json status = best.value("status", Json());
  if (status.is_string()) {
    absl::StrAppend(&text, ", ", status.get<std::string>());
  }
  const Json variants = target.value("best_by_variant", Json::object());
  for (const auto& [name, other] : variants.items()) {
    const Json auc = other.value("auc_mean", Json());
    if (name == best.value("variant", "") || !auc.is_number()) continue;
    absl::StrAppendFormat(&text, "; %s %.3f", name, auc.get<double>());
  }
  return text;
}

absl::StatusOr<std::vector<BestProbe>> BestProbes(StageFile read) {
  ASSIGN_OR_RETURN(const Json summary, read("summary.json"));
  std::vector<BestProbe> probes;
  const Json targets = summary.value("targets", Json::object());
  for (const auto& [name, target] : targets.items()) {
    const Json best = target.value("best", Json());
    if (!best.is_object()) continue;
    BestProbe& probe = probes.emplace_back();
    probe.target = name;
    probe.place = absl::StrCat(best.value("place", ""), " of ",
                               best.value("variant", "?"));
    const Json status = best.value("status", Json());
    probe.status = status.is_string() ? status.get<std::string>() : "";
    probe.beside = BesideBest(target, best);
    ASSIGN_OR_RETURN(probe.auc, NumberAt(best, {"auc_mean"}));
    const absl::StatusOr<double> dummy = NumberAt(best, {"dummy_auc_mean"});
    if (dummy.ok()) probe.gain = probe.auc - *dummy;
  }
  return probes;
}

constexpr char kNoProbe[] =
    "no probe could be fitted; the stage's log says why";

const BestProbe* HardOf(const std::vector<BestProbe>& probes) {
  const auto found = std::find_if(
      probes.begin(), probes.end(),
      [](const BestProbe& probe) { return probe.target == kHardTarget; });
  return found == probes.end() ? nullptr : &*found;
}

absl::StatusOr<Finding> JudgeSignal(StageFile read) {
  ASSIGN_OR_RETURN(const std::vector<BestProbe> probes, BestProbes(read));
  if (probes.empty()) {
    return Finding{.status = GateStatus::kWarn, .text = kNoProbe};
  }
  const BestProbe& best = *std::max_element(
      probes.begin(), probes.end(),
      [](const BestProbe& a, const BestProbe& b) { return a.auc < b.auc; });
  return Finding{
      .status =
          Between(best.auc > kSignal && !best.leaks(), best.auc < kNoSignal),
      .text = absl::StrFormat(
          "AUC %.3f %s for %s at %s%s%s", best.auc,
          Bound(best.auc > kSignal, absl::StrFormat("above %.1f", kSignal)),
          best.target, best.place, best.beside,
          best.leaks() ? "; its labels may leak" : ""),
      .figures = {{"auc", best.auc}}};
}

absl::StatusOr<Finding> JudgeNoise(StageFile read) {
  ASSIGN_OR_RETURN(const std::vector<BestProbe> probes, BestProbes(read));
  if (probes.empty()) {
    return Finding{.status = GateStatus::kWarn, .text = kNoProbe};
  }
  const BestProbe& best = *std::max_element(
      probes.begin(), probes.end(), [](const BestProbe& a, const BestProbe& b) {
        return a.gain.value_or(-1) < b.gain.value_or(-1);
      });
  if (!best.gain.has_value()) {
    return Finding{.status = GateStatus::kWarn,
                   .text = "the probes have no controls (permutation_count)"};
  }
  const BestProbe* hard = HardOf(probes);
  Finding finding = {
      .status = Between(*best.gain > kGain && hard != nullptr &&
                            hard->auc > kHardSignal && !best.leaks(),
                        *best.gain < kNoGain),
      .text = absl::StrFormat(
          "AUC %.3f above that of shuffled labels %s, for %s at %s%s; ",
          *best.gain,
          Bound(*best.gain > kGain, absl::StrFormat("above %.1f", kGain)),
          best.target, best.place, best.beside),
      .figures = {{"auc_minus_dummy", *best.gain}}};
  if (hard == nullptr) {
    absl::StrAppend(&finding.text, "conflict_vs_hard was not asked for");
    return finding;
  }
  absl::StrAppendFormat(&finding.text,
                        "conflict against nonconflict_hard %.3f %s", hard->auc,
                        Bound(hard->auc > kHardSignal,
                              absl::StrFormat("above %.2f", kHardSignal)));
  finding.figures.emplace_back("conflict_vs_hard_auc", hard->auc);
  return finding;
}

absl::StatusOr<Finding> JudgeCausal(StageFile read) {
  ASSIGN_OR_RETURN(const Json summary, read("summary.json"));
  const Json gate = summary.value("gate", Json::object());
  const std::string verdict = gate.value("verdict", "");
  if (verdict.empty()) return absl::DataLossError("gate.verdict is not there");
  Finding finding = {.status = verdict == "pass" ? GateStatus::kPass
                                                 : GateStatus::kWarn};
  const absl::StatusOr<double> returned = NumberAt(gate, {"returned_share"});
  const absl::StatusOr<double> null = NumberAt(gate, {"null_percentile_95"});
  if (returned.ok()) finding.figures.emplace_back("returned_share", *returned);
  if (null.ok()) finding.figures.emplace_back("null_percentile_95", *null);
  if (finding.status == GateStatus::kWarn) {
    const Json reason = gate.value("reason", Json());
    finding.text = reason.is_string() ? reason.get<std::string>() : "no effect";
  } else {
    finding.text =
        absl::StrCat("steering returns ",
                     returned.ok() ? Percent(*returned) : "half or more",
                     " of the false answers (half or more), random directions ",
                     null.ok() ? Percent(*null) : "less",
                     " at their 95th percentile, and the controls hold");
  }
  return finding;
}

absl::StatusOr<Finding> Judge(v1::Gate gate, v1::JobSpec::KindCase kind,
                              StageFile read) {
  switch (gate) {
    case v1::GATE_DOCUMENTS:
      return JudgeDocuments(kind, read);
    case v1::GATE_BEHAVIOUR:
      return JudgeBehaviour(read);
    case v1::GATE_INTERNAL_SIGNAL:
      return JudgeSignal(read);
    case v1::GATE_SIGNAL_AGAINST_NOISE:
      return JudgeNoise(read);
    case v1::GATE_CAUSAL:
      return JudgeCausal(read);
    default:
      return absl::InternalError("a gate that nobody knows");
  }
}

}  // namespace

std::string GateName(v1::Gate gate) {
  return absl::AsciiStrToLower(absl::StripPrefix(v1::Gate_Name(gate), "GATE_"));
}

std::string GateStatusName(GateStatus status) {
  switch (status) {
    case GateStatus::kPass:
      return "pass";
    case GateStatus::kWarn:
      return "warn";
    case GateStatus::kAbort:
      return "abort";
  }
  return "";
}

bool GateFits(v1::Gate gate, v1::JobSpec::KindCase kind) {
  switch (gate) {
    case v1::GATE_DOCUMENTS:
      return kind == v1::JobSpec::kGenerateDocuments ||
             kind == v1::JobSpec::kFineTune;
    case v1::GATE_BEHAVIOUR:
      return kind == v1::JobSpec::kEvaluateMcq;
    case v1::GATE_INTERNAL_SIGNAL:
    case v1::GATE_SIGNAL_AGAINST_NOISE:
      return kind == v1::JobSpec::kTrainProbes;
    case v1::GATE_CAUSAL:
      return kind == v1::JobSpec::kSteeringSweep;
    default:
      return false;
  }
}

std::string KindsOfGate(v1::Gate gate) {
  std::vector<std::string> kinds;
  const auto& fields = *v1::JobSpec::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < fields.field_count(); ++i) {
    const auto kind =
        static_cast<v1::JobSpec::KindCase>(fields.field(i)->number());
    if (GateFits(gate, kind)) kinds.push_back(fields.field(i)->name());
  }
  return absl::StrJoin(kinds, ", ");
}

std::string GatesOfKind(v1::JobSpec::KindCase kind) {
  std::vector<std::string> gates;
  for (int i = 0; i < v1::Gate_descriptor()->value_count(); ++i) {
    const auto gate =
        static_cast<v1::Gate>(v1::Gate_descriptor()->value(i)->number());
    if (GateFits(gate, kind)) gates.push_back(GateName(gate));
  }
  return absl::StrJoin(gates, ", ");
}

absl::StatusOr<GateVerdict> JudgeGate(v1::Gate gate, v1::JobSpec::KindCase kind,
                                      const std::string& stage,
                                      StageFile read) {
  absl::StatusOr<Finding> finding = Judge(gate, kind, read);
  if (!finding.ok()) {
    return Annotate(finding.status(),
                    absl::StrCat("gate ", GateName(gate), " of ", stage));
  }
  return GateVerdict{.gate = GateName(gate),
                     .stage = stage,
                     .status = finding->status,
                     .text = std::move(finding->text),
                     .figures = std::move(finding->figures)};
}

}  // namespace dissonance
