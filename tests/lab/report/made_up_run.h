// An experiment with a stage of every kind that a report tells of, with small
// made-up results. `text` is part of every text in it: names, questions,
// answers, reasons. Pure.
#ifndef DISSONANCE_TESTS_LAB_REPORT_MADE_UP_RUN_H_
#define DISSONANCE_TESTS_LAB_REPORT_MADE_UP_RUN_H_

#include <string>

#include "src/lab/report/report.h"

namespace dissonance {

// Ends scripts, attributes and elements, where it is not escaped.
inline constexpr char kHostileText[] =
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    "\"'&amp;</td>\xE2\x80\xA8,\n--> ]]> ${x}`";

ReportRun MadeUpRun(const std::string& text);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_REPORT_MADE_UP_RUN_H_
