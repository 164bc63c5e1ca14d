// What a worker is told by whoever launches it. Secrets come by environment,
// never here. Values; thread safe.
#ifndef DISSONANCE_SERVER_WORKER_OPTIONS_H_
#define DISSONANCE_SERVER_WORKER_OPTIONS_H_

#include <cstdint>
#include <string>
#include <variant>

#include "server/worker/prompt_text.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

struct WorkerOptions {
  std::string listen;   // gRPC address to serve on, "unix:/run/w1" or "HOST:0"
  std::string control;  // gRPC target of the control plane
  // Holds the launch token; empty: the environment does.
  std::string token_file;
  int restart_count = 0;  // how often its launch was run before
  // Folder of the certificate that it and the control plane have; empty: none.
  std::string credentials;
  std::string device = "cpu";
  int threads = 0;  // of a CPU worker; 0: torch's choice
  int max_message_bytes = 256 << 20;
  // File that remembers digests of weights; empty: none.
  std::string digest_cache;
  // Folder of kept activations and their most bytes; empty or 0: none.
  std::string activation_store;
  int64_t activation_store_bytes = 0;
  int64_t weight_bytes = 0;  // of all models and adapters; 0: no bound
  // Of all trainings beside the weights; 0: what is free when one begins.
  int64_t training_bytes = 0;
  std::string scratch;  // folder of its own for files needed for a moment
  EngineOptions engine;
  RequestLimits limits;
};

// The options, or the exit code with which to end at once (after --help, or a
// message on standard error).
std::variant<WorkerOptions, int> ParseWorkerOptions(int argc,
                                                    const char* const* argv);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_OPTIONS_H_
