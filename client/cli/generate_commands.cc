// dissonance generate.
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/command.h"
#include "client/cli/compared_variants.h"
#include "client/cli/connection.h"
#include "client/cli/errors.h"
#include "client/cli/generate_run.h"
#include "client/cli/input_file.h"
#include "client/cli/interrupts.h"
#include "client/cli/meter_option.h"
#include "client/cli/parsed_option.h"
#include "client/cli/prompt_options.h"
#include "client/cli/variant_options.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr int kDefaultMaxNewTokens = 128;

struct GenerateArgs {
  VariantOptions variant;
  PromptOptions prompt;
  bool compare = false;
  std::vector<std::string> compare_adapters;
  int max_new_tokens = kDefaultMaxNewTokens;
  bool greedy = false;  // what temperature 0 says too
  double temperature = 0;
  int top_k = 0;
  double top_p = 0;
  double min_p = 0;
  double repetition_penalty = 0;
  uint64_t seed = 0;
  bool ignore_eos = false;
  std::vector<std::string> stop_strings;
  std::vector<int32_t> stop_tokens;
  int samples = 1;
  int top_logprobs = 0;
  bool echo = false;
  std::vector<std::string> meters;
};

// In the order in which they are shown: what is compared with comes first.
absl::StatusOr<std::vector<NamedVariant>> VariantsOf(const GenerateArgs& args) {
  if (args.compare) {
    if (args.variant.interventions.empty() && args.variant.adapter.empty()) {
      return UsageError(
          "--compare puts the base model, and the adapter without "
          "interventions, beside the variant; name an adapter or "
          "interventions, e.g. with --adapter");
    }
    return ComparedVariants(args.variant, args.compare_adapters);
  }
  std::vector<VariantOptions> wanted = {args.variant};
  for (const std::string& adapter : args.compare_adapters) {
    wanted.emplace_back(args.variant).adapter = adapter;
  }
  std::vector<NamedVariant> variants;
  for (const VariantOptions& options : wanted) {
    ASSIGN_OR_RETURN(NamedVariant variant, MakeVariant(options));
    variants.push_back(std::move(variant));
  }
  return variants;
}

v1::GenerateRequest RequestOf(const GenerateArgs& args) {
  v1::GenerateRequest request;
  request.set_sample_count(args.samples);
  request.set_top_logprob_count(args.top_logprobs);
  request.set_echo(args.echo);
  v1::GenerationOptions& options = *request.mutable_options();
  options.set_max_new_token_count(args.max_new_tokens);
  options.set_ignore_eos(args.ignore_eos);
  options.mutable_stop_strings()->Add(args.stop_strings.begin(),
                                      args.stop_strings.end());
  options.mutable_stop_token_ids()->Add(args.stop_tokens.begin(),
                                        args.stop_tokens.end());
  v1::Sampling& sampling = *options.mutable_sampling();
  sampling.set_temperature(args.temperature);
  sampling.set_top_k(args.top_k);
  sampling.set_top_p(args.top_p);
  sampling.set_min_p(args.min_p);
  sampling.set_repetition_penalty(args.repetition_penalty);
  sampling.set_seed(args.seed);
  return request;
}

absl::Status ReadMeters(const GenerateArgs& args,
                        v1::GenerateRequest& request) {
  for (const std::string& text : args.meters) {
    if (absl::c_count(args.meters, text) > 1) {
      return UsageError(absl::StrCat("--meter ", text, " is given twice"));
    }
    absl::StatusOr<v1::Meter> meter = ReadMeter(text);
    if (!meter.ok()) return Annotate(meter.status(), "--meter");
    *request.add_meters() = *std::move(meter);
  }
  return absl::OkStatus();
}

absl::Status Generate(const Session& session, const GenerateArgs& args) {
  for (const std::string& stop : args.stop_strings) {
    RETURN_IF_ERROR(CheckUtf8(stop, "--stop"));
  }
  GeneratePlan plan;
  plan.format = session.output;
  plan.request = RequestOf(args);
  RETURN_IF_ERROR(ReadMeters(args, plan.request));
  ASSIGN_OR_RETURN(plan.variants, VariantsOf(args));
  ASSIGN_OR_RETURN(plan.rows, ReadPrompts(args.prompt));
  plan.is_list = plan.variants.size() > 1 || !args.prompt.input.empty();
  if (args.temperature == 0 && args.samples > 1) {
    absl::FPrintF(stderr,
                  "note: greedy samples are all equal; --temperature T draws "
                  "different ones\n");
  }
  ASSIGN_OR_RETURN(auto interrupts, Interrupts::Create());
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  return GenerateRun(*connection, *interrupts, plan).Run();
}

