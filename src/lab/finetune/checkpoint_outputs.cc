#include "src/lab/finetune/checkpoint_outputs.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "src/base/log.h"
#include "src/base/status_macros.h"
#include "src/lab/finetune/output_names.h"

namespace dissonance {
namespace {

using internal::v1::SnapshotChunk;

constexpr absl::string_view kFolder = "checkpoint-";
constexpr int kFilesOfCheckpoint = 2;

std::string PathOf(int64_t step, absl::string_view file) {
  return absl::StrFormat("%s%05d/%s", kFolder, step, file);
}

// What a job's outputs have of one checkpoint.
struct Found {
  bool has_state = false;
  std::string weights;  // artifact; empty: missing
};

std::map<int64_t, Found> FindCheckpoints(
    absl::Span<const v1::JobOutput* const> outputs) {
  std::map<int64_t, Found> found;
  for (const v1::JobOutput* output : outputs) {
    absl::string_view name = output->file_name();
    if (!absl::ConsumePrefix(&name, kFolder)) continue;
    const size_t slash = name.find('/');
    int64_t step = 0;
    if (slash == absl::string_view::npos ||
        !absl::SimpleAtoi(name.substr(0, slash), &step)) {
      continue;
    }
    Found& checkpoint = found[step];
    const absl::string_view file = name.substr(slash + 1);
    if (file == kStateFile) checkpoint.has_state = true;
    if (file == kWeightsFile) checkpoint.weights = output->artifact();
  }
  return found;
}

template <typename Outputs>
std::map<int64_t, Found> FindIn(const Outputs& outputs) {
  std::vector<const v1::JobOutput*> pointers;
  for (const v1::JobOutput& output : outputs) pointers.push_back(&output);
  return FindCheckpoints(pointers);
}

// Whether checkpoints are adapters too: not a replay's, as the names are those
// of the first run.
bool HasAdapters(const v1::Job& job, const v1::FineTuneSpec& spec) {
  return spec.checkpoints().register_adapters() && job.replay_of().empty();
}

std::string AdapterName(const v1::FineTuneSpec& spec, int64_t step) {
  return absl::StrCat(spec.output_adapter(), ".step-", step);
}

// Whether the adapter is a checkpoint of the job's. Another user's may well
// have the same weights: those of the same training.
bool IsCheckpointOf(const v1::Job& job, const v1::Adapter& adapter,
                    const std::string& weights) {
  return adapter.artifacts().weights() == weights &&
         adapter.owner() == job.owner();
}

// Unregisters a checkpoint's adapter, unless what has its name is something
// else.
absl::Status Forget(const v1::Job& job, const v1::FineTuneSpec& spec,
                    int64_t step, const std::string& weights,
                    AdapterRegistrar& registrar) {
  const std::string name = AdapterName(spec, step);
  ASSIGN_OR_RETURN(const std::optional<v1::Adapter> adapter,
                   registrar.Find(name));
  if (!adapter.has_value() || !IsCheckpointOf(job, *adapter, weights)) {
    return absl::OkStatus();
  }
  return registrar.Unregister(UserOf(job), name);
}

}  // namespace

absl::Status CheckpointOutputs::Recover(int64_t recorded_step_count) {
  ASSIGN_OR_RETURN(const std::vector<v1::JobOutput> outputs, job_.Outputs());
  steps_.clear();
  for (const auto& [step, checkpoint] : FindIn(outputs)) {
    steps_.insert(step);
    const bool is_whole = checkpoint.has_state && !checkpoint.weights.empty();
    if (is_whole && step <= recorded_step_count) continue;
    RETURN_IF_ERROR(Remove(step));
  }
  return absl::OkStatus();
}

absl::Status CheckpointOutputs::ReadState(
    int64_t step, absl::FunctionRef<absl::Status(std::string piece)> take) {
  return job_.ReadOutput(PathOf(step, kStateFile), take);
}

absl::Status CheckpointOutputs::Remove(int64_t step) {
  if (HasAdapters(job_.job(), spec_)) RETURN_IF_ERROR(Unregister(step));
  // In the opposite order of storing.
  RETURN_IF_ERROR(job_.RemoveOutput(PathOf(step, kStateFile)));
  RETURN_IF_ERROR(job_.RemoveOutput(PathOf(step, kWeightsFile)));
  steps_.erase(step);
  return absl::OkStatus();
}

absl::StatusOr<std::string> CheckpointOutputs::WeightsOf(int64_t step) {
  ASSIGN_OR_RETURN(const std::vector<v1::JobOutput> outputs, job_.Outputs());
  return FindIn(outputs)[step].weights;
}

absl::Status CheckpointOutputs::Register(int64_t step) {
  if (config_.empty()) return absl::OkStatus();
  const std::string name = AdapterName(spec_, step);
  ASSIGN_OR_RETURN(const std::string weights, WeightsOf(step));
  ASSIGN_OR_RETURN(const std::optional<v1::Adapter> taken,
                   registrar_.Find(name));
  if (taken.has_value() && !IsCheckpointOf(job_.job(), *taken, weights)) {
    return job_.Log(absl::StrCat(name,
                                 " is there already and stays as it is: "
                                 "the checkpoint is no adapter"));
  }
  v1::RegisterAdapterRequest request;
  request.set_name(name);
  request.mutable_artifacts()->set_config(config_);
  request.mutable_artifacts()->set_weights(weights);
  request.set_visibility(spec_.visibility());
  const absl::Status registered =
      registrar_.Register(UserOf(job_.job()), request, {}).status();
  if (registered.ok() || absl::IsUnavailable(registered)) return registered;
  // Training is worth more than a look at it.
  return job_.Log(
      absl::StrCat("the checkpoint of step ", step,
                   " could not be made an adapter: ", registered.message()));
}

absl::Status CheckpointOutputs::Unregister(int64_t step) {
  ASSIGN_OR_RETURN(const std::string weights, WeightsOf(step));
  if (weights.empty()) return absl::OkStatus();
  return Forget(job_.job(), spec_, step, weights, registrar_);
}

absl::Status CheckpointOutputs::RegisterAll(const std::string& config) {
  if (!HasAdapters(job_.job(), spec_)) return absl::OkStatus();
  config_ = config;
  for (const int64_t step : steps_) RETURN_IF_ERROR(Register(step));
  return absl::OkStatus();
}

absl::Status CheckpointOutputs::UnregisterAll() {
  if (!HasAdapters(job_.job(), spec_)) return absl::OkStatus();
  absl::Status status;
  for (const int64_t step : steps_) status.Update(Unregister(step));
  return status;
}

absl::Status CheckpointOutputs::Begin(int64_t step) {
  open_step_ = step;
  finished_count_ = 0;
  // There is nothing to go on from before the first step.
  skips_ = step == 0 || steps_.contains(step);
  if (skips_) return absl::OkStatus();
  ASSIGN_OR_RETURN(weights_,
                   job_.OpenOutput(PathOf(step, kWeightsFile), kSafetensorsType,
                                   OutputKind::kNamesRun));
  ASSIGN_OR_RETURN(state_,
                   job_.OpenOutput(PathOf(step, kStateFile), kSafetensorsType,
                                   OutputKind::kNamesRun));
  return absl::OkStatus();
}

absl::Status CheckpointOutputs::Append(const SnapshotChunk& chunk) {
  const bool is_weights = chunk.file() == SnapshotChunk::FILE_ADAPTER_WEIGHTS;
  if (!is_weights && chunk.file() != SnapshotChunk::FILE_STATE) {
    return absl::InternalError(absl::StrCat(
        "the worker sent file ", static_cast<int>(chunk.file()),
        " of a checkpoint, which this server does not know: start a worker of "
        "the same version"));
  }
  if (!skips_) {
    RETURN_IF_ERROR((is_weights ? weights_ : state_)->Append(chunk.data()));
  }
  if (!chunk.last() || ++finished_count_ < kFilesOfCheckpoint) {
    return absl::OkStatus();
  }
  return Complete();
}

absl::Status CheckpointOutputs::Complete() {
  const int64_t step = *std::exchange(open_step_, std::nullopt);
  if (skips_) return absl::OkStatus();
  const auto weights = std::move(weights_);
  const auto state = std::move(state_);
  RETURN_IF_ERROR(weights->Commit().status());
  const absl::Status stored = state->Commit().status();
  if (!stored.ok()) {
    // Half a checkpoint helps nobody; if this fails too, the next attempt
    // removes it.
    (void)job_.RemoveOutput(PathOf(step, kWeightsFile));
    return stored;
  }
  steps_.insert(step);
  RETURN_IF_ERROR(Register(step));
  while (static_cast<int64_t>(steps_.size()) > keep_) {
    RETURN_IF_ERROR(Remove(*steps_.begin()));
  }
  return absl::OkStatus();
}

void ForgetCheckpointAdapters(const v1::Job& job, AdapterRegistrar& registrar) {
  const v1::FineTuneSpec& spec = job.spec().fine_tune();
  if (!HasAdapters(job, spec)) return;
  for (const auto& [step, checkpoint] : FindIn(job.outputs())) {
    if (checkpoint.weights.empty()) continue;
    const absl::Status status =
        Forget(job, spec, step, checkpoint.weights, registrar);
    if (status.ok()) continue;
    Log(LogLevel::kError, "a checkpoint of a training stays registered",
        {{"job", job.name()}, {"step", step}, {"why", status.message()}});
  }
}

}  // namespace dissonance
