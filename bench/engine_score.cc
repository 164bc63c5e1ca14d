// The engine called directly: what `./run bench` compares the server with.
//
//   dissonance-bench-engine MODEL_DIR [ADAPTER_DIR...]
//
// Threads are torch's choice, as in the worker; OMP_NUM_THREADS sets them.
// Reads one JSON object a line from standard input and answers each with one
// line: {"items": [{"prompt": [1, 2], "continuations": [[3]], "adapter": 0}]}
// gives {"scores": [[-1.5]], "seconds": 0.01}. `adapter` counts the
// directories from 0; without it the base model computes. All items of a line
// are submitted together; the seconds run from there to the last result.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/time/clock.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/compute/engine/engine.h"
#include "src/compute/lora/adapter.h"
#include "src/compute/model/model.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

struct Item {
  EngineVariant variant;
  ScoreTask task;
};

using Results = std::vector<absl::StatusOr<ScoreResult>>;

class Bench {
 public:
  static absl::StatusOr<std::unique_ptr<Bench>> Create(
      const std::string& model_dir,
      const std::vector<std::string>& adapter_dirs) {
    auto bench = std::make_unique<Bench>();
    ASSIGN_OR_RETURN(bench->model_, Model::Load(model_dir, {}));
    for (const std::string& dir : adapter_dirs) {
      ASSIGN_OR_RETURN(bench->adapters_.emplace_back(),
                       LoraAdapter::Load(dir, *bench->model_));
    }
    bench->engine_.Start();
    return bench;
  }

  // The answer to one line of input.
  absl::StatusOr<std::string> Answer(const std::string& line) {
    ASSIGN_OR_RETURN(const nlohmann::json request, ParseJson(line, "stdin"));
    ASSIGN_OR_RETURN(std::vector<Item> items, ReadItems(request));
    Results results(items.size(), absl::UnknownError("not run"));
    const absl::Time start = absl::Now();
    RETURN_IF_ERROR(Compute(std::move(items), results));
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
    nlohmann::json scores = nlohmann::json::array();
    for (const absl::StatusOr<ScoreResult>& result : results) {
      if (!result.ok()) return result.status();
      nlohmann::json row = nlohmann::json::array();
      for (const ContinuationResult& one : result->continuations) {
        row.push_back(one.logprob);
      }
      scores.push_back(std::move(row));
    }
    return ToJsonLine({{"scores", scores}, {"seconds", seconds}});
  }

 private:
  absl::StatusOr<std::vector<Item>> ReadItems(const nlohmann::json& request) {
    std::vector<Item> items;
    try {
      for (const nlohmann::json& entry : request.at("items")) {
        Item item;
        item.variant.model = model_;
        if (entry.contains("adapter")) {
          item.variant.adapter =
              adapters_.at(entry.at("adapter").get<size_t>());
        }
        item.task.prompt = entry.at("prompt").get<std::vector<int32_t>>();
        item.task.continuations =
            entry.at("continuations").get<std::vector<std::vector<int32_t>>>();
        items.push_back(std::move(item));
      }
    } catch (const std::exception& e) {
      return absl::InvalidArgumentError(absl::StrCat("stdin: ", e.what()));
    }
    return items;
  }

  absl::Status Compute(std::vector<Item> items, Results& results) {
    absl::BlockingCounter left(static_cast<int>(items.size()));
    absl::Status refused;
    for (size_t i = 0; i < items.size(); ++i) {
      const absl::StatusOr<int64_t> number = engine_.SubmitScore(
          items[i].variant, std::move(items[i].task),
          [&results, &left, i](absl::StatusOr<ScoreResult> result) {
            results[i] = std::move(result);
            left.DecrementCount();
          });
      if (number.ok()) continue;
      refused = number.status();
      left.DecrementCount();
    }
    left.Wait();
    return refused;
  }

  std::shared_ptr<const Model> model_;
  std::vector<std::shared_ptr<const LoraAdapter>> adapters_;
  Engine engine_{EngineOptions()};
};

absl::Status Run(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    return absl::InvalidArgumentError(
        "usage: dissonance-bench-engine MODEL_DIR [ADAPTER_DIR...]");
  }
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Bench> bench,
      Bench::Create(arguments[0], {arguments.begin() + 1, arguments.end()}));
  std::string line;
  while (std::getline(std::cin, line)) {
    ASSIGN_OR_RETURN(const std::string answer, bench->Answer(line));
    std::cout << answer << std::flush;
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace dissonance

int main(int argc, char** argv) {
  const absl::Status status = dissonance::CatchTorch("bench", [&] {
    return dissonance::Run({argv + 1, argv + argc});
  });
  if (status.ok()) return EXIT_SUCCESS;
  std::fprintf(stderr, "error: %s\n", status.ToString().c_str());
  return EXIT_FAILURE;
}
