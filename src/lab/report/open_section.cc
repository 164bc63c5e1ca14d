#include <algorithm>
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

// All answers to one question, in the order of the networks.
struct Question {
  Json first;                                    // id, category, question
  std::vector<std::pair<size_t, Json>> answers;  // by network
};

// By the question's id, in the order in which they were asked.
class Questions {
 public:
  void Add(size_t network, const std::vector<Json>& lines) {
    for (const Json& line : lines) {
      const auto id = line.at("id").get<std::string>();
      const auto [at, added] = places_.emplace(id, all_.size());
      if (added) all_.push_back({line, {}});
      all_[at->second].answers.emplace_back(network, line);
    }
  }
  const std::vector<Question>& all() const { return all_; }

 private:
  std::map<std::string, size_t> places_;
  std::vector<Question> all_;
};

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

std::string QuestionHtml(const Question& question, const Variants& variants) {
  std::string category;
  if (question.first.at("category").is_string()) {
    category =
        absl::StrCat(", ", question.first.at("category").get<std::string>());
  }
  std::string html = absl::StrCat(
      "<li class=\"answer\">",
      Paragraph(
          absl::StrCat(question.first.at("id").get<std::string>(), category),
          "note"),
      Paragraph(question.first.at("question").get<std::string>()),
      "<dl class=\"sides\">");
  for (const auto& [network, answer] : question.answers) {
    html += AnswerHtml(answer, variants.labels[network],
                       ColourOf(variants.labels, network));
  }
  return absl::StrCat(html, "</dl></li>\n");
}

std::string AnswersHtml(const Questions& questions, const Variants& variants) {
  std::string open;
  std::string closed;
  const std::vector<Question>& all = questions.all();
  const size_t shown = std::min(all.size(), kMostQuestions);
  for (size_t i = 0; i < shown; ++i) {
    (i < kOpenQuestions ? open : closed) += QuestionHtml(all[i], variants);
  }
  std::string html = absl::StrCat("<h3>Answers side by side</h3>\n",
                                  "<ul class=\"answers\">\n", open, "</ul>\n");
  if (!closed.empty()) {
    html += Details(
        absl::StrCat(shown < all.size() ? "More of " : "The other ",
                     shown < all.size() ? all.size() : shown - kOpenQuestions,
                     " questions"),
        absl::StrCat("<ul class=\"answers\">\n", closed, "</ul>\n"));
  }
  return html;
}

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
  std::string html;
  for (size_t v = 0; v < variants.files.size(); ++v) {
    ASSIGN_OR_RETURN(
        html, files.Lines<std::string>(
                  variants.files[v], [&](const std::vector<Json>& lines) {
                    questions.Add(v, lines);
                    return AnswersHtml(questions, variants);
                  }));
  }
  section.html += html;
  return section;
}

}  // namespace dissonance
