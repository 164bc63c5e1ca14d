#include "src/compute/engine/self_check.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/logical_not.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>
#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <limits>
#include <random>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/compute/engine/engine.h"
#include "src/compute/interp/logit_lens.h"
#include "src/compute/tensor/parallel.h"
#include "src/compute/tensor/safetensors.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr int64_t kNewTokens = 8;

// Everything that a prompt gave.
struct Outcome {
  std::vector<int32_t> tokens;   // new ones
  std::vector<double> logprobs;  // of the prompt's tokens, then of new ones
  at::Tensor residual;           // [positions, d_model] behind the last block
  at::Tensor logits;             // [positions, vocab]
  absl::Status status;
};

class Collector final : public GenerateListener {
 public:
  explicit Collector(Outcome& outcome) : outcome_(outcome) {}
  void OnPromptToken(GeneratedToken token) override {
    outcome_.logprobs.push_back(token.logprob);
  }
  bool OnToken(GeneratedToken token) override {
    outcome_.tokens.push_back(token.token);
    outcome_.logprobs.push_back(token.logprob);
    return true;
  }
  void OnCaptured(CapturedRows rows) override {
    residual_.push_back(rows.values[0]);
    logits_.push_back(rows.values[1]);
  }
  void OnEnd(absl::StatusOr<FinishReason> reason) override {
    outcome_.status = reason.status();
    if (residual_.empty()) return;
    outcome_.residual = at::cat(residual_);
    outcome_.logits = at::cat(logits_);
  }

 private:
  Outcome& outcome_;
  std::vector<at::Tensor> residual_;
  std::vector<at::Tensor> logits_;
};

using Prompt = std::vector<int32_t>;

class Checker {
 public:
  Checker(std::shared_ptr<const Model> model, std::string directory,
          EngineOptions options, uint64_t seed)
      : model_(std::move(model)),
        directory_(std::move(directory)),
        options_(options) {
    options_.prefix_cache_bytes = 0;
    std::mt19937_64 random(seed);
    for (const int64_t wanted : {1, 7, 40, 65, 150}) {
      const int64_t count =
          std::min(wanted, model_->spec().max_positions - kNewTokens);
      Prompt& prompt = prompts_.emplace_back();
      for (int64_t i = 0; i < count; ++i) {
        prompt.push_back(static_cast<int32_t>(
            random() % static_cast<uint64_t>(model_->spec().vocab_size)));
      }
    }
    vector_ = at::ones({model_->spec().d_model}, at::kFloat);
  }

  absl::StatusOr<std::vector<InvariantResult>> Run(
      const std::function<bool()>& cancelled);

 private:
  using Result = InvariantResult;

  // The prompts, each alone in an engine of its own or all in one.
  absl::StatusOr<std::vector<Outcome>> Compute(const EngineVariant& variant,
                                               const EngineOptions& options,
                                               bool together,
                                               bool captures = true) const;
  absl::StatusOr<std::vector<Outcome>> Plain() const {
    return Compute({.model = model_}, options_, /*together=*/false);
  }
  // Where the residual stream leaves the block in the middle.
  Intervention Middle(Intervention::Op op) const {
    Intervention change;
    change.site = Site::kResidPost;
    change.block = model_->spec().block_count() / 2;
    change.op = op;
    change.vector = vector_;
    return change;
  }
  // Compares what the prompts give some other way with the plain way.
  absl::Status Compare(const absl::StatusOr<std::vector<Outcome>>& others,
                       Result& result) const;

  absl::Status Weights(Result& result) const;
  absl::Status Finite(Result& result) const;
  absl::Status SumsToOne(Result& result) const;
  absl::Status Batched(Result& result) const;
  absl::Status InPieces(Result& result) const;
  absl::Status Cached(Result& result) const;
  absl::Status KeptPrefix(Result& result) const;
  absl::Status NoHooks(Result& result) const;
  absl::Status NothingAdded(Result& result) const;
  absl::Status UntrainedAdapter(Result& result) const;
  absl::Status OwnRow(Result& result) const;
  absl::Status LensOfTheEnd(Result& result) const;
  absl::Status RoundTrip(Result& result) const;

