#include "server/worker/generate_plan.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr int kMaxSamples = 10'000;
constexpr int kMaxTopLogprobs = 1000;
constexpr int kMaxStopStrings = 64;
constexpr int kMaxStopBytes = 1000;  // of one
constexpr int kMaxStopTokens = 1000;
// Most likely tokens beside all of an echoed prompt: they go out in one
// message.
constexpr int64_t kMaxEchoedTops = 1'000'000;

absl::Status CheckRange(absl::string_view field, int64_t found, int64_t least,
                        int64_t most) {
  if (found >= least && found <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      field, ": expected ", least, " to ", most, ", found ", found));
}

SamplingOptions SamplingOf(const v1::Sampling& message) {
  SamplingOptions sampling;
  sampling.temperature = message.temperature();
  sampling.top_k = message.top_k();
  if (message.top_p() != 0.0) sampling.top_p = message.top_p();
  sampling.min_p = message.min_p();
  if (message.repetition_penalty() != 0.0) {
    sampling.repetition_penalty = message.repetition_penalty();
  }
  sampling.seed = message.seed();
  return sampling;
}

absl::Status CheckStops(const v1::GenerationOptions& options,
                        const ResidentModel& model) {
  RETURN_IF_ERROR(CheckRange("options.stop_strings",
                             options.stop_strings_size(), 0, kMaxStopStrings));
  for (const std::string& stop : options.stop_strings()) {
    if (stop.empty()) {
      return absl::InvalidArgumentError(
          "options.stop_strings: an empty string stops nothing");
    }
    RETURN_IF_ERROR(CheckRange("options.stop_strings: bytes of one",
                               static_cast<int64_t>(stop.size()), 1,
                               kMaxStopBytes));
  }
  if (!options.stop_strings().empty()) {
    RETURN_IF_ERROR(TokenizerOf(model).status());
  }
  RETURN_IF_ERROR(CheckRange("options.stop_token_ids",
                             options.stop_token_ids_size(), 0, kMaxStopTokens));
  const int64_t vocab = model.model->spec().vocab_size;
  for (const int32_t id : options.stop_token_ids()) {
    RETURN_IF_ERROR(CheckRange("options.stop_token_ids", id, 0, vocab - 1));
  }
  return absl::OkStatus();
}

absl::Status CheckEcho(const std::vector<Prompts>& prompts,
                       const v1::GenerateRequest& request) {
  if (!request.echo()) return absl::OkStatus();
  for (const Prompts& own : prompts) {
    for (size_t i = 0; i < own->size(); ++i) {
      const auto tokens = static_cast<int64_t>((*own)[i].tokens.size());
      if (tokens * request.top_logprob_count() <= kMaxEchoedTops) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          InputLabel(request.inputs(), static_cast<int>(i)), ": with echo, ",
          request.top_logprob_count(), " most likely tokens beside each of ",
          tokens, " of the prompt exceed ", kMaxEchoedTops,
          "; lower top_logprob_count or shorten the prompt"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

GenerateTask GeneratePlan::TaskOf(const SamplePlace& place) const {
  // Checked when the plan was made.
  GenerateTask task =
      *GenerationTaskOf(request->options(), variants[place.variant].model);
  task.prompt = PromptOf(place).tokens;
  task.sampling.seed += static_cast<uint64_t>(place.sample);
  task.top_logprobs = request->top_logprob_count();
  task.prompt_logprobs = EchoesTo(place);
  if (const Meters* own = meters[place.variant].get()) {
    task.capture = std::make_shared<const CaptureSpec>(CaptureSpec{
        .places = own->places(),
        .positions =
            Positions::Of(EchoesTo(place) ? Positions::Kind::kAll
                                          : Positions::Kind::kGenerated)});
    task.feeds_last = true;
  }
  return task;
}

absl::StatusOr<GenerateTask> GenerationTaskOf(
    const v1::GenerationOptions& options, const ResidentModel& model) {
  GenerateTask task;
  RETURN_IF_ERROR(CheckRange("options.max_new_token_count",
                             options.max_new_token_count(), 1, 1 << 20));
  task.max_new_tokens = options.max_new_token_count();
  task.sampling = SamplingOf(options.sampling());
  RETURN_IF_ERROR(Annotate(CheckSampling(task.sampling), "options.sampling"));
  RETURN_IF_ERROR(CheckStops(options, model));
  task.stop_tokens = {options.stop_token_ids().begin(),
                      options.stop_token_ids().end()};
  if (!options.ignore_eos()) {
    task.stop_tokens.insert(task.stop_tokens.end(), model.eos_token_ids.begin(),
                            model.eos_token_ids.end());
  }
  return task;
}

absl::StatusOr<GeneratePlan> MakeGeneratePlan(
    const v1::GenerateRequest& request, ModelRegistry& registry,
    const RequestLimits& limits, const Cancelled& cancelled) {
  GeneratePlan plan;
  plan.request = std::make_shared<const v1::GenerateRequest>(request);
  plan.sample_count = request.sample_count() == 0 ? 1 : request.sample_count();
  RETURN_IF_ERROR(
      CheckRange("sample_count", plan.sample_count, 1, kMaxSamples));
  RETURN_IF_ERROR(CheckRange("top_logprob_count", request.top_logprob_count(),
                             0, kMaxTopLogprobs));
  ASSIGN_OR_RETURN(plan.variants,
                   ResolveVariants(request.variants(), registry));
  for (const ResolvedVariant& variant : plan.variants) {
    RETURN_IF_ERROR(
        GenerationTaskOf(request.options(), variant.model).status());
    ASSIGN_OR_RETURN(plan.meters.emplace_back(),
                     Meters::Create(*variant.model.model, request.meters()));
  }
  ASSIGN_OR_RETURN(
      plan.prompts,
      EncodeForVariants(plan.variants, request.inputs(), limits, cancelled));
  RETURN_IF_ERROR(CheckEcho(plan.prompts, request));
  RETURN_IF_ERROR(CheckSize(plan.prompts, plan.sample_count,
                            request.options().max_new_token_count(), limits));
  return plan;
}

}  // namespace dissonance
