#include "src/lab/llm/chat_endpoints.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/status_macros.h"

namespace dissonance {

absl::StatusOr<ChatClient*> ChatEndpoints::Find(const std::string& name) {
  const std::string wanted = name.empty() ? kDefault : name;
  const auto endpoint = endpoints_.find(wanted);
  if (endpoint == endpoints_.end()) {
    std::vector<std::string> names;
    for (const auto& [known, unused] : endpoints_) names.push_back(known);
    return absl::InvalidArgumentError(absl::StrCat(
        "this server has no chat endpoint \"", wanted,
        "\"; there are: ", names.empty() ? "none" : absl::StrJoin(names, ", "),
        "; its administrator adds one as [llm.", wanted,
        "] to the server's configuration",
        wanted == kDefault ? ", or sets OPENAI_API_KEY for it" : "",
        ", and starts it again"));
  }
  const absl::MutexLock lock(&mutex_);
  std::unique_ptr<ChatClient>& client = clients_[wanted];
  if (client == nullptr) {
    absl::StatusOr<std::unique_ptr<ChatClient>> made =
        ChatClient::Create(endpoint->second);
    if (!made.ok()) {
      return Annotate(made.status(), absl::StrCat("endpoint ", wanted));
    }
    client = *std::move(made);
  }
  return client.get();
}

}  // namespace dissonance
