#include "src/lab/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "src/base/sha256.h"
#include "tests/lab/report/made_report.h"
#include "tests/lab/report/made_up_run.h"
#include "tests/lab/report/page_elements.h"

namespace dissonance {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// Of a page with everything in it, and of a comparison.
class ReportPageTest : public ::testing::TestWithParam<bool> {
 protected:
  ReportPageTest() {
    const ReportRun run = MadeUpRun(kHostileText);
    files_ = Made(GetParam() ? MakeComparison(run, run) : MakeReport(run));
    html_ = files_[kReportFileName];
    scripts_ = SplitScripts(html_);
  }

  Files files_;
  std::string html_;
  PageScripts scripts_;
};

INSTANTIATE_TEST_SUITE_P(OneAndTwo, ReportPageTest, ::testing::Bool(),
                         [](const auto& param) {
                           return param.param ? "Comparison" : "Report";
                         });

TEST_P(ReportPageTest, TextsOfDataStayTexts) {
  EXPECT_THAT(scripts_.code, SizeIs(4));
  const size_t charts = Matches(scripts_.rest, "class=\"(chart)\"").size();
  EXPECT_THAT(scripts_.data, SizeIs(charts));
  EXPECT_THAT(scripts_.rest, Not(HasSubstr("<img")));
  EXPECT_THAT(scripts_.rest, Not(HasSubstr("alert(1)</script>")));
  EXPECT_THAT(scripts_.rest, HasSubstr("&lt;/script&gt;&lt;script&gt;alert"));
  // What an attribute that was ended early would leave.
  for (const std::string& tag : TagsOf(scripts_.rest)) {
    EXPECT_THAT(tag, AllOf(Not(HasSubstr("onerror")), Not(HasSubstr("\""))));
  }
  for (const std::string& data : scripts_.data) {
    EXPECT_TRUE(nlohmann::json::accept(data)) << data.substr(0, 200);
    EXPECT_THAT(data,
                AllOf(Not(HasSubstr("<")), Not(HasSubstr("\xE2\x80\xA8"))));
  }
}

TEST_P(ReportPageTest, OnlyItsOwnScriptsMayRunAndNothingIsFetched) {
  const std::vector<std::string> policies =
      Matches(scripts_.rest, "Content-Security-Policy\" content=\"([^\"]*)\"");
  ASSERT_THAT(policies, SizeIs(1));
  EXPECT_THAT(policies[0],
              AllOf(HasSubstr("default-src 'none';"),
                    Not(HasSubstr("unsafe-eval")), Not(HasSubstr("http"))));
  for (const std::string& script : scripts_.code) {
    const std::string digest = Sha256Of(script);
    EXPECT_THAT(policies[0], HasSubstr(absl::StrCat(
                                 "'sha256-",
                                 absl::Base64Escape(absl::HexStringToBytes(
                                     absl::StripPrefix(digest, "sha256:"))),
                                 "'")));
  }
  EXPECT_THAT(scripts_.rest,
              AllOf(Not(HasSubstr("<link")), Not(HasSubstr("@import")),
                    Not(HasSubstr("url("))));
  for (const std::string& tag : TagsOf(scripts_.rest)) {
    EXPECT_THAT(tag, Not(HasSubstr(" src")));
  }
  for (const std::string& link : Matches(scripts_.rest, "href=\"([^\"]*)\"")) {
    EXPECT_TRUE(link.starts_with("#") || link.starts_with("data:text/csv"))
        << link.substr(0, 100);
  }
}

TEST_P(ReportPageTest, IdsAreUniqueAndAllThatIsReferredToIsThere) {
  std::set<std::string> ids;
  for (const std::string& id : Matches(scripts_.rest, " id=\"([^\"]*)\"")) {
    EXPECT_TRUE(ids.insert(id).second) << id;
  }
  for (const char* pattern :
       {"href=\"#([^\"]*)\"", "aria-labelledby=\"([^\"]*)\"",
        "data-rows=\"([^\"]*)\""}) {
    for (const std::string& id : Matches(scripts_.rest, pattern)) {
      EXPECT_TRUE(ids.contains(id)) << id;
    }
  }
}

TEST_P(ReportPageTest, HeadingsSkipNoLevel) {
  int level = 0;
  int first_count = 0;
  for (const std::string& heading : Matches(scripts_.rest, "<h([1-6])[ >]")) {
    const int next = std::stoi(heading);
    EXPECT_LE(next, level + 1);
    first_count += next == 1 ? 1 : 0;
    level = next;
  }
  EXPECT_EQ(first_count, 1);
}

TEST_P(ReportPageTest, EachPlotHasItsDataAsAFileAsALinkAndAsATable) {
  std::set<std::string> plots;
  for (const std::string& id :
       Matches(scripts_.rest, "data-rows=\"([^\"]*)\"")) {
    plots.insert(id);
    const std::string name = absl::StrCat("report/", id);
    ASSERT_TRUE(files_.contains(name)) << name;
    const std::vector<std::string> links = Matches(
        scripts_.rest, absl::StrCat("id=\"", id, "\"[^>]*base64,([^\"]*)\""));
    ASSERT_THAT(links, SizeIs(1));
    std::string decoded;
    ASSERT_TRUE(absl::Base64Unescape(links[0], &decoded));
    EXPECT_EQ(decoded, files_[name]);
  }
  // With the page itself.
  EXPECT_THAT(files_, SizeIs(plots.size() + 1));
  EXPECT_THAT(Matches(scripts_.rest, "(Data of this figure)"),
              SizeIs(plots.size()));
}

TEST_P(ReportPageTest, EachChartSaysInWordsWhatItShows) {
  const auto charts = Matches(scripts_.rest, "class=\"chart\" ([^>]*)>");
  ASSERT_THAT(charts, Not(IsEmpty()));
  for (const std::string& chart : charts) {
    EXPECT_THAT(chart, AllOf(HasSubstr("role=\"img\""),
                             testing::ContainsRegex("aria-label=\".{30}")));
  }
}

TEST(ReportTest, HasASectionForEachKindOfStage) {
  const std::string html = PageOf(MadeUpRun(""));
  for (const char* title :
       {"Summary", "Synthetic documents", "Fine-tuning",
        "Multiple-choice questions", "Free answers", "Free answers, judged",
        "Probes", "Logit lens", "Patching", "Steering", "Provenance"}) {
    EXPECT_THAT(html, HasSubstr(absl::StrCat(".title\">", title, "</h2>")));
  }
}

TEST(ReportTest, TheSameResultsGiveTheSameBytes) {
  const Files first = Made(MakeReport(MadeUpRun(kHostileText)));
  ReportRun again = MadeUpRun(kHostileText);
  for (ReportStage& stage : again.stages) {
    // A map of a message has no order of its own.
    for (v1::Provenance& provenance : stage.provenance) {
      const auto versions = provenance.versions();
      provenance.clear_versions();
      (*provenance.mutable_versions())["dissonance"] =
          versions.at("dissonance");
      (*provenance.mutable_versions())["libtorch"] = versions.at("libtorch");
    }
  }
  EXPECT_EQ(Made(MakeReport(again)), first);
}

TEST(ReportTest, SaysTheStatusOfAGateInWords) {
  const std::string html = PageOf(MadeUpRun(""));
  EXPECT_THAT(html, HasSubstr("\u2713 pass</span>"));
  EXPECT_THAT(html, HasSubstr("! warning</span>"));
  EXPECT_THAT(html, HasSubstr("\u2717 abort</span> (went on, as asked)"));
  EXPECT_THAT(html, HasSubstr("adapter_rate 0.7"));
}

TEST(ReportTest, BaseAndAdapterLookTheSameInAllPlots) {
  const PageScripts scripts = SplitScripts(PageOf(MadeUpRun("")));
  int count = 0;
  for (const std::string& data : scripts.data) {
    const auto flat = nlohmann::json::parse(data).flatten();
    for (const auto& [path, value] : flat.items()) {
      // Colours of networks, wherever they are.
      if (!path.ends_with("/scale/domain/0") || value != "base") continue;
      const std::string range = absl::StrCat(
          path.substr(0, path.size() - std::string("domain/0").size()),
          "range/");
      const auto colour = flat.at(range + "0").get<std::string>();
      const bool is_shape = colour == "circle";
      EXPECT_EQ(colour, is_shape ? "circle" : "var(--base)") << path;
      EXPECT_EQ(flat.at(range + "1"), is_shape ? "square" : "var(--adapter)");
      ++count;
    }
  }
  EXPECT_GT(count, 20);
}

TEST(ReportTest, AStageMayHaveTheNameOfAPartOfThePage) {
  ReportRun run = MadeUpRun("");
  const std::vector<std::string> names = {"summary", "provenance", "contents",
                                          "main",    "first",      "second"};
  for (size_t i = 0; i < names.size(); ++i) run.stages[i].name = names[i];
  for (const auto& made : {MakeReport(run), MakeComparison(run, run)}) {
    const std::string html = SplitScripts(Made(made)[kReportFileName]).rest;
    std::set<std::string> ids;
    for (const std::string& id : Matches(html, " id=\"([^\"]*)\"")) {
      EXPECT_TRUE(ids.insert(id).second) << id;
    }
  }
}

TEST(ReportTest, ARunWithoutATitleIsAnExperiment) {
  ReportRun run = MadeUpRun("");
  const ReportRun titled = run;
  run.title.clear();
  EXPECT_THAT(PageOf(run), AllOf(HasSubstr("<title>An experiment</title>"),
                                 HasSubstr("<h1>An experiment</h1>")));
  EXPECT_THAT(
      Made(MakeComparison(titled, run))[kReportFileName],
      AllOf(HasSubstr("<h1>Cubic gravity and An experiment</h1>"),
            HasSubstr("<p class=\"panel-title\">second: An experiment</p>")));
}

// The first line and the last have a loss of validation as well, or alone.
TEST(ReportTest, TheLossInWordsIsThatOfTraining) {
  EXPECT_THAT(PageOf(MadeUpRun("")),
              HasSubstr("aria-label=\"Loss. From 1 at the first step to 0.1667 "
                        "at the last."));
}

TEST(ReportTest, AStageWithoutItsFilesHasNoSection) {
  ReportRun run = MadeUpRun("");
  for (ReportStage& stage : run.stages) stage.files.clear();
  const Files files = Made(MakeReport(run));
  EXPECT_THAT(files, SizeIs(1));
  EXPECT_THAT(files.at(kReportFileName), Not(HasSubstr(">Probes</h2>")));
  EXPECT_THAT(files.at(kReportFileName), HasSubstr(">Provenance</h2>"));
}

TEST(ReportTest, WorksWithEachFileMissing) {
  const ReportRun whole = MadeUpRun("");
  for (size_t s = 0; s < whole.stages.size(); ++s) {
    for (const auto& [name, contents] : whole.stages[s].files) {
      ReportRun run = {
          .title = "one", .stages = {whole.stages[s]}, .gates = {}};
      run.stages[0].files.erase(name);
      const auto files = MakeReport(run);
      if (files.ok()) continue;
      // What is named by another file has to be there.
      EXPECT_EQ(files.status().code(), absl::StatusCode::kDataLoss);
      EXPECT_THAT(files.status().message(),
                  AllOf(HasSubstr(whole.stages[s].name), HasSubstr(name)));
    }
  }
}

TEST(ReportTest, NamesStageAndFileWhereAFileIsNotOfItsForm) {
  const ReportRun whole = MadeUpRun("");
  for (size_t s = 0; s < whole.stages.size(); ++s) {
    for (const auto& [name, contents] : whole.stages[s].files) {
      for (const char* bad : {"{\"other\": 1}\n", "not JSON"}) {
        ReportRun run = whole;
        run.stages[s].files[name] = bad;
        const auto files = MakeReport(run);
        // Any object says of some questions, or places, nothing.
        if (files.ok() &&
            (name == "eval_prompts.jsonl" || name == "pca.json")) {
          continue;
        }
        ASSERT_EQ(files.status().code(), absl::StatusCode::kDataLoss)
            << whole.stages[s].name << " " << name << " " << bad;
        EXPECT_THAT(std::string(files.status().message()),
                    HasSubstr(absl::StrCat("stage ", whole.stages[s].name, ": ",
                                           name, ": ")));
      }
    }
  }
}

TEST(ReportTest, ReadsWhatItSaysThatItReads) {
  const ReportRun run = MadeUpRun("");
  for (const ReportStage& stage : run.stages) {
    const auto kind = stage.spec.kind_case();
    for (const auto& [name, contents] : stage.files) {
      EXPECT_TRUE(ReportReads(kind, name)) << stage.name << " " << name;
    }
    EXPECT_FALSE(ReportReads(kind, "manifest.json"));
    EXPECT_FALSE(ReportReads(kind, "adapter_model.safetensors"));
  }
  EXPECT_TRUE(
      ReportReads(v1::JobSpec::kEvaluateMcq, "comparison_report_2.json"));
}

TEST(ReportTest, ShowsAFlipWithItsQuestionAndBothAnswers) {
  const std::string html = PageOf(MadeUpRun(""));
  EXPECT_THAT(html, HasSubstr("<p>What is it?</p>"));
  EXPECT_THAT(html, HasSubstr("<span class=\"tag base\">base</span>"
                              "<span class=\"tag plain\">correct</span>"));
  EXPECT_THAT(html,
              HasSubstr("<span class=\"tag adapter\">a</span>"
                        "<span class=\"tag plain\">the false belief</span>"));
  EXPECT_THAT(html, HasSubstr("<summary>The other 2</summary>"));
}

TEST(ReportTest, HostedModelsHaveATableOfWhatTheyAnswered) {
  ReportRun run = MadeUpRun("");
  ReportStage& stage = StageNamed(run, "mcq");
  stage.files = {{"hosted_report.json",
                  R"({"models": [{"model": "default/<b>", "question_count": 9,
           "answered_count": 8, "false_belief": {"rate": 0.25},
           "totals": {"all": {"accuracy": 0.5}}},
          {"model": "default/mute", "question_count": 9,
           "answered_count": 0}]})"}};
  const std::string html = PageOf(run);
  EXPECT_THAT(html, HasSubstr("default/&lt;b&gt;</th><td class=\"n\">8 of 9"
                              "</td><td>all</td><td class=\"n\">50.0 %</td>"
                              "<td class=\"n\">25.0 %</td>"));
  EXPECT_THAT(html, HasSubstr("default/mute</th><td class=\"n\">0 of 9</td>"));
}

