#include "src/lab/interp/job_files.h"

#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "src/base/json_lines.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/json_document.h"
#include "src/lab/tensors/intervention_words.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

constexpr absl::string_view kManifestName = "manifest.json";

std::string Quoted(absl::string_view text) {
  if (text.find_first_of(",\"\r\n") == absl::string_view::npos) {
    return std::string(text);
  }
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string CsvCell(const Json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return Quoted(value.get<std::string>());
  if (value.is_number_float() && !std::isfinite(value.get<double>())) return "";
  return value.dump();
}

absl::string_view MediaType(absl::string_view name) {
  if (absl::EndsWith(name, ".jsonl")) return "application/jsonl";
  if (absl::EndsWith(name, ".json")) return "application/json";
  if (absl::EndsWith(name, ".csv")) return "text/csv; charset=utf-8";
  return "text/plain; charset=utf-8";
}

}  // namespace

std::string CsvFile(absl::Span<const std::string> columns,
                    absl::Span<const Json> rows) {
  std::string text = absl::StrCat(absl::StrJoin(columns, ","), "\n");
  for (const Json& row : rows) {
    std::vector<std::string> cells;
    for (const std::string& column : columns) {
      cells.push_back(row.contains(column) ? CsvCell(row.at(column)) : "");
    }
    absl::StrAppend(&text, absl::StrJoin(cells, ","), "\n");
  }
  return text;
}

std::string LinesFile(absl::Span<const Json> rows) {
  std::string text;
  for (const Json& row : rows) text += ToJsonLine(row);
  return text;
}

Json IntervalJson(const Interval& interval) {
  return Json::array({interval.low, interval.high});
}

Json VariantJson(const v1::Variant& variant, const v1::Provenance& provenance) {
  return {{"model", variant.model()},
          {"adapter", variant.adapter()},
          {"interventions", InterventionsJson(variant)},
          {"provenance", ProvenanceJson(provenance)}};
}

absl::Status AddFiles(JobContext& job, absl::Span<const JobFile> files,
                      Json manifest) {
  Json digests = Json::object();
  for (const JobFile& file : files) {
    RETURN_IF_ERROR(job.AddOutput(file.name, MediaType(file.name),
                                  file.contents, OutputKind::kResult));
    digests[file.name] = {{"sha256", Sha256Of(file.contents)},
                          {"size_bytes", file.contents.size()}};
  }
  manifest["files"] = std::move(digests);
  manifest["run"] = {{"job", job.job().name()},
                     {"request_id", job.job().request_id()}};
  return job.AddOutput(kManifestName, MediaType(kManifestName),
                       JsonDocument(manifest), OutputKind::kNamesRun);
}

}  // namespace dissonance
