// The page in a real browser: Chromium, driven by open_report.mjs.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "src/lab/report/report.h"
#include "tests/lab/report/made_up_run.h"

namespace dissonance {
namespace {

// What the script prints, with its exit code behind it.
std::string Opened(const std::string& path) {
  const std::string command =
      absl::StrCat("node '", OPEN_REPORT_SCRIPT, "' '", ASSETS_DIR, "' '", path,
                   "' 2>&1; echo \"exit $?\"");
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  std::string output;
  char buffer[4096];
  while (std::fgets(buffer, sizeof(buffer), pipe) != nullptr) output += buffer;
  ::pclose(pipe);
  return output;
}

class ReportBrowserTest : public ::testing::Test {
 protected:
  ReportBrowserTest() {
    std::string path =
        (std::filesystem::temp_directory_path() / "report.XXXXXX").string();
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    directory_ = path;
  }
  ~ReportBrowserTest() override { std::filesystem::remove_all(directory_); }

  void ExpectDrawn(const absl::StatusOr<std::vector<JobFile>>& files) {
    ASSERT_TRUE(files.ok()) << files.status();
    const std::string path = absl::StrCat(directory_, "/report.html");
    std::ofstream(path, std::ios::binary) << files->front().contents;
    const std::string output = Opened(path);
    if (output.ends_with("exit 77\n")) {
      GTEST_SKIP() << "NO BROWSER, so the page was not opened in one: "
                   << output << "'./run setup' installs chromium and what "
                   << "drives it";
    }
    EXPECT_TRUE(output.ends_with("exit 0\n")) << output;
  }

  std::string directory_;
};

// At 1280 and 375 pixels, light and dark: no message on the console, all charts
// drawn, nothing wider than the page, nothing fetched.
TEST_F(ReportBrowserTest, DrawsAllChartsWhateverTheTexts) {
  ExpectDrawn(MakeReport(MadeUpRun(kHostileText)));
}

TEST_F(ReportBrowserTest, DrawsAComparison) {
  ExpectDrawn(MakeComparison(MadeUpRun(""), MadeUpRun(kHostileText)));
}

}  // namespace
}  // namespace dissonance