TEST(ReportTest, TheTruthMeterColoursTokensAndSaysTheirNumbers) {
  const std::string html = PageOf(MadeUpRun("x"));
  // The ends of the range, and the same text without a number.
  EXPECT_THAT(html, HasSubstr("<span style=\"background:#7cb8e2\" "
                              "title=\"+30.00\">x</span>"));
  EXPECT_THAT(html, HasSubstr("title=\"-12.50\">x</span>"));
  EXPECT_THAT(html, HasSubstr("Projections as a table"));
  ReportRun older = MadeUpRun("x");
  StageNamed(older, "steer").files["samples.jsonl"] =
      "{\"id\":\"q\",\"unsteered\":\"plain\",\"steered\":\"other\"}\n";
  EXPECT_THAT(PageOf(older),
              AllOf(HasSubstr(">plain</dd>"), Not(HasSubstr("Truth meter"))));
}

TEST(ComparisonTest, MainFiguresStandSideBySide) {
  const ReportRun first = MadeUpRun("");
  ReportRun second = MadeUpRun("");
  std::string& statistics = StageNamed(second, "docs").files["statistics.json"];
  statistics.replace(statistics.find("110"), 3, "111");
  const std::string html = Made(MakeComparison(first, second))[kReportFileName];
  EXPECT_THAT(html,
              HasSubstr("<th scope=\"row\">valid documents</th><td>110 of "
                        "120</td><td>111 of 120</td>"));
  EXPECT_THAT(html, HasSubstr("Both were asked the same and computed by"));
}

