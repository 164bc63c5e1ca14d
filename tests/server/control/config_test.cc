#include "server/control/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "src/base/file.h"

namespace dissonance {
namespace {

using ::testing::Contains;
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

TEST(ConfigTest, TheExampleOfAClusterIsOneThatCanRun) {
  auto config =
      ReadConfigFile(DISSONANCE_SOURCE_DIR "/deploy/slurm/dissonanced.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  config = ResolveConfig(*std::move(config));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->worker.launcher, kSlurmLauncher);
  EXPECT_GT(config->worker.count, config->worker.least);
  EXPECT_THAT(config->slurm.options, Contains("--gres=gpu:1"));
}

TEST(ConfigTest, WorkersAreAtLeastOneAndNoMoreRunAlwaysThanThereAre) {
  const auto refusal = [](const char* text) {
    auto config = ParseConfig(text, "d.toml");
    EXPECT_TRUE(config.ok()) << config.status();
    config->data_dir = "/tmp/d";
    return std::string(ResolveConfig(*config).status().message());
  };
  EXPECT_THAT(refusal("[worker]\ncount = 0\n"), HasSubstr("worker.count is 0"));
  EXPECT_THAT(refusal("[worker]\ncount = 2\nleast = 3\n"),
              HasSubstr("worker.least is 3; it has to be from 0 to 2"));
  EXPECT_THAT(refusal("[worker]\nlauncher = \"pbs\"\n"),
              HasSubstr("worker.launcher is \"pbs\"; it has to be one of "
                        "local, slurm"));
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

TEST(ConfigTest, ChatEndpointsHaveNamesOfTheirOwn) {
  const std::string text =
      "[llm.default]\nbase_url = \"https://a/v1\"\napi_key_env = \"A\"\n"
      "[llm.my-judge]\nbase_url = \"https://b/v1\"\nin_flight = 3\n"
      "prompt_price = 0.15\n";
  absl::StatusOr<Config> config = ParseConfig(text, "d.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->llm.size(), 2U);
  EXPECT_EQ(config->llm["default"].api_key_env, "A");
  EXPECT_EQ(config->llm["my-judge"].in_flight, 3);
  const absl::StatusOr<Config> again =
      ParseConfig(ConfigToToml(*config), "d.toml");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->llm.at("my-judge").prompt_price, 0.15);
}

TEST(ConfigTest, AChatEndpointsMistakesAreNamedWithIt) {
  EXPECT_THAT(MessageOf("[llm.judge]\nbase_uri = \"x\"\n"),
              HasSubstr("d.toml:2: there is no key llm.judge.base_uri"));
  EXPECT_THAT(MessageOf("[llm]\nbase_url = \"x\"\n"),
              HasSubstr("d.toml:1: there is no key llm"));
  EXPECT_THAT(MessageOf("llm = 3\n"), HasSubstr("there is no key llm"));
  const auto refusal = [](const LlmConfig& llm) {
    Config config;
    config.data_dir = "/x";
    config.llm["judge"] = llm;
    return std::string(ResolveConfig(config).status().message());
  };
  EXPECT_THAT(refusal({}), HasSubstr("llm.judge.base_url is missing"));
  Config config;
  config.data_dir = "/x";
  config.llm["gpt-4.1"].base_url = "https://a";
  EXPECT_THAT(std::string(ResolveConfig(config).status().message()),
              HasSubstr("[llm.\"gpt-4.1\"]: an endpoint's name"));
  LlmConfig llm = {.base_url = "https://a"};
  llm.in_flight = 0;
  EXPECT_THAT(refusal(llm), HasSubstr("llm.judge.in_flight is 0"));
  llm = {.base_url = "https://a", .api_key_file = "f", .api_key_env = "E"};
  EXPECT_THAT(refusal(llm), HasSubstr("both given"));
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