constexpr char kSamplingGroup[] =
    "Sampling (filters apply in the order repetition penalty, temperature, "
    "top-k, top-p, min-p)";

void AddSamplingOptions(CLI::App& app, GenerateArgs& args) {
  CLI::Option* temperature = app.add_option(
      "--temperature", args.temperature, "Temperature; 0: greedy (default: 0)");
  temperature->check(AtLeast(0))->group(kSamplingGroup);
  app.add_flag("--greedy", args.greedy,
               "The most likely token each time (the default)")
      ->excludes(temperature)
      ->group(kSamplingGroup);
  app.add_option("--top-k", args.top_k, "Only the K most likely tokens")
      ->check(AtLeast(0))
      ->group(kSamplingGroup);
  app.add_option("--top-p", args.top_p,
                 "Only the most likely tokens that together have probability P")
      ->check(CLI::Range(0.0, 1.0))
      ->group(kSamplingGroup);
  app.add_option("--min-p", args.min_p,
                 "Only tokens with at least this share of the most likely "
                 "one's probability")
      ->check(CLI::Range(0.0, 1.0))
      ->group(kSamplingGroup);
  app.add_option("--repetition-penalty", args.repetition_penalty,
                 "Divides the logits of tokens that occurred; 1: none")
      ->check(AtLeast(0))
      ->group(kSamplingGroup);
  app.add_option("--seed", args.seed,
                 "Seed of sample 0; sample i has SEED + i (default: 0)")
      ->group(kSamplingGroup);
  app.add_option("--samples", args.samples,
                 "Samples of each prompt by each variant (default: 1)")
      ->check(AtLeast(1))
      ->group(kSamplingGroup);
}

void AddEndOptions(CLI::App& app, GenerateArgs& args) {
  app.add_option("--max-new-tokens", args.max_new_tokens,
                 "Most tokens to generate (default: 128)")
      ->check(AtLeast(1));
  app.add_flag("--ignore-eos", args.ignore_eos,
               "Go on after the model's end-of-sequence tokens");
  app.add_option("--stop", args.stop_strings,
                 "End before this text; can be repeated")
      ->allow_extra_args(false);
  app.add_option("--stop-tokens", args.stop_tokens,
                 "End after one of these tokens: 1,2")
      ->delimiter(',')
      ->check(AtLeast(0));
}

CommandRun DefineGenerate(CLI::App& app) {
  auto args = std::make_shared<GenerateArgs>();
  AddVariantOptions(app, args->variant);
  app.add_flag("--compare", args->compare,
               "Show first what the base model does, and the adapter without "
               "interventions");
  AddComparedOption(app, args->compare_adapters);
  AddPromptOptions(app, args->prompt);
  AddEndOptions(app, *args);
  AddSamplingOptions(app, *args);
  app.add_option("--top-logprobs", args->top_logprobs,
                 "Also the K most likely tokens at each place")
      ->check(AtLeast(0));
  app.add_flag("--echo", args->echo,
               "Also the prompt; in JSON with its log-probabilities");
  app.add_option("--meter", args->meters,
                 "Measure each token along a direction of the server, or of a "
                 "file; can be repeated. The first one colours the text on a "
                 "terminal")
      ->type_name(kMeterForm)
      ->allow_extra_args(false);
  app.footer(
      "The text goes to stdout as it comes; several variants stand side by "
      "side on a terminal that is wide enough. -o json: {prompt_tokens, "
      "samples: [{text, tokens, logprobs, finish_reason, seed}], usage}, for "
      "--input and for several variants a list of these with id and variant; "
      "with --meter samples have projections, {METER: [number per token]}; "
      "-o jsonl: one of these a line.");
  return [args](const Session& session) { return Generate(session, *args); };
}

}  // namespace

std::vector<Command> GenerateCommands() {
  return {{"generate", "", "Continue prompts, as they are or steered",
           DefineGenerate}};
}

}  // namespace dissonance::cli
