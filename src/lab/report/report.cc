#include "src/lab/report/report.h"

#include <initializer_list>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "src/base/status_macros.h"
#include "src/lab/report/html.h"
#include "src/lab/report/page.h"
#include "src/lab/report/report_stage.h"
#include "src/lab/report/sections.h"
#include "src/lab/report/stage_sections.h"

namespace dissonance {
namespace {

Section SummarySection(const ReportRun& run,
                       const std::vector<Section>& sections) {
  Section summary = {.id = "summary", .title = "Summary"};
  std::string cards;
  for (const Section& section : sections) {
    for (const Highlight& highlight : section.highlights) {
      absl::StrAppend(&cards, "<li><a class=\"label\" href=\"#", section.id,
                      "\">", Escaped(highlight.label),
                      "</a><span class=\"value\">", Escaped(highlight.value),
                      "</span><span class=\"detail\">",
                      Escaped(highlight.detail), "</span></li>\n");
    }
  }
  if (!cards.empty()) {
    summary.html = absl::StrCat("<ul class=\"cards\">\n", cards, "</ul>\n");
  }
  absl::StrAppend(&summary.html, GatesHtml(run));
  return summary;
}

std::string KindLine(const ReportRun& run) {
  const size_t count = run.stages.size();
  return count == 1
             ? std::string(KindTitle(run.stages.front().spec.kind_case()))
             : absl::StrCat("An experiment of ", count, " stages");
}

std::string MebibytesText(int64_t bytes) {
  return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / (1 << 20));
}

// What the section can't tell of; empty where all was read.
std::string LeftOutNote(const ReportStage& stage) {
  if (stage.left_out.empty()) return "";
  std::vector<std::string> files;
  for (const auto& [name, bytes] : stage.left_out) {
    files.push_back(absl::StrCat(name, " (", MebibytesText(bytes), ")"));
  }
  return Paragraph(
      absl::StrCat("Not told of, as a report takes files of up to ",
                   MebibytesText(kReportFileLimitBytes), ": ",
                   absl::StrJoin(files, ", "), ". The job itself has them."),
      "note");
}

}  // namespace

MaybeSection SectionOf(const StageFiles& files) {
  switch (files.stage().spec.kind_case()) {
    case v1::JobSpec::kGenerateDocuments:
      return DocumentsSection(files);
    case v1::JobSpec::kFineTune:
      return TrainingSection(files);
    case v1::JobSpec::kEvaluateMcq:
      return McqSection(files);
    case v1::JobSpec::kEvaluateOpen:
      return OpenSection(files);
    case v1::JobSpec::kJudge:
      return JudgeSection(files);
    case v1::JobSpec::kLogitLens:
      return LensSection(files);
    case v1::JobSpec::kTrainProbes:
      return ProbesSection(files);
    case v1::JobSpec::kPatchSweep:
      return PatchSection(files);
    case v1::JobSpec::kSteeringSweep:
      return SteeringSection(files);
    // Their results are inputs of other stages.
    case v1::JobSpec::kExtractActivations:
    case v1::JobSpec::kFitDirections:
    case v1::JobSpec::kPipeline:
    case v1::JobSpec::KIND_NOT_SET:
      break;
  }
  return std::nullopt;
}

std::string TitleOf(const ReportRun& run) {
  return run.title.empty() ? "An experiment" : run.title;
}

bool ReportTakes(v1::JobSpec::KindCase kind, const v1::JobOutput& output) {
  return output.size_bytes() <= kReportFileLimitBytes &&
         ReportReads(kind, output.file_name());
}

bool ReportReads(v1::JobSpec::KindCase kind, absl::string_view file_name) {
  const auto is_one_of = [&](std::initializer_list<absl::string_view> names) {
    return absl::c_linear_search(names, file_name);
  };
  switch (kind) {
    case v1::JobSpec::kGenerateDocuments:
      return is_one_of({"statistics.json"});
    case v1::JobSpec::kFineTune:
      return is_one_of({"training.jsonl", "dataset.json", "summary.json"});
    case v1::JobSpec::kEvaluateMcq:
      return is_one_of({"summary.json", "eval_prompts.jsonl",
                        "hosted_report.json"}) ||
             (absl::StartsWith(file_name, "comparison_report") &&
              absl::EndsWith(file_name, ".json"));
    case v1::JobSpec::kEvaluateOpen:
      return file_name == "summary.json" ||
             (absl::StartsWith(file_name, "answers_") &&
              absl::EndsWith(file_name, ".jsonl"));
    case v1::JobSpec::kJudge:
      return is_one_of({"judge_summary.json"});
    case v1::JobSpec::kLogitLens:
      return is_one_of({"trajectories.json", "lens.jsonl"});
    case v1::JobSpec::kTrainProbes:
      return is_one_of(
          {"probes.jsonl", "summary.json", "pca.jsonl", "pca.json"});
    case v1::JobSpec::kPatchSweep:
      return is_one_of({"map.vl.json"});
    case v1::JobSpec::kSteeringSweep:
      return is_one_of(
          {"steering.jsonl", "summary.json", "null.vl.json", "samples.jsonl"});
    case v1::JobSpec::kExtractActivations:
    case v1::JobSpec::kFitDirections:
    case v1::JobSpec::kPipeline:
    case v1::JobSpec::KIND_NOT_SET:
      break;
  }
  return false;
}

absl::StatusOr<std::vector<Section>> StageSections(
    const ReportRun& run, const std::string& id_prefix) {
  std::vector<Section> sections;
  for (const ReportStage& stage : run.stages) {
    const StageFiles files(stage, absl::StrCat(id_prefix, Slug(stage.name)));
    ASSIGN_OR_RETURN(std::optional<Section> section, SectionOf(files));
    const std::string left_out = LeftOutNote(stage);
    if (!section.has_value()) {
      if (left_out.empty()) continue;
      section.emplace();
    }
    section->html.insert(0, left_out);
    section->id = files.Id("section");
    section->title = std::string(KindTitle(stage.spec.kind_case()));
    const auto same_kind = absl::c_count_if(run.stages, [&](const auto& each) {
      return each.spec.kind_case() == stage.spec.kind_case();
    });
    if (same_kind > 1) absl::StrAppend(&section->title, ", ", stage.name);
    sections.push_back(*std::move(section));
  }
  return sections;
}

absl::StatusOr<std::vector<JobFile>> MakeReport(const ReportRun& run) {
  ASSIGN_OR_RETURN(std::vector<Section> told, StageSections(run, ""));
  std::vector<JobFile> files(1);
  for (Section& section : told) {
    std::move(section.files.begin(), section.files.end(),
              std::back_inserter(files));
  }
  PageParts page = {
      .title = TitleOf(run), .kind = KindLine(run), .sections = {}};
  page.sections.push_back(SummarySection(run, told));
  std::move(told.begin(), told.end(), std::back_inserter(page.sections));
  page.sections.push_back(ProvenanceSection(run, "provenance"));
  files.front() = {kReportFileName, PageHtml(page)};
  return files;
}

}  // namespace dissonance
