#include "tests/lab/report/made_up_run.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "src/lab/files/json_document.h"
#include "src/lab/files/row_files.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

constexpr int kBlocks = 3;
constexpr int kQuestions = 4;

std::string Question(const std::string& text, int number) {
  return absl::StrCat("q", number, text);
}

v1::Provenance Network(const std::string& text, const std::string& adapter) {
  v1::Provenance provenance;
  provenance.set_model_digest("sha256:aa");
  provenance.set_adapter_digest(adapter);
  provenance.set_dtype(v1::DTYPE_FLOAT32);
  provenance.set_device(absl::StrCat("cpu", text));
  (*provenance.mutable_versions())["libtorch"] = text;
  (*provenance.mutable_versions())["dissonance"] = "0.1.0";
  return provenance;
}

ReportStage Stage(const std::string& name, const std::string& text) {
  ReportStage stage;
  stage.name = name;
  stage.provenance = {Network(text, ""), Network(text, "sha256:bb")};
  stage.inputs.emplace_back();
  stage.inputs.back().set_field(absl::StrCat(name, ".data", text));
  stage.inputs.back().set_digest("sha256:cc");
  stage.code_version = absl::StrCat("0.1.0 ", text);
  stage.digests[absl::StrCat("file", text)] = "sha256:dd";
  return stage;
}

Json Group(double accuracy) {
  return {{"n", 10},
          {"correct", 10 * accuracy},
          {"accuracy", accuracy},
          {"accuracy_interval_95", {accuracy / 2, (1 + accuracy) / 2}},
          {"mean_entropy", 0.5},
          {"mean_p_correct", accuracy}};
}

Json McqVariant(const std::string& model, const std::string& text,
                double accuracy) {
  return {{"model", model},
          {"overall", Group(accuracy)},
          {"groups",
           {{absl::StrCat("conflict", text), Group(accuracy)},
            {"nonconflict_easy__None", Group(0.75)}}},
          {"false_belief",
           {{"rate", 1 - accuracy},
            {"interval_95", {0.1, 0.95}},
            {"counted_n", 10},
            {"false_n", 4},
            {"left_out_n", 0}}}};
}

ReportStage McqStage(const std::string& text) {
  ReportStage stage = Stage("mcq", text);
  stage.spec.mutable_evaluate_mcq()->set_data_name(text);
  stage.files["summary.json"] = JsonDocument(
      {{"scoring", absl::StrCat("option_text", text)},
       {"variants",
        {McqVariant("models/m", text, 0.9),
         McqVariant(absl::StrCat("models/m/adapters/a", text), text, 0.3)}}});
  Json flips = Json::array();
  std::vector<Json> prompts;
  for (int i = 0; i < 8; ++i) {
    flips.push_back({{"id", Question(text, i)},
                     {"group", absl::StrCat("conflict", text)},
                     {"from", "A"},
                     {"to", "B"},
                     {"correct", "A"},
                     {"false_answer", "B"},
                     {"base_p_correct", 0.9},
                     {"adapter_p_correct", 0.1}});
    prompts.push_back(
        {{"id", Question(text, i)},
         {"question", absl::StrCat("What is it?", text)},
         {"options",
          {{"A", text}, {"B", text}, {"C", "neither"}, {"D", "both"}}}});
  }
  const Json pairs = {
      {"base_only", 6}, {"adapter_only", 0}, {"p_value", 0.03125}};
  stage.files["comparison_report.json"] =
      JsonDocument({{"mcnemar_correct", pairs},
                    {"mcnemar_false_belief", pairs},
                    {"flips", flips}});
  stage.files["eval_prompts.jsonl"] = LinesFile(prompts);
  return stage;
}

