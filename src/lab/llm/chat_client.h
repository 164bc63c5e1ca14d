// Asks a chat endpoint, many calls at a time on one thread and few kept
// connections. A call that fails in passing is made again after a pause that
// grows, with chance in it; one that the endpoint told to wait (429, or
// Retry-After) holds all others back too, and costs no try. What came of a call
// is told once. Thread safe.
//
//   ASSIGN_OR_RETURN(auto client, ChatClient::Create(endpoint));
//   client->Submit(request, [](absl::StatusOr<ChatReply> reply) { ... });
#ifndef DISSONANCE_LAB_LLM_CHAT_CLIENT_H_
#define DISSONANCE_LAB_LLM_CHAT_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "src/lab/llm/chat_endpoint.h"
#include "src/lab/llm/chat_messages.h"

namespace dissonance {

// Figures since the client was made.
struct ChatStats {
  int64_t sent_count = 0;    // tries
  int64_t told_to_wait = 0;  // of them
  int64_t failed_count = 0;  // of them, otherwise
  int64_t completed_count = 0;
  int64_t most_in_flight = 0;
};

class ChatClient {
 public:
  // Called once, on the client's thread, so it has to be quick.
  //   UNAVAILABLE        no answer, or none that is whole, after all tries
  //   RESOURCE_EXHAUSTED told to wait for longer than its patience, or nothing
  //                      is left of a quota
  //   UNAUTHENTICATED, PERMISSION_DENIED, NOT_FOUND, INVALID_ARGUMENT
  //                      as the endpoint refused it
  //   FAILED_PRECONDITION the endpoint's certificate is not to be trusted
  //   CANCELLED          Cancel, or the client's end
  using Done = std::function<void(absl::StatusOr<ChatReply>)>;

  // INVALID_ARGUMENT as CheckEndpoint says.
  static absl::StatusOr<std::unique_ptr<ChatClient>> Create(
      ChatEndpoint endpoint);
  // Cancels all calls first.
  ~ChatClient();
  ChatClient(const ChatClient&) = delete;
  ChatClient& operator=(const ChatClient&) = delete;

  // Returns the call's number. Calls begin in the order of their submission.
  int64_t Submit(ChatRequest request, Done done);
  // Ends a call that has not ended, soon. Whoever sent it may be billed.
  void Cancel(int64_t number);

  const ChatEndpoint& endpoint() const;
  ChatStats stats() const;

 private:
  class Loop;
  explicit ChatClient(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_LLM_CHAT_CLIENT_H_
