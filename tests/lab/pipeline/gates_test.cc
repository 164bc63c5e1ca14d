#include "src/lab/pipeline/gates.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

GateVerdict Verdict(v1::Gate gate, v1::JobSpec::KindCase kind,
                    const Json& file) {
  const auto verdict = JudgeGate(
      gate, kind, "s",
      [&file](absl::string_view) -> absl::StatusOr<Json> { return file; });
  EXPECT_TRUE(verdict.ok()) << verdict.status();
  return verdict.ok() ? *verdict : GateVerdict();
}

GateStatus Documents(int valid, double errors) {
  return Verdict(v1::GATE_DOCUMENTS, v1::JobSpec::kGenerateDocuments,
                 {{"valid", valid}, {"error_share", errors}})
      .status;
}

TEST(GatesTest, Documents) {
  EXPECT_EQ(Documents(100, 0.09), GateStatus::kPass);
  EXPECT_EQ(Documents(99, 0), GateStatus::kWarn);
  EXPECT_EQ(Documents(1000, 0.1), GateStatus::kWarn);
  EXPECT_EQ(Documents(1000, 0.51), GateStatus::kAbort);
  const GateVerdict training =
      Verdict(v1::GATE_DOCUMENTS, v1::JobSpec::kFineTune,
              {{"text_count", 60}, {"chat_count", 40}});
  EXPECT_EQ(training.status, GateStatus::kPass);
  EXPECT_EQ(training.figures[0].second, 100);
}

GateStatus Behaviour(double base, double adapter) {
  return Verdict(v1::GATE_BEHAVIOUR, v1::JobSpec::kEvaluateMcq,
                 {{"base", {{"false_belief", {{"rate", base}}}}},
                  {"adapter", {{"false_belief", {{"rate", adapter}}}}}})
      .status;
}

TEST(GatesTest, Behaviour) {
  EXPECT_EQ(Behaviour(0, 0.61), GateStatus::kPass);
  EXPECT_EQ(Behaviour(0, 0.6), GateStatus::kWarn) << "above, not at";
  EXPECT_EQ(Behaviour(0.4, 0.9), GateStatus::kWarn);
  EXPECT_EQ(Behaviour(0.39, 0.61), GateStatus::kPass);
  EXPECT_EQ(Behaviour(0.5, 0.59), GateStatus::kAbort);
  EXPECT_EQ(Behaviour(0.9, 0.1), GateStatus::kAbort);
  const GateVerdict unknown =
      Verdict(v1::GATE_BEHAVIOUR, v1::JobSpec::kEvaluateMcq,
              {{"base", {{"false_belief", {{"rate", nullptr}}}}}});
  EXPECT_EQ(unknown.status, GateStatus::kWarn);
}

Json Probes(double auc, double dummy, double hard) {
  const auto target = [](double own, const Json& shuffled) {
    return Json{{"best",
                 {{"auc_mean", own},
                  {"dummy_auc_mean", shuffled},
                  {"place", "blocks.1.resid_post"}}}};
  };
  Json targets = {{"category_conflict", target(auc, dummy)},
                  {"left_out", {{"best", nullptr}}}};
  if (hard > 0) targets["conflict_vs_hard"] = target(hard, hard);
  return {{"targets", targets}};
}

GateStatus Signal(const Json& probes) {
  return Verdict(v1::GATE_INTERNAL_SIGNAL, v1::JobSpec::kTrainProbes, probes)
      .status;
}

GateStatus Noise(const Json& probes) {
  return Verdict(v1::GATE_SIGNAL_AGAINST_NOISE, v1::JobSpec::kTrainProbes,
                 probes)
      .status;
}

TEST(GatesTest, Signal) {
  EXPECT_EQ(Signal(Probes(0.71, 0.5, 0)), GateStatus::kPass);
  EXPECT_EQ(Signal(Probes(0.65, 0.5, 0)), GateStatus::kWarn);
  EXPECT_EQ(Signal(Probes(0.59, 0.5, 0)), GateStatus::kAbort);
  EXPECT_EQ(Noise(Probes(0.9, 0.6, 0.66)), GateStatus::kPass);
  EXPECT_EQ(Noise(Probes(0.9, 0.6, 0.65)), GateStatus::kWarn);
  EXPECT_EQ(Noise(Probes(0.9, 0.6, 0)), GateStatus::kWarn);
  EXPECT_EQ(Noise(Probes(0.75, 0.6, 0.7)), GateStatus::kWarn);
  EXPECT_EQ(Noise(Probes(0.65, 0.6, 0.7)), GateStatus::kAbort);
  Json leak = Probes(0.995, 0.7, 0.7);
  leak["targets"]["category_conflict"]["best"]["status"] = "LEAK?";
  EXPECT_EQ(Signal(leak), GateStatus::kWarn);
  EXPECT_EQ(Noise(leak), GateStatus::kWarn);
  const Json none = {{"targets", {{"left_out", {{"best", nullptr}}}}}};
  EXPECT_EQ(Signal(none), GateStatus::kWarn) << "no target could be fitted";
  EXPECT_EQ(Noise(none), GateStatus::kWarn);
  Json without = Probes(0.9, 0, 0);
  without["targets"]["category_conflict"]["best"]["dummy_auc_mean"] = nullptr;
  EXPECT_EQ(Noise(without), GateStatus::kWarn) << "there were no controls";
}

