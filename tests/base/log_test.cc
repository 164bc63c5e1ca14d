#include "src/base/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "spdlog/spdlog.h"
#include "src/base/file.h"
#include "src/base/utf8.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::EndsWith;
using ::testing::MatchesRegex;
using ::testing::SizeIs;

std::string Text(absl::string_view message,
                 const std::vector<LogField>& fields = {}) {
  const std::string line = FormatLogLine(LogFormat::kText, absl::UnixEpoch(),
                                         "info", message, fields);
  const std::string level = " info ";
  return line.substr(line.find(level) + level.size());
}

nlohmann::json Json(absl::string_view message,
                    const std::vector<LogField>& fields = {}) {
  const std::string line = FormatLogLine(LogFormat::kJson, absl::UnixEpoch(),
                                         "info", message, fields);
  EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
  EXPECT_FALSE(FindInvalidUtf8(line).has_value()) << line;
  return nlohmann::json::parse(line);
}

TEST(LogTest, ATextLineHasTimeLevelMessageAndFields) {
  const std::string job = "jobs/01J";
  EXPECT_EQ(Text("job ended", {{"job", job}, {"items", 17}, {"rate", 1.5}}),
            "job ended job=jobs/01J items=17 rate=1.5\n");
  EXPECT_THAT(
      FormatLogLine(LogFormat::kText, absl::UnixEpoch(), "warning", "m", {}),
      MatchesRegex("(1970-01-01|1969-12-31)T..:..:00[.]000[+-]..:.. "
                   "warning m\n"));
}

TEST(LogTest, ATextValueIsQuotedWhereItsEndWouldBeUnclear) {
  EXPECT_EQ(Text("m", {{"a", "two words"}}), "m a=\"two words\"\n");
  EXPECT_EQ(Text("m", {{"a", ""}, {"b", "x=y"}}), "m a=\"\" b=\"x=y\"\n");
  EXPECT_EQ(Text("m", {{"a", "say \"no\" \\"}}),
            "m a=\"say \\\"no\\\" \\\\\"\n");
  EXPECT_EQ(Text("m", {{"a", "größe"}}), "m a=größe\n");
}

TEST(LogTest, ALineStaysALineWhateverIsInIt) {
  EXPECT_EQ(Text("a\nb\r\x1b[31m\x7f", {{"c", "d\ne"}}),
            "a\\nb\\x0d\\x1b[31m\\x7f c=d\\ne\n");
  EXPECT_EQ(Text("\xC2\x9B"), "\\x9b\n");
  EXPECT_EQ(Text(absl::string_view("a\0b", 3)), "a\\x00b\n");
  EXPECT_EQ(Json("a\nb", {{"c", "\x1b\"}\n{"}})["c"], "\x1b\"}\n{");
}

TEST(LogTest, BytesThatAreNotUtf8AreReplaced) {
  EXPECT_EQ(Text("a\xFF\xC3", {{"b", "\xE2\x82"}}),
            "a\uFFFD\uFFFD b=\uFFFD\uFFFD\n");
  EXPECT_EQ(Json("a\xFF", {{"b", "\xC0"}})["b"], "\uFFFD");
}

TEST(LogTest, AJsonLineIsOneObject) {
  const nlohmann::json line =
      Json("job \"x\" ended", {{"job", "jobs/01J"}, {"items", 17}});
  EXPECT_THAT(line, SizeIs(5));
  EXPECT_EQ(line["level"], "info");
  EXPECT_EQ(line["message"], "job \"x\" ended");
  EXPECT_EQ(line["job"], "jobs/01J");
  EXPECT_EQ(line["items"], 17);
  EXPECT_THAT(line["time"].get<std::string>(),
              MatchesRegex("....-..-..T..:..:00[.]000[+-]..:.."));
}

// Standard error of the process, in a file for as long as it lives.
class CapturedErrors {
 public:
  CapturedErrors() : saved_(::dup(STDERR_FILENO)) {
    const int file = ::open(path_.c_str(), O_WRONLY | O_CREAT, 0600);
    ::dup2(file, STDERR_FILENO);
    ::close(file);
  }
  ~CapturedErrors() { Restore(); }
  std::vector<std::string> Lines() {
    Restore();
    return absl::StrSplit(ReadFile(path_, 1 << 20).value_or(""), '\n');
  }

 private:
  void Restore() {
    if (saved_ < 0) return;
    ::dup2(saved_, STDERR_FILENO);
    ::close(saved_);
    saved_ = -1;
  }

  const TempFolder folder_;
  const std::string path_ = folder_.File("errors");
  int saved_;
};

TEST(LogTest, CallsOfSpdlogComeOutInTheSameFormat) {
  CapturedErrors errors;
  StartLog({.format = LogFormat::kJson, .level = "info"});
  Log(LogLevel::kDebug, "too little", {{"a", "b"}});
  Log(LogLevel::kWarning, "{} is no place", {{"a", "b"}});
  spdlog::error("{} and \"{}\"", 1, "two\n");
  const std::vector<std::string> lines = errors.Lines();
  ASSERT_THAT(lines, SizeIs(3));
  const nlohmann::json ours = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(ours["message"], "{} is no place");
  EXPECT_EQ(ours["level"], "warning");
  EXPECT_EQ(ours["a"], "b");
  const nlohmann::json theirs = nlohmann::json::parse(lines[1]);
  EXPECT_EQ(theirs["message"], "1 and \"two\n\"");
  EXPECT_EQ(theirs["level"], "error");
  // The fields of the line before are not its.
  EXPECT_THAT(theirs, SizeIs(3));
}

TEST(LogTest, TextIsWrittenToStandardError) {
  CapturedErrors errors;
  StartLog({});
  Log(LogLevel::kInfo, "hello", {{"who", "the world"}});
  spdlog::info("{}", "again");
  const std::vector<std::string> lines = errors.Lines();
  ASSERT_THAT(lines, SizeIs(3));
  EXPECT_THAT(lines[0], EndsWith(" info hello who=\"the world\""));
  EXPECT_THAT(lines[1], EndsWith(" info again"));
}

}  // namespace
}  // namespace dissonance
