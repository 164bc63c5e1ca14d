#include "server/worker/worker_metrics.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace dissonance {

std::vector<internal::v1::Metric> MetricsOf(const EngineStats& engine,
                                            const ResidencyStats& weights,
                                            int64_t activation_store_bytes,
                                            const TrainingCounts& training) {
  struct Row {
    const char* name;
    const char* help;
    double value;
  };
  const auto number = [](int64_t count) { return static_cast<double>(count); };
  const Row rows[] = {
      {"engine_steps_total", "Steps of the engine.", number(engine.step_count)},
      {"prefill_tokens_total", "Tokens of prompts and continuations computed.",
       number(engine.prefill_token_count)},
      {"decode_tokens_total", "Generated tokens fed back.",
       number(engine.decode_token_count)},
      {"prefix_hit_tokens_total",
       "Prompt tokens taken from kept prefixes instead of computed.",
       number(engine.prefix_hit_token_count)},
      {"spared_block_rows_total",
       "Rows times blocks that kept residual streams spared.",
       number(engine.spared_block_row_count)},
      {"sequences_started_total", "Sequences that left the queue.",
       number(engine.started_sequence_count)},
      {"queue_wait_seconds_total",
       "Seconds that started sequences had waited, all together.",
       engine.queue_wait_seconds},
      {"kv_cache_reclaims_total",
       "Caches given to others while their readers did not read.",
       number(engine.reclaimed_cache_count)},
      {"batch_rows", "Rows of the last step.",
       number(engine.last_step_row_count)},
      {"sequences", "Sequences waiting and running.",
       number(engine.sequence_count)},
      {"kv_cache_bytes", "Keys and values of running sequences.",
       number(engine.kv_cache_bytes)},
      {"prefix_cache_bytes", "Keys and values of kept prefixes.",
       number(engine.prefix_bytes)},
      {"trunk_cache_bytes", "Kept residual streams.",
       number(engine.trunk_bytes)},
      {"model_loads_total", "Base models read.",
       number(weights.model_load_count)},
      {"adapter_loads_total", "Adapters read.",
       number(weights.adapter_load_count)},
      {"weight_evictions_total",
       "Models and adapters that left memory to make room.",
       number(weights.eviction_count)},
      {"weight_bytes", "Weights of resident models and adapters.",
       number(weights.weight_bytes)},
      {"activation_store_bytes", "Kept activations on disk.",
       number(activation_store_bytes)},
      {"training_steps_total", "Optimizer steps of trainings.",
       number(training.step_count)},
      {"training_tokens_total", "Tokens that trainings computed.",
       number(training.token_count)},
      {"trainings", "Trainings under way.", number(training.training_count)},
  };
  std::vector<internal::v1::Metric> metrics;
  for (const Row& row : rows) {
    internal::v1::Metric& metric = metrics.emplace_back();
    metric.set_name(absl::StrCat("dissonance_", row.name));
    metric.set_help(row.help);
    metric.set_counter(absl::EndsWith(row.name, "_total"));
    metric.set_value(row.value);
  }
  return metrics;
}

}  // namespace dissonance
