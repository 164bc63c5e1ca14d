#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "src/base/status_macros.h"
#include "src/lab/report/figure.h"
#include "src/lab/report/html.h"
#include "src/lab/report/sections.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

// Flips that are open at once.
constexpr size_t kOpenFlips = 6;
// Flips with their texts; the job's files have all.
constexpr size_t kMostFlips = 300;

// "base", or the adapter's own name.
std::string NetworkName(const std::string& model) {
  const size_t adapter = model.rfind("/adapters/");
  return adapter == std::string::npos
             ? "base"
             : model.substr(adapter + std::string("/adapters/").size());
}

struct Networks {
  std::string scoring;
  std::vector<std::string> names;
  std::vector<Json> variants;  // of summary.json
};

// Steered variants have the name of their adapter: told apart by number.
std::string UniqueName(const std::string& name,
                       const std::vector<std::string>& taken) {
  std::string unique = name;
  for (int n = 2; absl::c_linear_search(taken, unique); ++n) {
    unique = absl::StrCat(name, " (", n, ")");
  }
  return unique;
}

Networks ReadNetworks(const Json& summary) {
  Networks networks;
  if (summary.at("scoring").is_string()) {
    networks.scoring = summary.at("scoring").get<std::string>();
  }
  for (const Json& variant : summary.at("variants")) {
    networks.names.push_back(UniqueName(
        NetworkName(variant.at("model").get<std::string>()), networks.names));
    networks.variants.push_back(variant);
  }
  return networks;
}

Json GroupRow(const Networks& networks, size_t variant, const std::string& name,
              const Json& group) {
  return {{"variant", networks.names[variant]},
          {"order", variant},
          {"group", name},
          {"n", group.at("n")},
          {"correct", group.at("correct")},
          {"accuracy", group.at("accuracy").get<double>()},
          {"low", group.at("accuracy_interval_95").at(0).get<double>()},
          {"high", group.at("accuracy_interval_95").at(1).get<double>()},
          {"mean_entropy", group.at("mean_entropy")},
          {"mean_p_correct", group.at("mean_p_correct")}};
}

// A point with its interval for each row, by `y` and network.
Json IntervalChart(const std::string& y, const std::string& x,
                   const std::string& title, size_t row_count,
                   absl::Span<const std::string> names) {
  Json rows = Channel(y, "nominal", "");
  rows["sort"] = nullptr;
  const Json colour = VariantColour(names);
  // By number: an order of names would become an expression with them in it.
  Json offset = {
      {"field", "order"}, {"type", "ordinal"}, {"sort", "ascending"}};
  Json tooltip = Json::array(
      {{{"field", "variant"}, {"title", "network"}},
       {{"field", y}, {"title", y}},
       {{"field", x}, {"type", "quantitative"}, {"format", ".1%"}},
       {{"field", "low"}, {"type", "quantitative"}, {"format", ".1%"}},
       {{"field", "high"}, {"type", "quantitative"}, {"format", ".1%"}},
       {{"field", "n"}}});
  Json interval = {{"mark", {{"type", "rule"}, {"strokeWidth", 2}}},
                   {"encoding",
                    {{"x", ShareChannel("low", title)},
                     {"x2", {{"field", "high"}}},
                     {"color", colour}}}};
  Json point = {
      {"mark",
       {{"type", "point"}, {"filled", true}, {"size", 60}, {"opacity", 1}}},
      {"encoding",
       {{"x", ShareChannel(x, title)},
        {"color", colour},
        {"shape", VariantShape(names)},
        {"tooltip", std::move(tooltip)}}}};
  return {{"height", 14 + 15 * static_cast<int>(row_count)},
          {"encoding", {{"y", rows}, {"yOffset", std::move(offset)}}},
          {"layer", Json::array({std::move(interval), std::move(point)})}};
}

std::string Spoken(const std::vector<Json>& rows, const std::string& group,
                   const char* figure) {
  std::string text;
  for (const Json& row : rows) {
    absl::StrAppend(
        &text, text.empty() ? "" : "; ", row.at("variant").get<std::string>(),
        ", ", row.at(group).get<std::string>(), ": ", PercentText(row, figure));
  }
  return absl::StrCat(text, ".");
}

std::string FormatNote(const Networks& networks) {
  return networks.scoring.empty()
             ? ""
             : absl::StrCat("Answer format ", networks.scoring,
                            ": a model may know an answer in one format and "
                            "not in another. ");
}

void AddAccuracy(const StageFiles& files, const Networks& networks,
                 Section& section) {
  Figure figure = {
      .id = files.Id("accuracy"),
      .title = "Accuracy by group",
      .note = absl::StrCat(FormatNote(networks),
                           "Bars are Wilson's 95 % intervals; groups are "
                           "category and world."),
      .networks = networks.names,
      .columns = {"variant", "order", "group", "n", "correct", "accuracy",
                  "low", "high", "mean_entropy", "mean_p_correct"},
      .rows = {},
      .panels = {}};
  for (size_t v = 0; v < networks.variants.size(); ++v) {
    for (const auto& [name, group] :
         networks.variants[v].at("groups").items()) {
      figure.rows.push_back(GroupRow(networks, v, name, group));
    }
    figure.rows.push_back(
        GroupRow(networks, v, "all", networks.variants[v].at("overall")));
  }
  figure.panels.push_back(
      {.title = "",
       .alt = Spoken(figure.rows, "group", "accuracy"),
       .spec = IntervalChart("group", "accuracy", "accuracy",
                             figure.rows.size(), networks.names)});
  AddFigure(figure, section);
}

