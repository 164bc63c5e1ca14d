#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "src/base/status_macros.h"
#include "src/lab/report/figure.h"
#include "src/lab/report/html.h"
#include "src/lab/report/sections.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

// Questions that are open at once.
constexpr size_t kOpenQuestions = 8;
// Questions with their answers; the job's files have all.
constexpr size_t kMostQuestions = 300;

struct Variants {
  std::vector<std::string> labels;
  std::vector<std::string> files;
  std::vector<Json> figures;
};

Variants ReadVariants(const Json& summary) {
  Variants variants;
  for (const Json& variant : summary.at("variants")) {
    variants.labels.push_back(variant.at("label").get<std::string>());
    variants.files.push_back(variant.at("file").get<std::string>());
    variants.figures.push_back(variant);
  }
  return variants;
}

void AddSummary(const Variants& variants, Section& section) {
  HtmlTableParts table = {.caption = "Answers of each network",
                          .headers = {{"network"},
                                      {"answers", true},
                                      {"other than base's", true},
                                      {"nats a token", true},
                                      {"tokens", true},
                                      {"ended by itself", true},
                                      {"confidence", true}},
                          .rows = {}};
  for (size_t v = 0; v < variants.labels.size(); ++v) {
    const Json& figures = variants.figures[v];
    table.rows.push_back({Escaped(variants.labels[v]), NumberText(figures, "n"),
                          NumberText(figures, "differ_n"),
                          NumberText(figures, "nll_mean"),
                          NumberText(figures, "token_count_mean"),
                          PercentText(figures, "ended_share"),
                          NumberText(figures, "confidence_mean")});
    if (figures.at("differ_n").is_number()) {
      section.highlights.push_back(
          {absl::StrCat("free answers other than base's, ", variants.labels[v]),
           NumberText(figures, "differ_n"),
           absl::StrCat("of ", NumberText(figures, "n"), " answers")});
    }
  }
  section.html += HtmlTable(table);
}

std::string AnswerHtml(const Json& answer, const std::string& label,
                       const std::string& colour) {
  std::string more =
      absl::StrCat(NumberText(answer, "nll_mean"), " nats a token");
  if (answer.at("finish_reason") == "length") more += ", cut";
  if (answer.contains("confidence")) {
    absl::StrAppend(&more, ", confidence ", NumberText(answer, "confidence"));
  }
  if (answer.contains("reason") && answer.at("reason").is_string()) {
    absl::StrAppend(&more, ": ", answer.at("reason").get<std::string>());
  }
  const auto text = answer.at("answer").get<std::string>();
  return absl::StrCat("<div><dt style=\"color:", colour, "\">", Escaped(label),
                      "</dt><dd>", Escaped(absl::StripAsciiWhitespace(text)),
                      "<span class=\"more\">", Escaped(more),
                      "</span></dd></div>");
}

std::string QuestionHtml(const Json& answer) {
  std::string category;
  if (answer.at("category").is_string()) {
    category = absl::StrCat(", ", answer.at("category").get<std::string>());
  }
  return absl::StrCat(
      Paragraph(absl::StrCat(answer.at("id").get<std::string>(), category),
                "note"),
      Paragraph(answer.at("question").get<std::string>()));
}

// Questions with all answers to them, by the question's id, in the order in
// which they were asked. Of all but the first it keeps the id alone.
class Questions {
 public:
  void Add(const Json& answer, const std::string& label,
           const std::string& colour) {
    const auto id = answer.at("id").get<std::string>();
    const auto [at, added] = places_.emplace(id, places_.size());
    if (at->second >= kMostQuestions) return;
    if (added) shown_.push_back({QuestionHtml(answer), ""});
    shown_[at->second].answers += AnswerHtml(answer, label, colour);
  }

  // Empty without any.
  std::string Html() const {
    if (shown_.empty()) return "";
    std::string open;
    std::string closed;
    for (size_t i = 0; i < shown_.size(); ++i) {
      absl::StrAppend(i < kOpenQuestions ? &open : &closed,
                      "<li class=\"answer\">", shown_[i].question,
                      "<dl class=\"sides\">", shown_[i].answers,
                      "</dl></li>\n");
    }
    std::string html =
        absl::StrCat("<h3>Answers side by side</h3>\n",
                     "<ul class=\"answers\">\n", open, "</ul>\n");
    if (closed.empty()) return html;
    const std::string summary =
        shown_.size() < places_.size()
            ? absl::StrCat("More of ", places_.size(), " questions")
            : absl::StrCat("The other ", shown_.size() - kOpenQuestions,
                           " questions");
    return absl::StrCat(
        html, Details(summary, absl::StrCat("<ul class=\"answers\">\n", closed,
                                            "</ul>\n")));
  }

 private:
  struct Shown {
    std::string question;  // HTML, as are the answers
    std::string answers;
  };
  std::map<std::string, size_t> places_;
  std::vector<Shown> shown_;
};

}  // namespace

MaybeSection OpenSection(const StageFiles& files) {
  if (!files.Has("summary.json")) return std::nullopt;
  Section section;
  ASSIGN_OR_RETURN(
      const Variants variants,
      files.Document<Variants>("summary.json", [&](const Json& summary) {
        Variants read = ReadVariants(summary);
        AddSummary(read, section);
        return read;
      }));
  Questions questions;
  for (size_t v = 0; v < variants.files.size(); ++v) {
    if (files.IsLeftOut(variants.files[v])) continue;
    const std::string colour = ColourOf(variants.labels, v);
    RETURN_IF_ERROR(files.EachLine(variants.files[v], [&](const Json& line) {
      questions.Add(line, variants.labels[v], colour);
    }));
  }
  section.html += questions.Html();
  return section;
}

}  // namespace dissonance
