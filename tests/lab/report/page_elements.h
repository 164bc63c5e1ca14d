// What a page consists of, found with expressions that fit the pages that this
// project writes. Pure.
#ifndef DISSONANCE_TESTS_LAB_REPORT_PAGE_ELEMENTS_H_
#define DISSONANCE_TESTS_LAB_REPORT_PAGE_ELEMENTS_H_

#include <regex>
#include <string>
#include <vector>

namespace dissonance {

// The first group of each match.
inline std::vector<std::string> Matches(const std::string& text,
                                        const std::string& pattern) {
  std::vector<std::string> found;
  const std::regex expression(pattern);
  for (std::sregex_iterator at(text.begin(), text.end(), expression), end;
       at != end; ++at) {
    found.push_back((*at)[1].str());
  }
  return found;
}

// Tags of a page without scripts, the values of their attributes taken out.
inline std::vector<std::string> TagsOf(const std::string& html) {
  static const std::regex value("=\"[^\"]*\"");
  return Matches(std::regex_replace(html, value, ""), "<([a-z][^<>]*)>");
}

struct PageScripts {
  std::vector<std::string> code;  // what runs
  std::vector<std::string> data;  // what does not
  std::string rest;               // the page without what is in scripts
};

inline PageScripts SplitScripts(const std::string& html) {
  PageScripts scripts;
  size_t at = 0;
  while (true) {
    const size_t tag = html.find("<script", at);
    if (tag == std::string::npos) break;
    const size_t begin = html.find('>', tag) + 1;
    const size_t end = html.find("</script", begin);
    scripts.rest += html.substr(at, begin - at);
    const bool is_data =
        html.substr(tag, begin - tag).find("json") != std::string::npos;
    (is_data ? scripts.data : scripts.code)
        .push_back(html.substr(begin, end - begin));
    at = end;
  }
  scripts.rest += html.substr(at);
  return scripts;
}

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_REPORT_PAGE_ELEMENTS_H_