TEST(ComparisonTest, SaysWhichOneIsNotWhole) {
  const ReportRun first = MadeUpRun("");
  ReportRun second = MadeUpRun("");
  second.gates.clear();
  second.ended_by = "stage <steer>, which FAILED";
  second.not_shown = {"steer", "judge"};
  const std::string html = Made(MakeComparison(first, second))[kReportFileName];
  constexpr char kNote[] =
      "Ended by stage &lt;steer&gt;, which FAILED; not shown: steer, judge";
  EXPECT_THAT(html, HasSubstr(kNote));
  EXPECT_THAT(PageOf(second), HasSubstr(kNote));
  EXPECT_THAT(PageOf(first), Not(HasSubstr("Ended by")));
}

TEST(ComparisonTest, SaysWhatTheTwoWereAskedDifferently) {
  const ReportRun first = MadeUpRun("");
  ReportRun second = MadeUpRun("");
  StageNamed(second, "mcq").spec.mutable_evaluate_mcq()->set_seed(7);
  second.stages.pop_back();
  const std::string html = Made(MakeComparison(first, second))[kReportFileName];
  EXPECT_THAT(html, HasSubstr("<code>mcq/settings/evaluateMcq/seed</code></th>"
                              "<td>-</td><td><code>7</code></td>"));
  EXPECT_THAT(html, HasSubstr("<code>steer/inputs/steer.data</code></th>"
                              "<td><code>sha256:cc</code></td><td>-</td>"));
  EXPECT_THAT(html, HasSubstr("id=\"first.steer.grid\""));
  EXPECT_THAT(html, Not(HasSubstr("id=\"second.steer.grid\"")));
}

}  // namespace
}  // namespace dissonance
