// A part of a report: what it says, and the figures of it that its summary
// repeats. A value; thread safe.
#ifndef DISSONANCE_LAB_REPORT_SECTION_H_
#define DISSONANCE_LAB_REPORT_SECTION_H_

#include <string>
#include <vector>

#include "src/lab/jobs/job_files.h"

namespace dissonance {

// A main number. Text, escaped where it is shown.
struct Highlight {
  std::string label;        // "false-belief rate, cubic"
  std::string value;        // "65.0 %"
  std::string detail = {};  // "[56, 73], of 120 questions"
};

struct Section {
  std::string id;         // of the element, unique on the page
  std::string title;      // text
  std::string html = {};  // below the title; its headings are h3
  std::vector<Highlight> highlights = {};
  std::vector<JobFile> files = {};  // of its figures
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_REPORT_SECTION_H_
