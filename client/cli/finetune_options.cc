#include "client/cli/finetune_options.h"

#include <filesystem>
#include <functional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/cli/choice.h"
#include "client/cli/input_file.h"
#include "client/cli/names.h"
#include "client/cli/parsed_option.h"
#include "client/cli/places.h"
#include "client/cli/scoring_choices.h"

namespace dissonance::cli {
namespace {

// An option whose value a function takes, for the fields of a message.
template <typename T>
CLI::Option* AddSetter(CLI::App& app, const std::string& option,
                       std::function<void(const T&)> set,
                       const std::string& description) {
  return app.add_option_function<T>(option, std::move(set), description);
}

CLI::Validator Positive() {
  return CLI::Validator(
      [](const std::string& word) -> std::string {
        double number = 0;
        if (absl::SimpleAtod(word, &number) && number > 0) return "";
        return absl::StrCat("'", word, "' is no number above 0");
      },
      /*validator_desc=*/"");
}

// "q_proj=8": a pattern may have '=' in it, a value has none.
absl::StatusOr<v1::ModulePattern> ParsePattern(const std::string& word) {
  v1::ModulePattern pattern;
  const size_t at = word.rfind('=');
  double value = 0;
  if (at == std::string::npos || at == 0 ||
      !absl::SimpleAtod(word.substr(at + 1), &value) || value <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", word,
                     "' is not PATTERN=VALUE with a value above 0, e.g. "
                     "q_proj=8"));
  }
  pattern.set_pattern(word.substr(0, at));
  pattern.set_value(value);
  return pattern;
}

void AddPatterns(
    CLI::App& app, const std::string& option,
    google::protobuf::RepeatedPtrField<v1::ModulePattern>& patterns,
    const std::string& description) {
  AddSetter<std::vector<std::string>>(
      app, option,
      [&patterns, option](const std::vector<std::string>& words) {
        patterns.Clear();
        for (const std::string& word : words) {
          *patterns.Add() = ParsedValue(option, ParsePattern(word));
        }
      },
      description)
      ->type_name("PATTERN=VALUE")
      ->allow_extra_args(false);
}

void AddNames(CLI::App& app, const std::string& option,
              google::protobuf::RepeatedPtrField<std::string>& names,
              const std::string& description) {
  AddSetter<std::vector<std::string>>(
      app, option,
      [&names](const std::vector<std::string>& words) {
        names.Assign(words.begin(), words.end());
      },
      description)
      ->delimiter(',')
      ->type_name("MODULE,...");
}

void AddLora(CLI::App& app, v1::LoraOptions& lora) {
  AddSetter<int32_t>(
      app, "--rank", [&lora](int32_t rank) { lora.set_rank(rank); },
      "Rank of the update; default 64")
      ->check(AtLeast(1));
  AddSetter<double>(
      app, "--alpha", [&lora](double alpha) { lora.set_alpha(alpha); },
      "The update is scaled by alpha / rank; default: twice the rank")
      ->check(Positive());
  AddSetter<double>(
      app, "--dropout", [&lora](double dropout) { lora.set_dropout(dropout); },
      "Share of an adapter's input that is dropped; default 0.05")
      ->check(CLI::Range(0.0, 1.0));
  app.add_flag_function(
      "--rslora", [&lora](int64_t) { lora.set_rank_stabilized(true); },
      "Scale by alpha / sqrt(rank)");
  AddNames(app, "--target", *lora.mutable_target_modules(),
           "Modules, e.g. q_proj,k_proj, or all-linear; default: the "
           "projections of the attention");
  AddNames(app, "--exclude", *lora.mutable_excluded_modules(),
           "Of those, none of these");
  AddSetter<std::string>(
      app, "--blocks",
      [&lora](const std::string& word) {
        const std::vector<int32_t> blocks =
            ParsedValue("--blocks", ParseBlocks(word));
        lora.mutable_blocks()->Assign(blocks.begin(), blocks.end());
      },
      absl::StrCat("Blocks: ", kBlocksHelp))
      ->type_name("BLOCKS");
  AddPatterns(app, "--rank-pattern", *lora.mutable_rank_pattern(),
              "Rank of the modules that a pattern fits; may be given again");
  AddPatterns(app, "--alpha-pattern", *lora.mutable_alpha_pattern(),
              "Alpha of the modules that a pattern fits; may be given again");
}

