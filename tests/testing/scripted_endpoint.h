// A chat endpoint of the tests' own: a real HTTP server on a port of this
// machine that answers as a script says, faults included. Thread safe.
//
//   ScriptedEndpoint endpoint([](const ScriptedRequest& request) {
//     return ScriptedAnswer::Says("eight");
//   });
//   ChatEndpoint where{.base_url = endpoint.base_url()};
#ifndef DISSONANCE_TESTS_TESTING_SCRIPTED_ENDPOINT_H_
#define DISSONANCE_TESTS_TESTING_SCRIPTED_ENDPOINT_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace dissonance {

struct ScriptedRequest {
  int64_t number = 0;  // from 0, in the order of arrival
  std::string path;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  nlohmann::json json;  // of the body; discarded if it is none

  // Of the last message.
  std::string Prompt() const;
};

struct ScriptedAnswer {
  enum class Fault {
    kNone,
    kHang,     // no answer until the endpoint ends
    kStall,    // half of the body, then no more
    kHalf,     // half of the body, then the connection ends
    kNothing,  // the connection ends at once
  };
  int code = 200;
  std::string body = {};
  std::map<std::string, std::string> headers = {};
  Fault fault = Fault::kNone;

  // A completion with this text and some usage.
  static ScriptedAnswer Says(absl::string_view text);
  static ScriptedAnswer Refuses(int code, absl::string_view message);
};

class ScriptedEndpoint {
 public:
  // Called on connections' threads, several at once.
  using Script = std::function<ScriptedAnswer(const ScriptedRequest&)>;
  // PEM texts; empty: plain HTTP.
  struct Tls {
    std::string certificate;
    std::string key;
  };

  explicit ScriptedEndpoint(Script script, const Tls& tls = {});
  ~ScriptedEndpoint();
  ScriptedEndpoint(const ScriptedEndpoint&) = delete;
  ScriptedEndpoint& operator=(const ScriptedEndpoint&) = delete;

  std::string base_url() const;
  int port() const;
  // All so far, in the order of arrival.
  std::vector<ScriptedRequest> requests() const;
  // Most that were being answered at a time.
  int64_t most_at_once() const;
  // Lets go whoever hangs or stalls; later ones hang no more.
  void Release();

 private:
  class Server;
  std::unique_ptr<Server> server_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_TESTING_SCRIPTED_ENDPOINT_H_