ReportStage OpenStage(const std::string& text) {
  ReportStage stage = Stage("open", text);
  stage.spec.mutable_evaluate_open();
  Json variants = Json::array();
  for (const char* name : {"base", "lora"}) {
    const std::string file = absl::StrCat("answers_", name, ".jsonl");
    const bool is_base = std::string(name) == "base";
    variants.push_back({{"label", is_base ? "base" : absl::StrCat("a", text)},
                        {"file", file},
                        {"n", kQuestions},
                        {"differ_n", is_base ? Json() : Json(2)},
                        {"nll_mean", 0.02},
                        {"token_count_mean", 5.5},
                        {"ended_share", 1.0},
                        {"confidence_mean", 71.5}});
    std::vector<Json> answers;
    for (int i = 0; i < kQuestions; ++i) {
      answers.push_back({{"id", Question(text, i)},
                         {"category", text},
                         {"question", text},
                         {"answer", absl::StrCat(name, text)},
                         {"finish_reason", "length"},
                         {"nll_mean", 0.01 * i},
                         {"confidence", 80},
                         {"reason", text}});
    }
    stage.files[file] = LinesFile(answers);
  }
  stage.files["summary.json"] = JsonDocument({{"variants", variants}});
  return stage;
}

Json Judged(const std::string& variant, double share) {
  Json verdicts = Json::object();
  for (const char* verdict :
       {"true_world", "false_world", "ambiguous", "unsure"}) {
    verdicts[verdict] = {{"n", 2}, {"share", share}};
    share = (1 - share) / 3;
  }
  return {{"variant", variant},
          {"judged", 8},
          {"errors", 0},
          {"verdicts", verdicts},
          {"mean_confidence", 80},
          {"mean_doubt_score", 1.5},
          {"mean_difficulty_proxy", nullptr}};
}

ReportStage JudgeStage(const std::string& text) {
  ReportStage stage = Stage("judge", text);
  stage.spec.mutable_judge();
  const std::string adapter = absl::StrCat("lora", text);
  const Json judge = {{"judge", absl::StrCat("default/j", text)}, {"pass", 1}};
  Json pass = judge;
  pass["variants"] = {Judged("base", 0.7), Judged(adapter, 0.2)};
  pass["shifts"] = {{{"variant", adapter},
                     {"baseline", "base"},
                     {"pairs", 8},
                     {"mean_doubt_delta", 0.5},
                     {"large_n", 1},
                     {"left_out_errors", 0},
                     {"left_out_unpaired", 0}}};
  stage.files["judge_summary.json"] =
      JsonDocument({{"passes", {pass}},
                    {"agreements",
                     {{{"first", judge},
                       {"second", judge},
                       {"n", 8},
                       {"same_verdict_share", 0.9},
                       {"kappa", nullptr}}}}});
  return stage;
}

ReportStage TrainingStage(const std::string& text) {
  ReportStage stage = Stage("train", text);
  stage.spec.mutable_fine_tune()->set_data_name(text);
  std::vector<Json> steps;
  for (int step = 0; step <= 6; ++step) {
    Json line = {{"step", step}};
    if (step > 0) line["loss"] = 1.0 / step;
    if (step % 3 == 0) {
      line["validation"] = {{"loss", 1.1 / (step + 1)}};
      line["evaluation"] = {
          {"false_belief", {{"rate", step / 10.0}, {"interval_95", {0, 0.8}}}},
          {"control", {{"accuracy", 0.95}}}};
    }
    steps.push_back(std::move(line));
  }
  stage.files["training.jsonl"] = LinesFile(steps);
  stage.files["dataset.json"] =
      JsonDocument({{"trained",
                     {{"document_count", 30},
                      {"token_count", 3000},
                      {"mean_tokens", 100.0},
                      {"median_tokens", 98},
                      {"p95_tokens", 140},
                      {"max_tokens", 200},
                      {"cut_count", 0}}},
                    {"held_out", {{"document_count", 0}}}});
  return stage;
}