  // What different kernels may differ by, in nats or logits.
  double Rounding() const {
    double largest = 1.0;
    for (const Outcome& own : plain_) {
      largest = std::max(largest, own.logits.abs().max().item<double>());
    }
    switch (model_->dtype()) {
      case at::kDouble:
        return 16 * 2.3e-16 * largest;
      case at::kFloat:
        return 16 * 1.2e-7 * largest;
      default:
        // So coarse that more would let a wrong token pass.
        return 4 * 7.9e-3 * largest;
    }
  }

  const std::shared_ptr<const Model> model_;
  const std::string directory_;
  EngineOptions options_;
  std::vector<Prompt> prompts_;
  at::Tensor vector_;  // some direction
  std::vector<Outcome> plain_;
};

void AddDifferences(const std::vector<double>& a, const std::vector<double>& b,
                    InvariantResult& result) {
  if (a.size() != b.size()) result.difference = kNever;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = std::abs(a[i] - b[i]);
    // NaN is no agreement.
    result.difference = std::max(result.difference,
                                 std::isnan(difference) ? kNever : difference);
    ++result.compared_count;
  }
}

void AddDifferences(const at::Tensor& a, const at::Tensor& b,
                    InvariantResult& result) {
  if (!a.defined() || !b.defined()) return;
  if (a.sizes() != b.sizes()) {
    result.difference = kNever;
    return;
  }
  const double difference =
      (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
  result.difference =
      std::max(result.difference, std::isnan(difference) ? kNever : difference);
  result.compared_count += a.numel();
}

absl::StatusOr<std::vector<Outcome>> Checker::Compute(
    const EngineVariant& variant, const EngineOptions& options, bool together,
    bool captures) const {
  ASSIGN_OR_RETURN(
      const std::shared_ptr<const CaptureSpec> capture,
      PrepareCapture(
          *model_,
          {.places = {{Site::kResidPost, model_->spec().block_count() - 1},
                      {Site::kLogits, -1}},
           .positions = Positions::Of(Positions::Kind::kPrompt)}));
  std::vector<Outcome> outcomes(prompts_.size());
  auto engine = std::make_unique<Engine>(options);
  for (size_t i = 0; i < prompts_.size(); ++i) {
    if (!together) engine = std::make_unique<Engine>(options);
    GenerateTask task;
    task.prompt = prompts_[i];
    task.max_new_tokens = kNewTokens;
    task.prompt_logprobs = true;
    if (captures) task.capture = capture;
    RETURN_IF_ERROR(
        engine
            ->SubmitGenerate(variant, std::move(task),
                             std::make_shared<Collector>(outcomes[i]))
            .status());
    while (!together && engine->Step()) {
    }
  }
  while (engine->Step()) {
  }
  for (const Outcome& outcome : outcomes) RETURN_IF_ERROR(outcome.status);
  return outcomes;
}

absl::Status Checker::Compare(
    const absl::StatusOr<std::vector<Outcome>>& others, Result& result) const {
  RETURN_IF_ERROR(others.status());
  for (size_t i = 0; i < plain_.size(); ++i) {
    AddDifferences(plain_[i].logprobs, (*others)[i].logprobs, result);
    AddDifferences(plain_[i].residual, (*others)[i].residual, result);
    if (plain_[i].tokens != (*others)[i].tokens) result.difference = kNever;
  }
  return absl::OkStatus();
}

absl::Status Checker::Weights(Result& result) const {
  ASSIGN_OR_RETURN(const ModelIdentity on_disk,
                   Model::Identify(directory_, {.dtype = model_->dtype(),
                                                .device = model_->device()}));
  result.difference = on_disk.digest == model_->digest() ? 0.0 : kNever;
  result.compared_count = 1;
  return absl::OkStatus();
}

absl::Status Checker::Finite(Result& result) const {
  for (const Outcome& own : plain_) {
    const at::Tensor strange = own.logits.isfinite().logical_not().sum();
    result.difference += static_cast<double>(strange.item<int64_t>());
    result.compared_count += own.logits.numel();
  }
  return absl::OkStatus();
}

absl::Status Checker::SumsToOne(Result& result) const {
  for (const Outcome& own : plain_) {
    const at::Tensor sums =
        at::exp(LogProbs(own.logits).to(at::kDouble)).sum(-1);
    AddDifferences(sums, at::ones_like(sums), result);
  }
  result.limit = 1e-5;
  return absl::OkStatus();
}

absl::Status Checker::Batched(Result& result) const {
  if (!options_.reproducible) result.limit = Rounding();
  return Compare(Compute({.model = model_}, options_, /*together=*/true),
                 result);
}

absl::Status Checker::InPieces(Result& result) const {
  if (!options_.reproducible) result.limit = Rounding();
  EngineOptions pieces = options_;
  pieces.step_tokens = pieces.attention_tile;
  return Compare(Compute({.model = model_}, pieces, /*together=*/false),
                 result);
}

absl::Status Checker::Cached(Result& result) const {
  result.limit = Rounding();
  for (size_t i = 0; i < prompts_.size(); ++i) {
    const Outcome& own = plain_[i];
    std::vector<double> logprobs;
    Engine engine(options_);
    absl::Status status;
    RETURN_IF_ERROR(
        engine
            .SubmitScore({.model = model_},
                         {.prompt = prompts_[i], .continuations = {own.tokens}},
                         [&](const absl::StatusOr<ScoreResult>& scored) {
                           status = scored.status();
                           if (!scored.ok()) return;
                           logprobs =
                               scored->continuations.front().token_logprobs;
                         })
            .status());
    while (engine.Step()) {
    }
    RETURN_IF_ERROR(status);
    AddDifferences({own.logprobs.end() - static_cast<int64_t>(logprobs.size()),
                    own.logprobs.end()},
                   logprobs, result);
  }
  return absl::OkStatus();
}

absl::Status Checker::KeptPrefix(Result& result) const {
  EngineOptions keeps = options_;
  keeps.prefix_cache_bytes = int64_t{1} << 30;
  Engine engine(keeps);
  for (size_t i = 0; i < prompts_.size(); ++i) {
    // The second time takes what the first one left.
    for (const bool is_second : {false, true}) {
      Outcome outcome;
      GenerateTask task;
      task.prompt = prompts_[i];
      task.max_new_tokens = kNewTokens;
      RETURN_IF_ERROR(engine
                          .SubmitGenerate({.model = model_}, task,
                                          std::make_shared<Collector>(outcome))
                          .status());
      while (engine.Step()) {
      }
      RETURN_IF_ERROR(outcome.status);
      if (!is_second) continue;
      AddDifferences(
          {plain_[i].logprobs.end() - kNewTokens, plain_[i].logprobs.end()},
          outcome.logprobs, result);
    }
  }
  return absl::OkStatus();
}

absl::Status Checker::NoHooks(Result& result) const {
  return Compare(Compute({.model = model_}, options_, /*together=*/false,
                         /*captures=*/false),
                 result);
}

absl::Status Checker::NothingAdded(Result& result) const {
  // Of nothing: a sum that is computed, and a coefficient of 0.
  Intervention nothing = Middle(Intervention::Op::kAdd);
  nothing.coefficient = 0.0;
  Intervention zeros = Middle(Intervention::Op::kAdd);
  zeros.vector = at::zeros_like(vector_);
  ASSIGN_OR_RETURN(const std::shared_ptr<const Interventions> changes,
                   PrepareInterventions(*model_, {nothing, zeros}));
  return Compare(Compute({.model = model_, .interventions = changes}, options_,
                         /*together=*/false),
                 result);
}

absl::Status Checker::UntrainedAdapter(Result& result) const {
  ASSIGN_OR_RETURN(const std::shared_ptr<const LoraAdapter> adapter,
                   LoraAdapter::Untrained(*model_, /*rank=*/4, /*seed=*/1));
  return Compare(Compute({.model = model_, .adapter = adapter}, options_,
                         /*together=*/false),
                 result);
}

absl::Status Checker::OwnRow(Result& result) const {
  // The last prompt's last row behind the last block, put back.
  const auto last = static_cast<int64_t>(prompts_.back().size()) - 1;
  Intervention own = Middle(Intervention::Op::kSet);
  own.block = model_->spec().block_count() - 1;
  own.positions = Positions::Indices({last});
  own.vector = plain_.back().residual[last];
  ASSIGN_OR_RETURN(const std::shared_ptr<const Interventions> changes,
                   PrepareInterventions(*model_, {own}));
  ASSIGN_OR_RETURN(
      const std::vector<Outcome> others,
      Compute({.model = model_, .interventions = changes}, options_,
              /*together=*/false));
  AddDifferences(plain_.back().logprobs, others.back().logprobs, result);
  return absl::OkStatus();
}

absl::Status Checker::LensOfTheEnd(Result& result) const {
  result.limit = Rounding();
  for (const Outcome& own : plain_) {
    AddDifferences(LensLogits(*model_, own.residual, options_.reproducible),
                   own.logits, result);
  }
  return absl::OkStatus();
}

absl::Status Checker::RoundTrip(Result& result) const {
  std::string folder =
      (std::filesystem::temp_directory_path() / "dissonance-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat("making ", folder));
  }
  const absl::Cleanup remove = [&] {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  };
  const std::string path = folder + "/rows.safetensors";
  const at::Tensor rows = plain_.back().residual.to(at::kCPU);
  RETURN_IF_ERROR(WriteSafetensors(path, {{"rows", rows}}));
  ASSIGN_OR_RETURN(const std::shared_ptr<const SafetensorsFile> file,
                   SafetensorsFile::Open(path));
  ASSIGN_OR_RETURN(const at::Tensor read, file->Load("rows"));
  AddDifferences(read, rows, result);
  if (read.scalar_type() != rows.scalar_type()) result.difference = kNever;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<InvariantResult>> Checker::Run(
    const std::function<bool()>& cancelled) {
  struct Invariant {
    const char* name;
    const char* description;
    absl::Status (Checker::*check)(Result&) const;
  };
  const Invariant invariants[] = {
      {"weights = files", "digest of the loaded weights against the files",
       &Checker::Weights},
      {"finite numbers", "logits that are NaN or infinite", &Checker::Finite},
      {"probabilities sum to 1", "over the vocabulary, at every position",
       &Checker::SumsToOne},
      {"batched = alone", "all prompts in one batch against each alone",
       &Checker::Batched},
      {"streamed = whole",
       "prompts computed, and their rows handed over, a tile at a time",
       &Checker::InPieces},
      {"cached = uncached",
       "tokens generated one by one against one pass over all",
       &Checker::Cached},
      {"kept prefix = computed", "the same prompt for the second time",
       &Checker::KeptPrefix},
      {"no hooks = captures", "log-probabilities with and without captures",
       &Checker::NoHooks},
      {"coefficient 0 = baseline", "nothing added in the middle block",
       &Checker::NothingAdded},
      {"untrained adapter = base", "a LoRA of all projections with B = 0",
       &Checker::UntrainedAdapter},
      {"own row = identity", "a row put in place of itself", &Checker::OwnRow},
      {"lens of the end = output",
       "the last block read through the lens against the logits",
       &Checker::LensOfTheEnd},
      {"safetensors round trip", "activations written and read",
       &Checker::RoundTrip},
  };
  absl::StatusOr<std::vector<Outcome>> plain = absl::UnknownError("not run");
  const absl::Status ran = CatchTorch("prompts", [&] { plain = Plain(); });
  if (!ran.ok()) plain = ran;
  if (plain.ok()) plain_ = *plain;
  std::vector<InvariantResult> results;
  for (const Invariant& invariant : invariants) {
    if (cancelled()) {
      return absl::CancelledError(
          "the client went away or its deadline passed");
    }
    Result& result = results.emplace_back();
    result.name = invariant.name;
    result.description = invariant.description;
    absl::Status status = plain.status();
    if (status.ok() || invariant.check == &Checker::Weights) {
      const absl::Status caught = CatchTorch(
          invariant.name, [&] { status = (this->*invariant.check)(result); });
      if (!caught.ok()) status = caught;
    }
    if (!status.ok()) result.message = std::string(status.message());
  }
  return results;
}

}  // namespace

absl::StatusOr<std::vector<InvariantResult>> CheckModel(
    const std::shared_ptr<const Model>& model, const std::string& directory,
    const EngineOptions& options, uint64_t seed,
    const std::function<bool()>& cancelled) {
  absl::StatusOr<std::vector<InvariantResult>> results =
      Checker(model, directory, options, seed).Run(cancelled);
  ReleaseThreads();
  return results;
}

}  // namespace dissonance
