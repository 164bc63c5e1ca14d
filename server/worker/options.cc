#include "server/worker/options.h"

#include "CLI/CLI.hpp"

namespace dissonance {
namespace {

void DefineEngine(CLI::App& app, EngineOptions& engine) {
  app.add_option("--step-tokens", engine.step_tokens,
                 "Most rows of a step; 0: what suits the device")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--decode-step-tokens", engine.decode_step_tokens,
                 "Most prompt rows of a step in which a user waits for a "
                 "token; 0: what suits the device")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--kv-cache-bytes", engine.kv_cache_bytes,
                 "Key/value caches in all; 0: what suits the device")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--prefix-cache-bytes", engine.prefix_cache_bytes,
                 "What is kept of earlier prompts; 0: nothing")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--queue-limit", engine.queue_limit, "Sequences waiting")
      ->check(CLI::PositiveNumber);
  app.add_option("--training-share", engine.background_share,
                 "Of the time, what trainings get while users never cease")
      ->check(CLI::Range(0.0, 0.9));
  app.add_option("--reproducible", engine.reproducible,
                 "Bit-identical results whatever shares the batch");
}

void DefineLimits(CLI::App& app, RequestLimits& limits) {
  app.add_option("--text-bytes", limits.text_bytes, "Of one text")
      ->check(CLI::PositiveNumber);
  app.add_option("--items", limits.items, "Of one Score request")
      ->check(CLI::PositiveNumber);
  app.add_option("--continuations", limits.continuations, "Of one item")
      ->check(CLI::PositiveNumber);
  app.add_option("--tokens", limits.tokens, "Of one Score request")
      ->check(CLI::PositiveNumber);
}

}  // namespace

std::variant<WorkerOptions, int> ParseWorkerOptions(int argc,
                                                    const char* const* argv) {
  WorkerOptions options;
  CLI::App app(
      "The compute process of Dissonance. dissonanced starts it; the launch "
      "token comes in DISSONANCE_LAUNCH_TOKEN.",
      "dissonance-worker");
  app.add_option("--listen", options.listen, "Address to serve on")->required();
  app.add_option("--control", options.control, "The control plane's target")
      ->required();
  app.add_option("--token-file", options.token_file,
                 "File with the launch token, in place of the environment");
  app.add_option("--restart-count", options.restart_count,
                 "How often its launch was run before")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--credentials", options.credentials,
                 "Folder with the certificate and key of all workers");
  app.add_option("--digest-cache", options.digest_cache,
                 "File that remembers digests of weights");
  app.add_option("--activation-store", options.activation_store,
                 "Folder of activations that are kept");
  app.add_option("--activation-store-bytes", options.activation_store_bytes,
                 "Most bytes of them; 0: none")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--weight-bytes", options.weight_bytes,
                 "Weights on the device, models and adapters; 0: no bound")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--training-bytes", options.training_bytes,
                 "Trainings beside the weights; 0: what is free")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--scratch", options.scratch,
                 "Folder of its own for files needed for a moment")
      ->required();
  app.add_option("--device", options.device, "cpu or cuda:N");
  app.add_option("--threads", options.threads,
                 "Compute threads on a CPU; 0: torch's choice")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-message-bytes", options.max_message_bytes,
                 "Of a request or response")
      ->check(CLI::PositiveNumber);
  DefineEngine(app, options.engine);
  DefineLimits(app, options.limits);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e);
  }
  return options;
}

}  // namespace dissonance