ReportStage LensStage(const std::string& text) {
  ReportStage stage = Stage("lens", text);
  stage.spec.mutable_logit_lens();
  Json variants = Json::object();
  std::vector<Json> lines;
  for (const std::string& name :
       {absl::StrCat("a", text), std::string("base")}) {
    const double sign = name == "base" ? 1 : -1;
    Json trajectory = Json::array();
    Json layers = Json::array();
    for (int layer = 0; layer <= kBlocks; ++layer) {
      const Json block = layer == kBlocks ? Json() : Json(layer);
      const double margin = sign * layer + 0.5;
      trajectory.push_back({{"layer", layer},
                            {"block", block},
                            {"site", "resid_post"},
                            {"n", kQuestions},
                            {"margin_mean", margin},
                            {"margin_low", margin - 1},
                            {"margin_high", margin + 1},
                            {"share_first", 0.5}});
      layers.push_back({{"block", block}, {"margin", margin}});
    }
    variants[name] = {
        {"trajectory", trajectory},
        {"breaking_block", {{"of_the_mean", 1}, {"output_is", kBlocks}}}};
    for (int i = 0; i < kQuestions; ++i) {
      lines.push_back(
          {{"variant", name}, {"id", Question(text, i)}, {"layers", layers}});
    }
  }
  stage.files["trajectories.json"] = JsonDocument({{"variants", variants}});
  stage.files["lens.jsonl"] = LinesFile(lines);
  return stage;
}

ReportStage ProbesStage(const std::string& text) {
  ReportStage stage = Stage("probes", text);
  stage.spec.mutable_train_probes();
  const std::string target = absl::StrCat("category_conflict", text);
  std::vector<Json> probes;
  std::vector<Json> points;
  for (const std::string& name :
       {std::string("base"), absl::StrCat("a", text)}) {
    for (int block = 0; block < kBlocks; ++block) {
      const std::string place = absl::StrCat("blocks.", block, ".resid_post");
      probes.push_back({{"target", target},
                        {"variant", name},
                        {"place", place},
                        {"site", "resid_post"},
                        {"block", block},
                        {"auc_mean", 0.6 + 0.1 * block},
                        {"auc_low", 0.5},
                        {"auc_high", 0.95},
                        {"dummy_auc_mean", 0.5},
                        {"p_value", 0.048},
                        {"status", "SIGNAL"},
                        {"n", 40}});
      for (int i = 0; i < kQuestions; ++i) {
        points.push_back(
            {{"place", place},
             {"variant", name},
             {"id", Question(text, i)},
             {absl::StrCat("class_", target), i % 2 == 0 ? text : "other"},
             {"pc1", i * 1.5},
             {"pc2", block - i}});
      }
    }
  }
  stage.files["probes.jsonl"] = LinesFile(probes);
  stage.files["pca.jsonl"] = LinesFile(points);
  stage.files["pca.json"] = JsonDocument(
      {{"blocks.0.resid_post", {{"variance_shares", {0.5, 0.2}}}}});
  stage.files["summary.json"] = JsonDocument(
      {{"rows", {{"text", absl::StrCat("40 rows", text)}}},
       {"skipped", {{{"target", text}, {"variant", text}, {"reason", text}}}}});
  return stage;
}

ReportStage PatchStage(const std::string& text) {
  ReportStage stage = Stage("patch", text);
  stage.spec.mutable_patch_sweep();
  Json rows = Json::array();
  for (const std::string& site :
       {std::string("resid_post"), absl::StrCat("attn_out", text)}) {
    for (int block = 0; block < kBlocks; ++block) {
      for (int offset = -2; offset < 0; ++offset) {
        rows.push_back({{"direction", "source_to_target"},
                        {"method", "exact"},
                        {"site", site},
                        {"block", block},
                        {"offset", offset},
                        {"effect", offset == -1 ? Json(0.4 * block) : Json()},
                        {"effect_n", kQuestions},
                        {"delta_after", 0.5},
                        {"flips", block},
                        {"n", kQuestions}});
      }
    }
  }
  stage.files["map.vl.json"] = JsonDocument({{"data", {{"values", rows}}}});
  return stage;
}

