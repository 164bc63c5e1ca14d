// A server with the shared tiny world, two users beside its owner, and requests
// of the dashboard to it. No job is started while a test runs, unless it says
// Resume().
#ifndef DISSONANCE_TESTS_SERVER_DASHBOARD_FIXTURE_H_
#define DISSONANCE_TESTS_SERVER_DASHBOARD_FIXTURE_H_

#include <memory>
#include <string>
#include <vector>

#include "tests/server/openai_fixture.h"
#include "tests/server/users_fixture.h"

namespace dissonance {

inline constexpr char kOverviewPath[] = "/api/overview";
inline constexpr char kEventsPath[] = "/api/events";

// "/api/jobs/ULID" and what follows.
std::string JobPath(const std::string& job, const char* rest = "");

class DashboardFixture : public OpenAiFixture {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();
  void SetUp() override;
  void TearDown() override { Resume(); }
  static void Resume();

  static const Client& ada() { return clients_[0]; }
  static const Client& bob() { return clients_[1]; }
  // An evaluation of two questions.
  static std::string CreateJobOf(const Client& client);

  static json Overview(const Client& client);
  // Of a job that must have come with 200.
  static std::string StateOf(const HttpReply& reply);
  // Of an error, e.g. "NOT_FOUND".
  static std::string CodeOf(const HttpReply& reply);
  // Sends the request for a stream; `headers` end in "\r\n".
  static std::unique_ptr<HttpConnection> Open(const std::string& path,
                                              const std::string& token,
                                              const std::string& headers = "");
  // A POST to the host "lab:1" with headers of one's own.
  static HttpReply PostWith(const std::string& path, const std::string& headers,
                            const std::string& token);

 private:
  static inline std::vector<Client> clients_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_DASHBOARD_FIXTURE_H_
