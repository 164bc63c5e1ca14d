#include "src/lab/llm/chat_endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dissonance {
namespace {

using testing::HasSubstr;
using testing::Not;

Environment Holding(std::map<std::string, std::string> values) {
  return [values = std::move(values)](
             const std::string& name) -> std::optional<std::string> {
    const auto at = values.find(name);
    if (at == values.end()) return std::nullopt;
    return at->second;
  };
}

TEST(FillFromEnvironment, TakesOpenAisNames) {
  ChatEndpoint endpoint;
  FillFromEnvironment(Holding({{"OPENAI_BASE_URL", "http://127.0.0.1:1/v1"},
                               {"OPENAI_API_KEY", "k"},
                               {"OPENROUTER_API_KEY", "other"}}),
                      endpoint);
  EXPECT_EQ(endpoint.base_url, "http://127.0.0.1:1/v1");
  EXPECT_EQ(endpoint.key.Reveal(), "k");
}

TEST(FillFromEnvironment, TakesOpenRoutersKeyWithItsAddressAndHeaders) {
  ChatEndpoint endpoint;
  FillFromEnvironment(Holding({{"OPENROUTER_API_KEY", "k"},
                               {"OPENROUTER_HTTP_REFERER", "https://lab"},
                               {"OPENROUTER_X_TITLE", "Lab"}}),
                      endpoint);
  EXPECT_EQ(endpoint.base_url, "https://openrouter.ai/api/v1");
  EXPECT_EQ(endpoint.key.Reveal(), "k");
  EXPECT_EQ(endpoint.headers.at("HTTP-Referer"), "https://lab");
  EXPECT_EQ(endpoint.headers.at("X-Title"), "Lab");
}

TEST(FillFromEnvironment, LeavesWhatIsSet) {
  ChatEndpoint endpoint{.base_url = "https://own/v1", .key = Secret("own")};
  FillFromEnvironment(
      Holding({{"OPENAI_BASE_URL", "https://x"}, {"OPENAI_API_KEY", "k"}}),
      endpoint);
  EXPECT_EQ(endpoint.base_url, "https://own/v1");
  EXPECT_EQ(endpoint.key.Reveal(), "own");
  ChatEndpoint none;
  FillFromEnvironment(Holding({}), none);
  EXPECT_EQ(none.base_url, "https://api.openai.com/v1");
}

TEST(CheckEndpoint, RefusesWhatWouldGiveTheKeyAway) {
  const auto check = [](const std::string& url, const std::string& key) {
    return CheckEndpoint({.base_url = url, .key = Secret(key)});
  };
  EXPECT_TRUE(check("https://host/v1", "k").ok());
  EXPECT_TRUE(check("http://127.0.0.1:8000/v1", "k").ok());
  EXPECT_TRUE(check("http://localhost", "k").ok());
  EXPECT_TRUE(check("http://host/v1", "").ok());
  EXPECT_THAT(check("http://host/v1", "k").message(), HasSubstr("unencrypted"));
  EXPECT_FALSE(check("http://127.0.0.1.evil.org/v1", "k").ok());
  EXPECT_FALSE(check("http://localhost.evil.org/v1", "k").ok());
  EXPECT_FALSE(check("http://127.0.0.1@evil.org/v1", "k").ok());
  EXPECT_FALSE(check("https://host/v1", "k\nX-Other: 1").ok());
  EXPECT_FALSE(check("ftp://host", "").ok());
  const absl::Status user = check("https://me:secret@host/v1", "");
  EXPECT_FALSE(user.ok());
  EXPECT_THAT(user.message(), Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace dissonance
