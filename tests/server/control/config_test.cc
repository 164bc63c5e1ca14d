#include "server/control/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "src/base/file.h"

namespace dissonance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string MessageOf(absl::string_view text) {
  return std::string(ParseConfig(text, "d.toml").status().message());
}

TEST(ConfigTest, AnEmptyFileMeansTheDefaults) {
  const absl::StatusOr<Config> config = ParseConfig("", "d.toml");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(ConfigToToml(*config), ConfigToToml(Config()));
  EXPECT_THAT(config->listen, ElementsAre("unix", "127.0.0.1:50071"));
}

TEST(ConfigTest, TheExampleFileHasEveryKeyWithItsDefault) {
  const std::string path =
      DISSONANCE_SOURCE_DIR "/deploy/dissonanced.example.toml";
  const absl::StatusOr<Config> example = ReadConfigFile(path);
  ASSERT_TRUE(example.ok()) << example.status();
  EXPECT_EQ(ConfigToToml(*example), ConfigToToml(Config()));
  const std::string text = *ReadFile(path, 1 << 20);
  // Every line "key = value" of the canonical form is there in words.
  const std::string canonical = ConfigToToml(Config());
  for (size_t at = 0; at < canonical.size();) {
    const size_t end = canonical.find('\n', at);
    const std::string line = canonical.substr(at, end - at);
    const std::string key = line.substr(0, line.find(" = ") + 3);
    if (key.size() > 3) {
      EXPECT_THAT(text, HasSubstr("\n" + key));
    }
    at = end + 1;
  }
}

TEST(ConfigTest, AnUnknownKeyIsRefusedWithItsLine) {
  EXPECT_THAT(MessageOf("drain_seconds = 1\n[worker]\nthread = 2\n"),
              HasSubstr("d.toml:3: there is no key worker.thread"));
  EXPECT_THAT(MessageOf("\nport = 1\n"), HasSubstr("d.toml:2: "));
  EXPECT_THAT(MessageOf("[web]\nport = 1\n"), HasSubstr("no key web"));
  EXPECT_THAT(MessageOf("worker = 3\n"), HasSubstr("no key worker"));
}

TEST(ConfigTest, AValueOfAnotherTypeIsRefusedWithItsLine) {
  EXPECT_THAT(MessageOf("[worker]\nthreads = \"two\"\n"),
              HasSubstr("d.toml:2: worker.threads has to be a whole number"));
  EXPECT_THAT(MessageOf("listen = [1]\n"),
              HasSubstr("listen has to be a list of strings"));
}

TEST(ConfigTest, WhatIsNotTomlIsRefusedWithItsLine) {
  EXPECT_THAT(MessageOf("a = 1\nb = \n"), HasSubstr("d.toml:2: "));
}

TEST(ConfigTest, TheCanonicalFormParsesBackToItself) {
  Config config;
  config.data_dir = "/x/\"quoted\"";
  config.listen = {"[::1]:0"};
  config.worker.hang_seconds = 0.5;
  config.limits.tokens = 7;
  config.upgrade_database = true;
  const std::string text = ConfigToToml(config);
  const absl::StatusOr<Config> parsed = ParseConfig(text, "d.toml");
  ASSERT_TRUE(parsed.ok()) << parsed.status() << text;
  EXPECT_EQ(ConfigToToml(*parsed), text);
  EXPECT_EQ(parsed->data_dir, config.data_dir);
}

TEST(ConfigTest, ValuesOutOfRangeAreRefusedByName) {
  Config config;
  config.data_dir = "/x";
  config.jobs.concurrent = 0;
  EXPECT_THAT(std::string(ResolveConfig(config).status().message()),
              HasSubstr("jobs.concurrent is 0"));
  config = Config();
  config.data_dir = "/" + std::string(120, 'x');
  EXPECT_THAT(std::string(ResolveConfig(config).status().message()),
              HasSubstr("too long"));
  config = Config();
  config.data_dir = "/x";
  config.tls.key_file = "key.pem";
  EXPECT_THAT(std::string(ResolveConfig(config).status().message()),
              HasSubstr("tls needs both"));
  config.tls.key_file = "";
  config.tls.client_ca_file = "ca.pem";
  EXPECT_THAT(std::string(ResolveConfig(config).status().message()),
              HasSubstr("tls.client_ca_file needs tls.certificate_file"));
  config.tls = {};
  config.log_format = "yaml";
  EXPECT_THAT(std::string(ResolveConfig(config).status().message()),
              HasSubstr("log_format is \"yaml\"; it has to be one of text, "
                        "json"));
}

}  // namespace
}  // namespace dissonance
