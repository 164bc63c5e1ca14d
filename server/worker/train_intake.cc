#include "server/worker/train_intake.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/worker/training_messages.h"
#include "server/worker/variants.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/safetensors.h"
#include "src/compute/tensor/torch_status.h"
#include "src/compute/train/training_checks.h"

namespace dissonance {
namespace {

using internal::v1::TrainRequest;

// A state has weights, two moments and perhaps the best weights, and a header.
constexpr int64_t kStateCopies = 5;
constexpr int64_t kStateHeaderBytes = 1 << 20;
// Evaluations of a training, unless something else is asked for.
constexpr int64_t kUsualEvaluations = 10;

std::string NameOf(const TrainRequest& request) {
  switch (request.message_case()) {
    case TrainRequest::kBegin:
      return "begin";
    case TrainRequest::kDocuments:
      return "documents";
    case TrainRequest::kCheckpoint:
      return "checkpoint";
    case TrainRequest::kStart:
      return "start";
    case TrainRequest::kGoOn:
      return "go_on";
    case TrainRequest::kStop:
      return "stop";
    default:
      return "an empty message";
  }
}

absl::Status OutOfOrder(const TrainRequest& request,
                        absl::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("Train: expected ", expected, ", found ", NameOf(request)));
}

}  // namespace

absl::Status TrainIntake::Take(const TrainRequest& request,
                               const Cancelled& cancelled) {
  if (!begin_.has_value() && !request.has_begin()) {
    return OutOfOrder(request, "begin first");
  }
  switch (request.message_case()) {
    case TrainRequest::kBegin:
      if (begin_.has_value()) break;
      return TakeBegin(request.begin());
    case TrainRequest::kDocuments:
      return TakeDocuments(request.documents(), cancelled);
    case TrainRequest::kCheckpoint:
      return TakeCheckpoint(request.checkpoint());
    case TrainRequest::kStart:
      return TakeStart();
    case TrainRequest::kStop:
      is_stopped_ = true;
      return absl::OkStatus();
    default:
      break;
  }
  return OutOfOrder(request, "documents, checkpoint or start after begin");
}

absl::Status TrainIntake::TakeBegin(const internal::v1::TrainBegin& begin) {
  ASSIGN_OR_RETURN(model_, registry_.GetModel(begin.model()));
  ASSIGN_OR_RETURN(options_, TrainingOptionsOf(begin.training()));
  RETURN_IF_ERROR(Annotate(CheckTrainingOptions(options_), "training"));
  ASSIGN_OR_RETURN(held_out_share_, HeldOutShareOf(begin.training()));
  ASSIGN_OR_RETURN(const int64_t most, MaxTokensOf(begin.training()));
  if (begin.checkpoint_step_count() < 0 || begin.evaluation_step_count() < 0) {
    return absl::InvalidArgumentError(
        "checkpoint_step_count, evaluation_step_count: less than 0");
  }
  if (begin.adapter().empty()) {
    ASSIGN_OR_RETURN(const PeftConfig config, PeftConfigOf(begin.lora()));
    ASSIGN_OR_RETURN(
        lora_, LoraParameters::Init(config, *model_.model, options_.seed));
  } else {
    if (ModelOfAdapter(begin.adapter()) != begin.model()) {
      return absl::InvalidArgumentError(
          absl::StrCat("adapter: ", begin.adapter(), " is not an adapter of ",
                       begin.model()));
    }
    RETURN_IF_ERROR(CheckKeptLora(begin.lora()));
    ASSIGN_OR_RETURN(const PeftConfig config, PeftConfigOf(begin.lora()));
    ASSIGN_OR_RETURN(const ResidentAdapter adapter,
                     registry_.GetAdapter(begin.adapter()));
    adapter_digest_ = adapter.adapter->digest();
    ASSIGN_OR_RETURN(lora_, LoraParameters::Read(adapter.path, *model_.model));
    if (begin.lora().has_dropout()) lora_->set_dropout(config.dropout);
  }
  ASSIGN_OR_RETURN(
      encoder_,
      DocumentEncoder::Create(
          model_, {.max_tokens = most,
                   .assistant_only = begin.training().assistant_only_loss(),
                   .template_time = TemplateTimeOf(begin)}));
  begin_ = begin;
  return absl::OkStatus();
}

absl::Status TrainIntake::TakeDocuments(
    const internal::v1::DocumentBatch& batch, const Cancelled& cancelled) {
  document_bytes_ += static_cast<int64_t>(batch.ByteSizeLong());
  if (document_bytes_ > kMostDocumentBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the documents have more than ", kMostDocumentBytes,
                     " bytes; train on fewer of them"));
  }
  const int64_t count =
      static_cast<int64_t>(documents_.size()) + batch.documents_size();
  if (count > kMostDocuments) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are more than ", kMostDocuments,
                     " documents; train on fewer of them"));
  }
  ASSIGN_OR_RETURN(std::vector<EncodedDocument> encoded,
                   encoder_->EncodeAll(batch.documents(), cancelled));
  std::move(encoded.begin(), encoded.end(), std::back_inserter(documents_));
  return absl::OkStatus();
}

