#include "server/control/flags.h"

#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

namespace dissonance {
namespace {

absl::StatusOr<CommandLine> Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "dissonanced");
  return ParseCommandLine(static_cast<int>(arguments.size()), arguments.data());
}

Maintenance ParseMaintenance(const std::vector<const char*>& arguments) {
  const auto line = Parse(arguments);
  EXPECT_TRUE(line.ok()) << line.status();
  if (!line.ok() || !std::holds_alternative<Maintenance>(*line)) {
    ADD_FAILURE() << "not a subcommand: " << arguments.front();
    return {};
  }
  return std::get<Maintenance>(*line);
}

TEST(FlagsTest, WithoutASubcommandItIsAConfigurationToServeWith) {
  const auto line = Parse({"--data-dir", "/x", "--drain-seconds", "3"});
  ASSERT_TRUE(line.ok()) << line.status();
  ASSERT_TRUE(std::holds_alternative<Config>(*line));
  EXPECT_EQ(std::get<Config>(*line).data_dir, "/x");
  EXPECT_EQ(std::get<Config>(*line).drain_seconds, 3);
}

TEST(FlagsTest, SubcommandsHaveFlagsOfTheirOwn) {
  const Maintenance check =
      ParseMaintenance({"check", "--data-dir", "/x/", "--quick", "--repair"});
  EXPECT_EQ(check.kind, Maintenance::Kind::kCheck);
  EXPECT_EQ(check.data_dir, "/x");
  EXPECT_TRUE(check.quick);
  EXPECT_TRUE(check.repair);
  const Maintenance restore =
      ParseMaintenance({"restore", "--from", "/b", "--data-dir", "/x"});
  EXPECT_EQ(restore.kind, Maintenance::Kind::kRestore);
  EXPECT_EQ(restore.from, "/b");
  EXPECT_FALSE(restore.repair);
  EXPECT_EQ(ParseMaintenance({"owner-token", "--data-dir", "/x"}).kind,
            Maintenance::Kind::kOwnerToken);
}

TEST(FlagsTest, WrongUseEndsWithTwo) {
  for (const auto& arguments :
       std::vector<std::vector<const char*>>{{"restore", "--data-dir", "/x"},
                                             {"restore", "--from", "/x"},
                                             {"check", "--listen", "unix"},
                                             {"check", "restore"},
                                             {"repair"},
                                             {"--nothing"}}) {
    const auto line = Parse(arguments);
    ASSERT_TRUE(line.ok()) << line.status();
    ASSERT_TRUE(std::holds_alternative<int>(*line)) << arguments.front();
    EXPECT_EQ(std::get<int>(*line), 2) << arguments.front();
  }
}

}  // namespace
}  // namespace dissonance
