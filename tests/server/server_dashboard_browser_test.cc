// The dashboard in a real browser: Chromium, driven by use_dashboard.mjs.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/jobs.pb.h"
#include "tests/client/subprocess.h"
#include "tests/server/finetune_fixture.h"
#include "tests/server/openai_fixture.h"

namespace dissonance {
namespace {

// The shell's code of a script that cannot run.
constexpr int kSkipped = 77;
// And of env.
constexpr int kNoNode = 127;

class DashboardBrowserTest : public OpenAiFixture {};

// A token typed in, progress that moves, a job cancelled and opened; at 1280
// and 375 pixels, light and dark: no message on the console, nothing wider than
// the page, no other host asked, and no markup in what was data.
TEST_F(DashboardBrowserTest, APersonWatchesAndCancelsAJob) {
  v1::JobSpec spec = EndlessTraining();
  v1::FineTuneSpec& tune = *spec.mutable_fine_tune();
  tune.set_model(kTinyModel);
  tune.set_output_adapter("models/tiny/adapters/mine");
  tune.set_data_name("<img src=x onerror=alert(1)><script>alert(2)</script>");
  const auto job = CreateJob(*server_, spec, "");
  ASSERT_TRUE(job.ok()) << job.status();

  const char* path = std::getenv("PATH");
  const char* screenshots = std::getenv("DISSONANCE_SCREENSHOTS");
  Subprocess browser({"/usr/bin/env", "node", USE_DASHBOARD_SCRIPT, ASSETS_DIR,
                      absl::StrCat("http://127.0.0.1:", port_),
                      screenshots == nullptr ? "" : screenshots},
                     {{"TOKEN", server_->OwnerToken()},
                      {"HOME", folder_->path()},
                      {"PATH", path == nullptr ? "/usr/bin" : path}});
  const CommandResult result = browser.Finish();
  if (result.exit_code == kSkipped || result.exit_code == kNoNode) {
    GTEST_SKIP() << "NO BROWSER, so the page was not used in one: "
                 << result.out << result.err
                 << "'./run setup' installs chromium and what drives it";
  }
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
}

}  // namespace
}  // namespace dissonance
