#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "src/lab/files/json_document.h"
#include "src/lab/report/html.h"
#include "src/lab/report/report_stage.h"
#include "src/lab/report/sections.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

std::string VersionsText(const Json& versions) {
  std::vector<std::string> parts;
  for (const auto& [component, version] : versions.items()) {
    parts.push_back(absl::StrCat(component, " ", version.get<std::string>()));
  }
  return absl::StrJoin(parts, ", ");
}

std::string TypeText(const Json& provenance) {
  const auto type = provenance.at("dtype").get<std::string>();
  return absl::StrCat(
      absl::AsciiStrToLower(absl::StripPrefix(type, "DTYPE_")), " on ",
      provenance.at("device").get<std::string>(),
      provenance.at("reproducible").get<bool>() ? ", reproducible" : "");
}

// What computed; seed and input are a stage's own.
Json NetworkOf(const v1::Provenance& provenance) {
  Json network = ProvenanceJson(provenance);
  network.erase("seed");
  network.erase("input_digest");
  return network;
}

struct Network {
  Json json;
  std::vector<std::string> stages;
};

// Each network once, in the order of the stages.
std::vector<Network> NetworksOf(const ReportRun& run) {
  std::vector<Network> networks;
  for (const ReportStage& stage : run.stages) {
    for (const v1::Provenance& provenance : stage.provenance) {
      const Json json = NetworkOf(provenance);
      auto known = absl::c_find_if(
          networks, [&](const Network& each) { return each.json == json; });
      if (known == networks.end()) {
        known = networks.insert(networks.end(), {json, {}});
      }
      if (known->stages.empty() || known->stages.back() != stage.name) {
        known->stages.push_back(stage.name);
      }
    }
  }
  return networks;
}

std::string NetworkHtml(const Network& network) {
  std::string html = "<dl class=\"facts\">";
  const auto add = [&html](const char* name, const std::string& value) {
    if (value.empty()) return;
    absl::StrAppend(&html, "<dt>", name, "</dt><dd>", value, "</dd>");
  };
  const auto digest = [&](const char* field) {
    const auto text = network.json.at(field).get<std::string>();
    return text.empty() ? "" : Code(text);
  };
  add("model", digest("model_digest"));
  add("adapter", digest("adapter_digest"));
  add("tokenizer", digest("tokenizer_digest"));
  add("type", Escaped(TypeText(network.json)));
  add("versions", Escaped(VersionsText(network.json.at("versions"))));
  add("stages", Escaped(absl::StrJoin(network.stages, ", ")));
  return absl::StrCat(html, "</dl>\n");
}

std::string InputsTable(const ReportStage& stage) {
  HtmlTableParts table = {.caption = absl::StrCat("Inputs of ", stage.name),
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
  HtmlTableParts table = {.caption = absl::StrCat("Files of ", stage.name),
                          .headers = {{"file"}, {"digest"}},
                          .rows = {}};
  for (const auto& [name, digest] : stage.digests) {
    table.rows.push_back({Escaped(name), Code(digest)});
  }
  return table.rows.empty() ? "" : HtmlTable(table);
}

std::string SeedsText(const ReportStage& stage) {
  std::vector<std::string> seeds;
  for (const v1::Provenance& provenance : stage.provenance) {
    const std::string seed = absl::StrCat(provenance.seed());
    if (!absl::c_linear_search(seeds, seed)) seeds.push_back(seed);
  }
  return seeds.empty() ? ""
                       : absl::StrCat("; seed ", absl::StrJoin(seeds, ", "));
}

std::string StageHtml(const ReportStage& stage) {
  const std::string settings =
      SettingsJson(stage).dump(2, ' ', false, Json::error_handler_t::replace);
  const std::string made_by =
      stage.code_version.empty()
          ? ""
          : absl::StrCat("Made by version ", stage.code_version,
                         SeedsText(stage), ".");
  return Details(
      absl::StrCat(stage.name, ": ", KindTitle(stage.spec.kind_case())),
      absl::StrCat(made_by.empty() ? "" : Paragraph(made_by, "note"),
                   InputsTable(stage), FilesTable(stage),
                   "<h4>Settings</h4>\n<pre class=\"scroll\" tabindex=\"0\">",
                   Escaped(settings), "</pre>\n"));
}

}  // namespace

Section ProvenanceSection(const ReportRun& run, const std::string& id) {
  Section section = {.id = id, .title = "Provenance"};
  section.html = absl::StrCat(
      Paragraph("What computed each stage from what. Equal digests, type and "
                "versions give equal results, bit for bit, where they are "
                "marked as reproducible."),
      "<h3>Networks</h3>\n");
  for (const Network& network : NetworksOf(run)) {
    section.html += NetworkHtml(network);
  }
  section.html += "<h3>Stages</h3>\n";
  for (const ReportStage& stage : run.stages) section.html += StageHtml(stage);
  return section;
}

}  // namespace dissonance