void AddSteps(CLI::App& app, v1::TrainingOptions& training) {
  AddSetter<int32_t>(
      app, "--epochs",
      [&training](int32_t count) { training.set_epoch_count(count); },
      "Passes over the documents; default 3")
      ->check(AtLeast(1));
  AddSetter<int64_t>(
      app, "--max-steps",
      [&training](int64_t count) { training.set_max_step_count(count); },
      "End after so many steps at the latest")
      ->check(AtLeast(1));
  AddSetter<int32_t>(
      app, "--batch",
      [&training](int32_t count) { training.set_micro_batch_size(count); },
      "Documents of a micro-batch; default 4")
      ->check(AtLeast(1));
  AddSetter<int32_t>(
      app, "--accumulate",
      [&training](int32_t count) { training.set_accumulation_count(count); },
      "Micro-batches of a step; default 4")
      ->check(AtLeast(1));
  AddSetter<int32_t>(
      app, "--max-length",
      [&training](int32_t count) { training.set_max_length_tokens(count); },
      "Cut longer documents, in tokens; default 2048")
      ->check(AtLeast(2));
  AddSetter<uint64_t>(
      app, "--seed", [&training](uint64_t seed) { training.set_seed(seed); },
      "Of initial weights, order, dropout and what is held out; default 42");
  app.add_flag_function(
      "--assistant-only",
      [&training](int64_t) { training.set_assistant_only_loss(true); },
      "Chats: learn only what the assistant says");
  app.add_flag_function(
      "--activation-checkpointing",
      [&training](int64_t) { training.set_activation_checkpointing(true); },
      "Less memory, about a third more time");
}

void AddOptimizer(CLI::App& app, v1::TrainingOptions& training) {
  AddSetter<double>(
      app, "--lr",
      [&training](double rate) { training.set_learning_rate(rate); },
      "Learning rate; default 2e-4")
      ->check(Positive());
  app.add_option_function<std::string>(
         "--schedule",
         [&training](const std::string& word) {
           training.set_schedule(ChosenValue<v1::LearningRateSchedule>(
               "--schedule", word,
               {{"linear", v1::LEARNING_RATE_SCHEDULE_LINEAR},
                {"cosine", v1::LEARNING_RATE_SCHEDULE_COSINE},
                {"constant", v1::LEARNING_RATE_SCHEDULE_CONSTANT}}));
         },
         "After the warm-up: linear (default), cosine or constant")
      ->type_name("SCHEDULE");
  AddSetter<int64_t>(
      app, "--warmup",
      [&training](int64_t count) { training.set_warmup_step_count(count); },
      "Steps in which the learning rate rises; default 0")
      ->check(AtLeast(0));
  AddSetter<double>(
      app, "--weight-decay",
      [&training](double decay) { training.set_weight_decay(decay); },
      "Decoupled weight decay; default 0")
      ->check(AtLeast(0));
  AddSetter<double>(
      app, "--max-grad-norm",
      [&training](double norm) { training.set_max_grad_norm(norm); },
      "Scale gradients down to this norm; default 1; 0: never")
      ->check(AtLeast(0));
}

void AddValidation(CLI::App& app, v1::TrainingOptions& training) {
  AddSetter<double>(
      app, "--validation",
      [&training](double share) { training.set_validation_fraction(share); },
      "Share of the documents to hold out, up to 0.5")
      ->check(CLI::Range(0.0, 0.5));
  AddSetter<int64_t>(
      app, "--validate-every",
      [&training](int64_t count) { training.set_validation_step_count(count); },
      "Steps between validations; default: an epoch's")
      ->check(AtLeast(1));
  AddSetter<int32_t>(
      app, "--patience",
      [&training](int32_t count) { training.set_early_stop_patience(count); },
      "End after so many validations in a row without a lower loss, with the "
      "weights of the lowest")
      ->check(AtLeast(1));
}

