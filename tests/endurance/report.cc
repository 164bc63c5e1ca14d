#include "tests/endurance/report.h"

#include <cmath>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance {

std::string Report::ToMarkdown() const {
  std::string text = absl::StrCat("| ", name, " | |\n|---|---|\n");
  for (const auto& [figure, value] : figures) {
    absl::StrAppend(&text, "| ", figure, " | ",
                    value.is_string() ? value.get<std::string>() : value.dump(),
                    " |\n");
  }
  absl::StrAppend(&text, "| violations | ", violations.size(), " |\n");
  for (const std::string& violation : violations) {
    absl::StrAppend(&text, "\nviolation: ", violation, "\n");
  }
  return text;
}

nlohmann::ordered_json Report::ToJson() const {
  nlohmann::ordered_json json;
  json["name"] = name;
  for (const auto& [figure, value] : figures) json["figures"][figure] = value;
  json["details"] = details;
  json["violations"] = violations;
  return json;
}

absl::Status Report::Publish(const std::string& out_dir) const {
  std::cout << ToMarkdown() << std::flush;
  if (out_dir.empty()) {
    std::cout << ToJson()["figures"].dump() << std::endl;
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(MakeDirectories(out_dir));
  const std::string path = absl::StrCat(out_dir, "/", name);
  RETURN_IF_ERROR(WriteFileAtomically(path + ".md", ToMarkdown()));
  return WriteFileAtomically(path + ".json", ToJson().dump(1) + "\n");
}

double Rounded(double value) { return std::round(value * 1000.0) / 1000.0; }

}  // namespace dissonance