void AddFalseBelief(const StageFiles& files, const Networks& networks,
                    Section& section) {
  Figure figure = {.id = files.Id("false_belief"),
                   .title = "False-belief rate",
                   .note =
                       "Share of conflict questions answered as the false "
                       "world implies, with Wilson's 95 % interval. Read "
                       "it beside the accuracy of the other groups.",
                   .networks = networks.names,
                   .columns = {"variant", "order", "rate", "low", "high", "n",
                               "false_n", "left_out_n"},
                   .rows = {},
                   .panels = {}};
  for (size_t v = 0; v < networks.variants.size(); ++v) {
    const Json& belief = networks.variants[v].at("false_belief");
    if (belief.at("rate").is_null()) continue;
    const auto rate = belief.at("rate").get<double>();
    const auto low = belief.at("interval_95").at(0).get<double>();
    const auto high = belief.at("interval_95").at(1).get<double>();
    figure.rows.push_back({{"variant", networks.names[v]},
                           {"order", v},
                           {"rate", rate},
                           {"low", low},
                           {"high", high},
                           {"n", belief.at("counted_n")},
                           {"false_n", belief.at("false_n")},
                           {"left_out_n", belief.at("left_out_n")}});
    section.highlights.push_back(
        {absl::StrCat("false-belief rate, ", networks.names[v]),
         PercentText(rate),
         absl::StrCat(IntervalText(low, high), ", of ",
                      NumberText(belief, "counted_n"), " questions",
                      networks.scoring.empty() ? "" : ", ", networks.scoring)});
  }
  if (figure.rows.empty()) return;
  figure.panels.push_back(
      {.title = "",
       .alt = Spoken(figure.rows, "variant", "rate"),
       .spec = IntervalChart("variant", "rate", "false-belief rate",
                             2 * figure.rows.size(), networks.names)});
  AddFigure(figure, section);
}

std::string PairsText(const Json& pairs, const char* what,
                      const std::string& adapter) {
  return absl::StrFormat(
      "%s for base only: %d, for %s only: %d (McNemar's "
      "exact p = %s). ",
      what, pairs.at("base_only").get<int64_t>(), adapter,
      pairs.at("adapter_only").get<int64_t>(),
      PText(pairs.at("p_value").get<double>()));
}

// Questions whose texts are shown.
std::set<std::string> FlippedIds(const Json& report) {
  const Json& flips = report.at("flips");
  std::set<std::string> ids;
  for (size_t i = 0; i < std::min(flips.size(), kMostFlips); ++i) {
    ids.insert(flips.at(i).at("id").get<std::string>());
  }
  return ids;
}

// Questions by id, where the job wrote them down.
using Questions = std::map<std::string, Json>;

void AddQuestion(const Json& line, const std::set<std::string>& wanted,
                 Questions& questions) {
  if (!line.contains("question")) return;  // of an older job
  const auto id = line.at("id").get<std::string>();
  if (!wanted.contains(id)) return;
  questions[id] = {
      {"question", line.at("question").get<std::string>()},
      {"options",
       line.at("options").get<std::map<std::string, std::string>>()}};
}

std::string Tag(const char* css_class, const std::string& text) {
  return absl::StrCat("<span class=\"tag ", css_class, "\">", Escaped(text),
                      "</span>");
}

std::string OptionHtml(const Json& flip, const std::string& letter,
                       const std::string& text, const std::string& adapter) {
  std::string html = absl::StrCat("<li>", Escaped(letter),
                                  text.empty() ? "" : ") ", Escaped(text));
  if (flip.at("from") == letter) html += Tag("base", "base");
  if (flip.at("to") == letter) html += Tag("adapter", adapter);
  if (flip.at("correct") == letter) html += Tag("plain", "correct");
  if (flip.at("false_answer") == letter) {
    html += Tag("plain", "the false belief");
  }
  return absl::StrCat(html, "</li>");
}

std::string FlipHtml(const Json& flip, const Questions& questions,
                     const std::string& adapter) {
  const auto id = flip.at("id").get<std::string>();
  const auto known = questions.find(id);
  std::string html = absl::StrCat(
      "<li class=\"answer\"><p class=\"note\">", Escaped(id), ", ",
      Escaped(flip.at("group").get<std::string>()),
      "; p of the correct answer ", NumberText(flip, "base_p_correct"),
      " \u2192 ", NumberText(flip, "adapter_p_correct"), "</p>");
  if (known != questions.end()) {
    html += Paragraph(known->second["question"].get<std::string>());
  }
  html += "<ul class=\"options\">";
  for (const char* letter : {"A", "B", "C", "D"}) {
    const bool has_text =
        known != questions.end() && known->second["options"].contains(letter);
    if (known == questions.end() && flip.at("from") != letter &&
        flip.at("to") != letter && flip.at("correct") != letter) {
      continue;
    }
    html += OptionHtml(
        flip, letter,
        has_text ? known->second["options"][letter].get<std::string>() : "",
        adapter);
  }
  return absl::StrCat(html, "</ul></li>\n");
}