void AddCheckpoints(CLI::App& app, v1::CheckpointOptions& checkpoints) {
  AddSetter<int64_t>(
      app, "--checkpoint-every",
      [&checkpoints](int64_t count) { checkpoints.set_step_count(count); },
      "Steps between checkpoints; default 50")
      ->check(AtLeast(1));
  AddSetter<int32_t>(
      app, "--keep",
      [&checkpoints](int32_t count) { checkpoints.set_keep_count(count); },
      "Checkpoints that stay; default 2")
      ->check(AtLeast(1));
  app.add_flag_function(
      "--register-checkpoints",
      [&checkpoints](int64_t) { checkpoints.set_register_adapters(true); },
      "Checkpoints that stay are adapters NAME.step-N until the job has ended");
}

void AddEvaluation(CLI::App& app, FinetuneArgs& args) {
  app.add_option("--eval-data", args.evaluation_data,
                 "Multiple-choice questions to ask in between, JSON lines");
  v1::BeliefEvaluation& evaluation = *args.spec.mutable_evaluation();
  AddSetter<int64_t>(
      app, "--eval-every",
      [&evaluation](int64_t count) { evaluation.set_step_count(count); },
      "Steps between them; default: a tenth of the steps")
      ->check(AtLeast(1))
      ->needs("--eval-data");
  app.add_option_function<std::string>(
         "--scoring",
         [&evaluation](const std::string& word) {
           evaluation.set_scoring(ChosenValue<v1::McqScoring>(
               "--scoring", word, ScoringChoices()));
         },
         absl::StrCat("Answer format: ", kScoringsHelp))
      ->type_name("FORMAT")
      ->needs("--eval-data");
}

void AddJob(CLI::App& app, FinetuneArgs& args) {
  app.add_option("--out", args.out, "Folder for the result files");
  app.add_flag("--with-checkpoints", args.with_checkpoints,
               "Checkpoints too go to --out")
      ->needs("--out");
  app.add_flag_function(
      "--dry-run", [&args](int64_t) { args.spec.set_dry_run(true); },
      "Print documents, steps, parameters and memory; train nothing");
  app.add_flag("--detach", args.detach, "Print the job's name and return");
  app.add_option("--request-id", args.request_id,
                 "Name of this run: the same again finds the same job");
  app.add_option("--after", args.after,
                 "Job that has to succeed first; may be given again")
      ->type_name("JOB")
      ->allow_extra_args(false);
  AddChoice<v1::JobPriority>(
      app, "--priority", "PRIORITY", args.priority,
      {{"interactive", v1::JOB_PRIORITY_INTERACTIVE},
       {"normal", v1::JOB_PRIORITY_NORMAL},
       {"background", v1::JOB_PRIORITY_BACKGROUND}},
      "interactive, normal (default), or background, which makes room for "
      "others");
}

std::string FileName(const std::string& path) {
  return std::filesystem::path(InputLabel(path)).filename().string();
}

}  // namespace

void AddFinetuneOptions(CLI::App& app, FinetuneArgs& args) {
  app.add_option("--model", args.model, "Base model")->required();
  app.add_option("--data", args.data,
                 "Documents, JSON lines of {content} or {messages}; -: stdin")
      ->required();
  app.add_option("--name", args.name, "Adapter to make")->required();
  app.add_option("--from", args.from, "Adapter to begin with");
  app.add_flag_function(
      "--replace", [&args](int64_t) { args.spec.set_replace(true); },
      "Take the place of an adapter of this name");
  app.add_flag_function(
      "--share",
      [&args](int64_t) { args.spec.set_visibility(v1::VISIBILITY_LAB); },
      "Everybody sees the adapter");
  AddLora(app, *args.spec.mutable_lora());
  AddSteps(app, *args.spec.mutable_training());
  AddOptimizer(app, *args.spec.mutable_training());
  AddValidation(app, *args.spec.mutable_training());
  AddCheckpoints(app, *args.spec.mutable_checkpoints());
  AddEvaluation(app, args);
  AddJob(app, args);
}

v1::FineTuneSpec FinetuneSpec(const FinetuneArgs& args) {
  v1::FineTuneSpec spec = args.spec;
  spec.set_model(ModelName(args.model));
  if (!args.from.empty()) spec.set_adapter(AdapterName(args.model, args.from));
  spec.set_output_adapter(AdapterName(args.model, args.name));
  spec.set_data_name(FileName(args.data));
  if (!args.evaluation_data.empty()) {
    spec.set_evaluation_data_name(FileName(args.evaluation_data));
  } else {
    spec.clear_evaluation();
  }
  return spec;
}

}  // namespace dissonance::cli
