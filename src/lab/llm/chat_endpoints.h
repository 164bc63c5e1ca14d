// The chat endpoints of a server, by name. A client is made when it is first
// asked for. Thread safe.
//
//   ChatEndpoints endpoints({{"default", endpoint}});
//   ASSIGN_OR_RETURN(ChatClient * client, endpoints.Find("default"));
#ifndef DISSONANCE_LAB_LLM_CHAT_ENDPOINTS_H_
#define DISSONANCE_LAB_LLM_CHAT_ENDPOINTS_H_

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "src/lab/llm/chat_client.h"
#include "src/lab/llm/chat_endpoint.h"

namespace dissonance {

class ChatEndpoints {
 public:
  static constexpr char kDefault[] = "default";

  explicit ChatEndpoints(std::map<std::string, ChatEndpoint> endpoints)
      : endpoints_(std::move(endpoints)) {}

  // Lives as long as this does. INVALID_ARGUMENT, with the names there are, for
  // another one, or as ChatClient::Create says. Empty: kDefault.
  absl::StatusOr<ChatClient*> Find(const std::string& name)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const std::map<std::string, ChatEndpoint> endpoints_;
  absl::Mutex mutex_;
  std::map<std::string, std::unique_ptr<ChatClient>> clients_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_LLM_CHAT_ENDPOINTS_H_