absl::Status TrainIntake::TakeCheckpoint(const std::string& bytes) {
  const int64_t most =
      kStateCopies * static_cast<int64_t>(lora_->flat().nbytes()) +
      kStateHeaderBytes;
  checkpoint_bytes_ += static_cast<int64_t>(bytes.size());
  if (checkpoint_bytes_ > most) {
    return absl::InvalidArgumentError(
        absl::StrCat("the checkpoint has more than the ", most,
                     " bytes that a state of ", lora_->flat().numel(),
                     " trained numbers can have; it is of another training"));
  }
  if (!checkpoint_.has_value()) {
    checkpoint_path_.emplace(scratch_folder_);
    ASSIGN_OR_RETURN(checkpoint_,
                     AtomicFile::Create(checkpoint_path_->path(), 0600));
  }
  return checkpoint_->Append(bytes);
}

absl::Status TrainIntake::TakeStart() {
  if (documents_.empty()) {
    return absl::InvalidArgumentError(
        "Train: expected documents before start; there are none");
  }
  is_complete_ = true;
  return absl::OkStatus();
}

absl::StatusOr<PreparedTraining> TrainIntake::Prepare(TrainingBudget& budget) {
  PreparedTraining out;
  out.begin = *std::move(begin_);
  out.model = model_;
  TrainingSets sets =
      SplitSets(std::move(documents_), held_out_share_, options_.seed);
  *out.plan.mutable_documents() = StatisticsMessage(sets.trained);
  *out.plan.mutable_validation() = StatisticsMessage(sets.held_out);
  std::vector<std::pair<int64_t, int64_t>> lengths;  // line, tokens
  for (const DocumentSet* set : {&sets.trained, &sets.held_out}) {
    for (const TrainingDocument& own : set->documents) {
      lengths.emplace_back(own.line, static_cast<int64_t>(own.tokens.size()));
    }
  }
  ASSIGN_OR_RETURN(
      out.trainer,
      Trainer::Create(model_.model, *std::move(lora_),
                      std::move(sets.trained.documents),
                      std::move(sets.held_out.documents), options_));
  TrainingNeed need{.memory = out.trainer->Memory()};
  for (const auto& [line, tokens] : lengths) {
    if (line != need.memory.longest_line) continue;
    need.longest_tokens = std::max(need.longest_tokens, tokens);
  }
  out.plan.set_available_bytes(budget.free_bytes());
  if (!out.begin.plan_only()) {
    ASSIGN_OR_RETURN(out.lease, budget.Reserve(need));
  }
  if (checkpoint_.has_value()) RETURN_IF_ERROR(Restore(*out.trainer));
  Plan(need.memory, out);
  return out;
}

absl::Status TrainIntake::Restore(Trainer& trainer) {
  RETURN_IF_ERROR(checkpoint_->Commit());
  ASSIGN_OR_RETURN(const std::shared_ptr<SafetensorsFile> file,
                   SafetensorsFile::Open(checkpoint_path_->path()));
  const absl::Status restored = CatchTorch(
      "reading the checkpoint", [&] { return trainer.Restore(*file); });
  checkpoint_path_.reset();
  return Annotate(restored, "checkpoint");
}

void TrainIntake::Plan(const TrainingMemory& memory,
                       PreparedTraining& out) const {
  internal::v1::TrainingPlan& plan = out.plan;
  const Trainer& trainer = *out.trainer;
  const TrainingSchedule& schedule = trainer.schedule();
  plan.set_step_count(schedule.step_count);
  plan.set_steps_per_epoch(schedule.steps_per_epoch);
  plan.set_parameter_count(trainer.lora().flat().numel());
  for (const LoraParameter& module : trainer.lora().modules()) {
    plan.add_modules(module.name);
  }
  plan.set_state_bytes(memory.state_bytes);
  plan.set_activation_bytes(memory.activation_bytes);
  plan.set_start_step(trainer.step());
  if (out.begin.evaluates()) {
    const int64_t asked = out.begin.evaluation_step_count();
    plan.set_evaluation_step_count(
        asked > 0
            ? asked
            : std::max<int64_t>(schedule.step_count / kUsualEvaluations, 1));
  }
  plan.set_validation_step_count(schedule.validation_step_count);
  plan.set_digest(trainer.digest());
  *plan.mutable_provenance() =
      ProvenanceOf({.model = model_}, trainer.digest(), options_.seed, engine_);
  plan.mutable_provenance()->set_adapter_digest(adapter_digest_);
  plan.set_adapter_config(PeftConfigJson(trainer.lora().config(),
                                         model_.model->spec(), model_.name));
}

}  // namespace dissonance