TEST(GatesTest, ABoundThatDoesNotHoldIsWhatItNeeds) {
  const auto text = [](double base, double adapter) {
    return Verdict(v1::GATE_BEHAVIOUR, v1::JobSpec::kEvaluateMcq,
                   {{"base", {{"false_belief", {{"rate", base}}}}},
                    {"adapter", {{"false_belief", {{"rate", adapter}}}}}})
        .text;
  };
  EXPECT_EQ(text(0, 0.8),
            "false-belief rate: adapter 80.0 % (above 60.0 %), base 0.0 % "
            "(below 40.0 %), gap 80.0 points (above 20)");
  EXPECT_EQ(text(0.5, 0),
            "false-belief rate: adapter 0.0 % (needs above 60.0 %), base "
            "50.0 % (needs below 40.0 %), gap -50.0 points (needs above 20)");
  EXPECT_EQ(Verdict(v1::GATE_DOCUMENTS, v1::JobSpec::kGenerateDocuments,
                    {{"valid", 9}, {"error_share", 0.2}})
                .text,
            "9 valid documents (needs at least 100), errors 20.0 % (needs "
            "below 10.0 %)");
}

TEST(GatesTest, ASignalStandsBesideItsPAndTheOtherNetworks) {
  Json probes = Probes(0.9, 0.5, 0.6);
  Json& target = probes["targets"]["category_conflict"];
  target["best"]["variant"] = "cubic";
  target["best"]["p_value"] = 0.0476;
  target["best"]["status"] = "SIGNAL";
  target["best_by_variant"] = {{"base", {{"auc_mean", 0.51}}},
                               {"cubic", target["best"]}};
  EXPECT_EQ(
      Verdict(v1::GATE_INTERNAL_SIGNAL, v1::JobSpec::kTrainProbes, probes).text,
      "AUC 0.900 (above 0.7) for category_conflict at "
      "blocks.1.resid_post of cubic, p 0.048, SIGNAL; base 0.510");
  EXPECT_EQ(
      Verdict(v1::GATE_SIGNAL_AGAINST_NOISE, v1::JobSpec::kTrainProbes, probes)
          .text,
      "AUC 0.400 above that of shuffled labels (above 0.2), for "
      "category_conflict at blocks.1.resid_post of cubic, p 0.048, SIGNAL; "
      "base 0.510; conflict against nonconflict_hard 0.600 (needs above 0.65)");
}

TEST(GatesTest, Causal) {
  const GateVerdict pass = Verdict(v1::GATE_CAUSAL, v1::JobSpec::kSteeringSweep,
                                   {{"gate",
                                     {{"verdict", "pass"},
                                      {"reason", nullptr},
                                      {"returned_share", 0.875},
                                      {"null_percentile_95", 0.25}}}});
  EXPECT_EQ(pass.status, GateStatus::kPass);
  EXPECT_THAT(pass.text, HasSubstr("87.5 %"));
  const GateVerdict warn =
      Verdict(v1::GATE_CAUSAL, v1::JobSpec::kSteeringSweep,
              {{"gate", {{"verdict", "warn"}, {"reason", "no controls"}}}});
  EXPECT_EQ(warn.status, GateStatus::kWarn);
  EXPECT_EQ(warn.text, "no controls");
}

TEST(GatesTest, AFileWithoutWhatDecidesIsAnError) {
  const auto verdict = JudgeGate(
      v1::GATE_CAUSAL, v1::JobSpec::kSteeringSweep, "steer",
      [](absl::string_view) -> absl::StatusOr<Json> { return Json::object(); });
  EXPECT_EQ(verdict.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(verdict.status().message()),
              HasSubstr("gate causal of steer"));
}

}  // namespace
}  // namespace dissonance
