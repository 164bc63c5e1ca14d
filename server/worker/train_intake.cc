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
#include "src/compute/train/training_memory.h"

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

TrainingNeed NeedOf(const Model& model, const LoraShape& lora,
                    const TrainingOptions& options, const TrainingSets& sets) {
  std::vector<DocumentLength> lengths;
  int64_t longest = 0;
  for (const DocumentSet* set : {&sets.trained, &sets.held_out}) {
    for (const TrainingDocument& own : set->documents) {
      const auto tokens = static_cast<int64_t>(own.tokens.size());
      lengths.push_back({.line = own.line, .tokens = tokens});
      longest = std::max(longest, tokens);
    }
  }
  return {.memory = TrainingMemoryFor(model, lora, options, std::move(lengths)),
          .longest_tokens = longest};
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
    ASSIGN_OR_RETURN(lora_, LoraShape::New(config, *model_.model));
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
    adapter_path_ = adapter.path;
    adapter_digest_ = adapter.adapter->digest();
    ASSIGN_OR_RETURN(lora_, LoraShape::Stored(adapter_path_, *model_.model));
    if (begin.lora().has_dropout()) lora_.config.dropout = config.dropout;
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
  const int64_t most = kStateCopies * lora_.bytes() + kStateHeaderBytes;
  checkpoint_bytes_ += static_cast<int64_t>(bytes.size());
  if (checkpoint_bytes_ > most) {
    return absl::InvalidArgumentError(
        absl::StrCat("the checkpoint has more than the ", most,
                     " bytes that a state of ", lora_.parameter_count,
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
  RETURN_IF_ERROR(
      CheckTrainingDocuments(*model_.model, sets.trained.documents));
  *out.plan.mutable_documents() = StatisticsMessage(sets.trained);
  *out.plan.mutable_validation() = StatisticsMessage(sets.held_out);
  const TrainingNeed need = NeedOf(*model_.model, lora_, options_, sets);
  out.plan.set_available_bytes(budget.free_bytes());
  Plan(need.memory, static_cast<int64_t>(sets.trained.documents.size()), out);
  if (out.begin.plan_only()) return out;
  ASSIGN_OR_RETURN(out.lease, budget.Reserve(need));
  RETURN_IF_ERROR(Begin(std::move(sets), out));
  out.lease.SetAllocated();
  return out;
}

void TrainIntake::Plan(const TrainingMemory& memory, int64_t document_count,
                       PreparedTraining& out) const {
  internal::v1::TrainingPlan& plan = out.plan;
  const TrainingSchedule schedule = ScheduleOf(document_count, options_);
  plan.set_step_count(schedule.step_count);
  plan.set_steps_per_epoch(schedule.steps_per_epoch);
  plan.set_parameter_count(lora_.parameter_count);
  for (const LoraShape::Module& module : lora_.modules) {
    plan.add_modules(module.name);
  }
  plan.set_state_bytes(memory.state_bytes);
  plan.set_activation_bytes(memory.activation_bytes);
  if (out.begin.evaluates()) {
    const int64_t asked = out.begin.evaluation_step_count();
    plan.set_evaluation_step_count(
        asked > 0
            ? asked
            : std::max<int64_t>(schedule.step_count / kUsualEvaluations, 1));
  }
  plan.set_validation_step_count(schedule.validation_step_count);
  *plan.mutable_provenance() =
      ProvenanceOf({.model = model_}, "", options_.seed, engine_);
  plan.mutable_provenance()->set_adapter_digest(adapter_digest_);
  plan.set_adapter_config(
      PeftConfigJson(lora_.config, model_.model->spec(), model_.path));
}

absl::StatusOr<LoraParameters> TrainIntake::MakeLora() const {
  if (adapter_path_.empty()) {
    return LoraParameters::Init(lora_.config, *model_.model, options_.seed);
  }
  ASSIGN_OR_RETURN(LoraParameters lora,
                   LoraParameters::Read(adapter_path_, *model_.model));
  if (lora.files_digest() != adapter_digest_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "adapter: the files in ", adapter_path_,
        " are other ones now than when it was loaded; put the old ones back, "
        "or delete it and register it again"));
  }
  lora.set_dropout(lora_.config.dropout);
  return lora;
}

absl::Status TrainIntake::Begin(TrainingSets sets, PreparedTraining& out) {
  ASSIGN_OR_RETURN(LoraParameters lora, MakeLora());
  ASSIGN_OR_RETURN(
      out.trainer,
      Trainer::Create(model_.model, std::move(lora),
                      std::move(sets.trained.documents),
                      std::move(sets.held_out.documents), options_));
  if (checkpoint_.has_value()) RETURN_IF_ERROR(Restore(*out.trainer));
  out.plan.set_start_step(out.trainer->step());
  out.plan.set_digest(out.trainer->digest());
  out.plan.mutable_provenance()->set_input_digest(out.trainer->digest());
  return absl::OkStatus();
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

}  // namespace dissonance
