// Whose calls come first. Thread safe.
#ifndef DISSONANCE_SERVER_WORKER_CALL_PRIORITY_H_
#define DISSONANCE_SERVER_WORKER_CALL_PRIORITY_H_

#include "grpcpp/support/server_callback.h"
#include "src/base/call_priority.h"
#include "src/compute/engine/engine_options.h"

namespace dissonance {

// Interactive, but for a call that is marked as a job's.
inline Priority PriorityOf(const grpc::CallbackServerContext& context) {
  const auto found = context.client_metadata().find(kPriorityKey);
  return found != context.client_metadata().end() &&
                 found->second == kJobPriority
             ? Priority::kJob
             : Priority::kInteractive;
}

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_CALL_PRIORITY_H_