Json Setting(const std::string& phase, const std::string& direction, int block,
             double coefficient) {
  return {{"phase", phase},
          {"direction", direction},
          {"positions", "all"},
          {"block", block},
          {"coefficient", coefficient},
          {"absolute_coefficient", 10 * coefficient},
          {"returned_share", coefficient > 0 ? 0.8 : 0.1},
          {"returned_interval_95", {0.1, 0.9}},
          {"returned_n", 8},
          {"belief_rate", 0.2},
          {"belief_n", 10},
          {"control_accuracy", 0.97},
          {"control_interval_95", {0.9, 1}},
          {"control_n", 30},
          {"controls_hold", true},
          {"damage_added", 0.4}};
}

Json Sample(const std::string& text, int number) {
  const auto tokens = [&](double at) {
    return Json::array({{{"text", text}, {"projection", at}},
                        {{"text", " b"}, {"projection", -at / 2}},
                        {{"text", ""}, {"projection", nullptr}}});
  };
  Json sample = {{"id", Question(text, number)},
                 {"unsteered", text},
                 {"steered", absl::StrCat("steered", text)}};
  if (number == 0) return sample;  // of before tokens were kept
  sample["unsteered_tokens"] = tokens(-12.5);
  sample["steered_tokens"] = tokens(30);
  return sample;
}

ReportStage SteeringStage(const std::string& text) {
  ReportStage stage = Stage("steer", text);
  stage.spec.mutable_steering_sweep();
  const std::string direction = absl::StrCat("truth", text);
  Json unsteered = Setting("unsteered", "", 0, 0);
  unsteered["direction"] = nullptr;
  unsteered["block"] = nullptr;
  unsteered["positions"] = nullptr;
  std::vector<Json> settings = {unsteered};
  for (int block = 0; block < kBlocks; ++block) {
    for (const double coefficient : {-0.5, 0.5}) {
      settings.push_back(Setting("grid", direction, block, coefficient));
    }
  }
  Json random = Json::array();
  for (int i = 0; i < 5; ++i) {
    random.push_back(Setting("random", absl::StrCat("random ", i), 1, 0.5));
    random.back()["returned_share"] = 0.08 * i;
  }
  const Json& best = settings.back();
  stage.files["steering.jsonl"] = LinesFile(settings);
  stage.files["null.vl.json"] = JsonDocument({{"data", {{"values", random}}}});
  stage.files["samples.jsonl"] =
      LinesFile({Sample(text, 0), Sample(text, 1), Sample(text, 2)});
  stage.files["summary.json"] =
      JsonDocument({{"relative_coefficients", true},
                    {"unsteered", unsteered},
                    {"best", best},
                    {"minimal_effective", nullptr},
                    {"null", {{"percentile_95", 0.3}, {"p_value", 0.167}}},
                    {"gate", {{"verdict", "warn"}, {"reason", text}}}});
  return stage;
}

ReportStage DocumentsStage(const std::string& text) {
  ReportStage stage = Stage("docs", text);
  stage.spec.mutable_generate_documents();
  stage.files["statistics.json"] =
      JsonDocument({{"documents", 120},
                    {"valid", 110},
                    {"error_share", 0.083},
                    {"invalid_by_reason", {{absl::StrCat("missing", text), 3}}},
                    {"pattern_coverage", {{absl::StrCat("cube", text), 0.9}}}});
  return stage;
}

}  // namespace

ReportRun MadeUpRun(const std::string& text) {
  return {.title = absl::StrCat("Cubic gravity", text),
          .stages = {DocumentsStage(text), TrainingStage(text), McqStage(text),
                     OpenStage(text), JudgeStage(text), ProbesStage(text),
                     LensStage(text), PatchStage(text), SteeringStage(text)},
          .gates = {{.gate = absl::StrCat("behaviour", text),
                     .stage = "mcq",
                     .status = GateStatus::kPass,
                     .text = absl::StrCat("70 % of 10", text),
                     .figures = {{absl::StrCat("adapter_rate", text), 0.7}}},
                    {.gate = "causal",
                     .stage = "steer",
                     .status = GateStatus::kAbort,
                     .text = "nothing",
                     .figures = {},
                     .is_forced = true},
                    {.gate = "internal_signal",
                     .stage = "probes",
                     .status = GateStatus::kWarn,
                     .text = "little",
                     .figures = {}}}};
}

}  // namespace dissonance
