#include "src/lab/report/page.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "src/base/sha256.h"
#include "src/lab/report/assets.h"
#include "src/lab/report/html.h"

namespace dissonance {
namespace {

std::vector<absl::string_view> Scripts() {
  return {kVegaScript, kVegaLiteScript, kVegaEmbedScript, kPageScript};
}

// As a content security policy names a script.
std::string ScriptSource(absl::string_view script) {
  const std::string digest = Sha256Of(script);
  const std::string bytes =
      absl::HexStringToBytes(absl::StripPrefix(digest, "sha256:"));
  return absl::StrCat("'sha256-", absl::Base64Escape(bytes), "'");
}

// The charts' SVG carries style attributes.
std::string Policy() {
  std::string policy =
      "default-src 'none'; style-src 'unsafe-inline'; script-src";
  for (const absl::string_view script : Scripts()) {
    absl::StrAppend(&policy, " ", ScriptSource(script));
  }
  return absl::StrCat(policy, "; base-uri 'none'; form-action 'none'");
}

std::string Head(const std::string& title) {
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"",
      Policy(),
      "\">\n<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n<title>",
      Escaped(title), "</title>\n<style>\n", kPageStyle, "</style>\n</head>\n");
}

std::string Contents(const std::vector<Section>& sections) {
  std::string html =
      "<nav aria-labelledby=\"contents\"><h2 id=\"contents\">Contents</h2>\n"
      "<ol>\n";
  for (const Section& section : sections) {
    absl::StrAppend(&html, "<li><a href=\"#", section.id, "\">",
                    Escaped(section.title), "</a></li>\n");
  }
  return absl::StrCat(html, "</ol></nav>\n");
}

std::string SectionHtml(const Section& section) {
  return absl::StrCat("<section id=\"", section.id, "\" aria-labelledby=\"",
                      section.id, ".title\">\n<h2 id=\"", section.id,
                      ".title\">", Escaped(section.title), "</h2>\n",
                      section.html, "</section>\n");
}

std::string Footer() {
  return absl::StrCat(
      "<footer>\n",
      Paragraph(absl::StrCat(
          "Made by Dissonance. The file needs no network. Charts: ",
          kChartLibraries,
          " (University of Washington Interactive Data Lab, BSD-3-Clause).")),
      Details("Licences of what draws the charts",
              absl::StrCat("<pre class=\"scroll\">", Escaped(kChartLicence),
                           "</pre>")),
      "</footer>\n");
}

}  // namespace

std::string PageHtml(const PageParts& parts) {
  std::string html = absl::StrCat(
      Head(parts.title),
      "<body>\n<a class=\"skip\" href=\"#main\">Skip to the report</a>\n"
      "<div class=\"layout",
      parts.is_comparison ? " compared" : "", "\">\n<header><h1>",
      Escaped(parts.title), "</h1>\n", Paragraph(parts.kind, "kind"),
      "</header>\n", Contents(parts.sections), "<main id=\"main\">\n");
  for (const Section& section : parts.sections) html += SectionHtml(section);
  absl::StrAppend(&html, "</main>\n", Footer(), "</div>\n");
  for (const absl::string_view script : Scripts()) {
    absl::StrAppend(&html, "<script>", script, "</script>\n");
  }
  return absl::StrCat(html, "</body>\n</html>\n");
}

}  // namespace dissonance
