// The engine without server and wire, driven by JSON: what `./run bench`
// measures and compares the server with. Not thread safe.
//
//   ASSIGN_OR_RETURN(auto bench, EngineBench::Create(
//       R"({"model": "/models/llama", "adapters": ["/adapters/a"]})"));
//   ASSIGN_OR_RETURN(std::string answer, bench->Answer(
//       R"({"items": [{"prompt": [1, 2], "continuations": [[3]]}]})"));
#ifndef DISSONANCE_BENCH_ENGINE_BENCH_H_
#define DISSONANCE_BENCH_ENGINE_BENCH_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "src/compute/engine/engine.h"
#include "src/compute/lora/adapter.h"
#include "src/compute/model/model.h"

namespace dissonance {

class EngineBench {
 public:
  // Loads what a JSON object names: `model`, a directory; `adapters`,
  // directories; `device`, default "cpu"; `dtype`, default the checkpoint's;
  // `job`, whether nobody waits for single tokens, default false.
  // Threads are torch's choice, as in the worker; OMP_NUM_THREADS sets them.
  static absl::StatusOr<std::unique_ptr<EngineBench>> Create(
      const std::string& line);

  // Computes the `items` of a JSON object, all submitted together. An item:
  //   prompt         token ids
  //   adapter        its place among `adapters`; default: the base model
  //   steer          {"blocks": [3], "coefficient": 2.0, "vector": [...]},
  //                  added to resid_post; default: none
  //   continuations  [[3], [4, 5]]: each is scored; without them
  //   new_tokens     that many are generated, greedily; default: 0
  // `capture` of the object holds for items without continuations:
  //   places         [["resid_post", 3], ...]
  //   positions      "all", "last_prompt" or "generated"
  //   values         whether the answer has them; default: true
  //
  // Answers with one line: `seconds` from the submission to the last result,
  // and `items`, each with `scores` or with `tokens`, their `logprobs` and
  // `rows`: of each place all captured rows, one after another.
  absl::StatusOr<std::string> Answer(const std::string& line);

 private:
  struct Item {
    EngineVariant variant;
    std::vector<int32_t> prompt;
    std::vector<std::vector<int32_t>> continuations;
    int64_t new_tokens = 0;
  };
  class Result;

  EngineBench() = default;

  absl::StatusOr<Item> ReadItem(const nlohmann::json& entry) const;
  absl::StatusOr<std::shared_ptr<const CaptureSpec>> ReadCapture(
      const nlohmann::json& request) const;
  absl::Status Submit(Item item, std::shared_ptr<const CaptureSpec> capture,
                      const std::shared_ptr<Result>& result);

  std::shared_ptr<const Model> model_;
  std::vector<std::shared_ptr<const LoraAdapter>> adapters_;
  Priority priority_ = Priority::kInteractive;
  std::optional<Engine> engine_;
};

}  // namespace dissonance

#endif  // DISSONANCE_BENCH_ENGINE_BENCH_H_
