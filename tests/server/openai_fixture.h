// A server with the tiny world that serves HTTP, and requests of OpenAI's API
// to it.
#ifndef DISSONANCE_TESTS_SERVER_OPENAI_FIXTURE_H_
#define DISSONANCE_TESTS_SERVER_OPENAI_FIXTURE_H_

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "dissonance/v1/inference.pb.h"
#include "nlohmann/json.hpp"
#include "tests/server/server_fixture.h"
#include "tests/testing/http_client.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {

// The tiny world in float32, where rounding does not depend on how a sequence
// is split into prompt and continuation.
inline constexpr char kExactModel[] = "models/exact";
inline constexpr char kExactAdapter[] = "models/exact/adapters/cubic";

struct HttpReply {
  int code = 0;
  std::string headers;
  std::string body;
};

// What came back, with a body in chunks put together.
HttpReply ParseReply(const std::string& answer);

class OpenAiFixture : public ::testing::Test {
 protected:
  using json = nlohmann::json;

  static void SetUpTestSuite();
  static void TearDownTestSuite();

  static std::string RequestText(absl::string_view path,
                                 const std::string& body,
                                 const std::string& token);
  static HttpReply Post(absl::string_view path, const std::string& body,
                        const std::string& token = server_->OwnerToken());
  static HttpReply Get(absl::string_view path,
                       const std::string& token = server_->OwnerToken());
  // The JSON of an answer that must be 200.
  static json Completion(const json& request);
  static json ChatCompletion(const json& request);
  // The data of a stream's events, which must end with "[DONE]".
  static std::vector<json> Stream(absl::string_view path, const json& request);

  // All text that Generate gives for its one sample.
  static std::string Generated(const v1::GenerateRequest& request);
  // Whether the log has it behind its first bytes, now or when it comes.
  static bool AwaitLog(ServerProcess& server, size_t begin,
                       const std::string& text);

  static inline TempFolder* folder_ = nullptr;
  static inline ServerProcess* server_ = nullptr;
  static inline int port_ = 0;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_OPENAI_FIXTURE_H_
