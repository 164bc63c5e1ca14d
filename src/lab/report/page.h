// A page of sections: one HTML file that needs nothing else and fetches
// nothing. Its security policy forbids it to, and lets only the scripts run
// that were built into this program, known by their digests. Pure; thread safe.
//
//   const std::string html = PageHtml({.title = run.title, .sections = ...});
#ifndef DISSONANCE_LAB_REPORT_PAGE_H_
#define DISSONANCE_LAB_REPORT_PAGE_H_

#include <string>
#include <vector>

#include "src/lab/report/section.h"

namespace dissonance {

struct PageParts {
  std::string title;  // text
  std::string kind;   // what the page is, one line of text
  std::vector<Section> sections;
  bool is_comparison = false;
};

std::string PageHtml(const PageParts& parts);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_REPORT_PAGE_H_
