#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/lab/files/json_document.h"
#include "src/lab/report/html.h"
#include "src/lab/report/report_stage.h"
#include "src/lab/report/sections.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

std::string VersionsText(const Json& versions) {
  std::string text;
  for (const auto& [component, version] : versions.items()) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", component, " ",
                    version.get<std::string>());
  }
  return text;
}

std::string TypeName(const Json& provenance) {
  return absl::StrCat(
      provenance.at("dtype").get<std::string>(), ", ",
      provenance.at("device").get<std::string>(),
      provenance.at("reproducible").get<bool>() ? ", reproducible" : "");
}

std::string NetworksTable(const ReportStage& stage) {
  HtmlTableParts table = {.caption = "Networks",
                          .headers = {{"network", true},
                                      {"model"},
                                      {"adapter"},
                                      {"tokenizer"},
                                      {"type and device"},
                                      {"seed", true},
                                      {"versions"}},
                          .rows = {}};
  for (size_t i = 0; i < stage.provenance.size(); ++i) {
    const Json json = ProvenanceJson(stage.provenance[i]);
    table.rows.push_back(
        {absl::StrCat(i), Code(json.at("model_digest").get<std::string>()),
         Code(json.at("adapter_digest").get<std::string>()),
         Code(json.at("tokenizer_digest").get<std::string>()),
         Escaped(TypeName(json)), CellText(json.at("seed")),
         absl::StrCat("<span class=\"wide\">",
                      Escaped(VersionsText(json.at("versions"))), "</span>")});
  }
  return table.rows.empty() ? "" : HtmlTable(table);
}

std::string InputsTable(const ReportStage& stage) {
  HtmlTableParts table = {.caption = "Inputs",
                          .headers = {{"field"}, {"bytes", true}, {"digest"}},
                          .rows = {}};
  for (const v1::JobInput& input : stage.inputs) {
    table.rows.push_back({Escaped(input.field()),
                          absl::StrCat(input.size_bytes()),
                          Code(input.digest())});
  }
  return table.rows.empty() ? "" : HtmlTable(table);
}

std::string FilesTable(const ReportStage& stage) {
  HtmlTableParts table = {
      .caption = "Files", .headers = {{"file"}, {"digest"}}, .rows = {}};
  for (const auto& [name, digest] : stage.digests) {
    table.rows.push_back({Escaped(name), Code(digest)});
  }
  return table.rows.empty() ? "" : HtmlTable(table);
}

std::string StageHtml(const ReportStage& stage) {
  const std::string settings =
      SettingsJson(stage).dump(2, ' ', false, Json::error_handler_t::replace);
  std::string html = absl::StrCat(
      "<h3>", Escaped(stage.name), "</h3>\n",
      Paragraph(absl::StrCat(KindTitle(stage.spec.kind_case()),
                             stage.code_version.empty() ? "" : "; made by ",
                             stage.code_version),
                "note"),
      NetworksTable(stage), InputsTable(stage));
  return absl::StrCat(
      html,
      Details("Settings", absl::StrCat("<pre class=\"scroll\">",
                                       Escaped(settings), "</pre>\n")),
      stage.digests.empty() ? ""
                            : Details("Files by digest", FilesTable(stage)));
}

}  // namespace

Section ProvenanceSection(const ReportRun& run, const std::string& id) {
  Section section = {.id = id, .title = "Provenance"};
  section.html = Paragraph(
      "What computed each stage from what. Two stages with equal digests, type "
      "and versions gave equal results, bit for bit, where they are marked as "
      "reproducible.");
  for (const ReportStage& stage : run.stages) section.html += StageHtml(stage);
  return section;
}

}  // namespace dissonance