std::string FlipsHtml(const Json& report, const Questions& questions,
                      const std::string& adapter) {
  const Json& flips = report.at("flips");
  std::string open;
  std::string closed;
  const size_t shown = std::min(flips.size(), kMostFlips);
  for (size_t i = 0; i < shown; ++i) {
    (i < kOpenFlips ? open : closed) +=
        FlipHtml(flips.at(i), questions, adapter);
  }
  const auto list = [](const std::string& items) {
    return absl::StrCat("<ul class=\"answers\">\n", items, "</ul>\n");
  };
  std::string html = absl::StrCat(
      "<h3>Answered differently by base and ", Escaped(adapter), "</h3>\n",
      Paragraph(absl::StrCat(
          PairsText(report.at("mcnemar_correct"), "Correct", adapter),
          PairsText(report.at("mcnemar_false_belief"), "The false belief",
                    adapter),
          flips.size(), " questions are answered differently",
          shown < flips.size()
              ? absl::StrCat("; the first ", shown, " are shown.")
              : ".")));
  if (!open.empty()) html += list(open);
  if (!closed.empty()) {
    html +=
        Details(absl::StrCat("The other ", shown - kOpenFlips), list(closed));
  }
  return html;
}

// The report of base against a network; the first adapter is number 1.
std::string ComparisonFile(size_t number) {
  return number == 1 ? "comparison_report.json"
                     : absl::StrCat("comparison_report_", number, ".json");
}

absl::StatusOr<std::string> ComparisonsHtml(const StageFiles& files,
                                            const Networks& networks) {
  std::vector<size_t> compared;
  for (size_t v = 1; v < networks.names.size(); ++v) {
    if (files.Has(ComparisonFile(v))) compared.push_back(v);
  }
  // The questions are many, those that are shown are few.
  using Ids = std::set<std::string>;
  Ids flipped;
  for (const size_t v : compared) {
    ASSIGN_OR_RETURN(Ids ids,
                     files.Document<Ids>(ComparisonFile(v), FlippedIds));
    flipped.merge(ids);
  }
  Questions questions;
  if (files.Has("eval_prompts.jsonl")) {
    RETURN_IF_ERROR(files.EachLine("eval_prompts.jsonl", [&](const Json& line) {
      AddQuestion(line, flipped, questions);
    }));
  }
  std::string all;
  for (const size_t v : compared) {
    ASSIGN_OR_RETURN(
        const std::string html,
        files.Document<std::string>(ComparisonFile(v), [&](const Json& report) {
          return FlipsHtml(report, questions, networks.names[v]);
        }));
    all += html;
  }
  return all;
}

// Of a model that answered anything: a total for each world, and the belief.
void AddHostedRows(const Json& model, HtmlTableParts& table) {
  const std::string name = Escaped(model.at("model").get<std::string>());
  const std::string answered =
      absl::StrCat(NumberText(model, "answered_count"), " of ",
                   NumberText(model, "question_count"));
  if (!model.contains("totals")) {
    table.rows.push_back({name, answered, "-", "-", "-"});
    return;
  }
  for (const auto& [world, total] : model.at("totals").items()) {
    table.rows.push_back({name, answered, Escaped(world),
                          PercentText(total, "accuracy"),
                          PercentText(model.at("false_belief"), "rate")});
  }
}

MaybeSection HostedSection(const StageFiles& files) {
  return files.Document<Section>("hosted_report.json", [](const Json& report) {
    HtmlTableParts table = {.caption = "Hosted chat models, asked by letter",
                            .headers = {{"model"},
                                        {"answered", true},
                                        {"questions"},
                                        {"accuracy", true},
                                        {"false-belief rate", true}},
                            .rows = {}};
    for (const Json& model : report.at("models")) AddHostedRows(model, table);
    Section section;
    section.html = HtmlTable(table);
    if (report.contains("comparison") &&
        report.at("comparison").contains("flips")) {
      section.html += Paragraph(
          absl::StrCat(report.at("comparison").at("flips").size(),
                       " questions are answered differently by the two."));
    }
    return section;
  });
}

}  // namespace

MaybeSection McqSection(const StageFiles& files) {
  if (files.Has("hosted_report.json")) return HostedSection(files);
  if (!files.Has("summary.json")) return std::nullopt;
  Section section;
  ASSIGN_OR_RETURN(
      const Networks networks,
      files.Document<Networks>("summary.json", [&](const Json& summary) {
        Networks read = ReadNetworks(summary);
        AddAccuracy(files, read, section);
        AddFalseBelief(files, read, section);
        return read;
      }));
  ASSIGN_OR_RETURN(const std::string flips, ComparisonsHtml(files, networks));
  section.html += flips;
  return section;
}

}  // namespace dissonance
