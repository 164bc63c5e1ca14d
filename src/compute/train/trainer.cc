#include "src/compute/train/trainer.h"

#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/base/mix.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/torch_status.h"
#include "src/compute/train/adamw.h"
#include "src/compute/train/document_order.h"
#include "src/compute/train/non_finite.h"
#include "src/compute/train/rate_schedule.h"
#include "src/compute/train/training_checks.h"
#include "src/compute/train/training_memory.h"
#include "src/compute/train/training_network.h"
#include "src/compute/train/training_state.h"

namespace dissonance {

class Trainer::Impl {
 public:
  Impl(std::shared_ptr<const Model> model, LoraParameters lora,
       std::vector<TrainingDocument> documents,
       std::vector<TrainingDocument> validation, const TrainingOptions& options,
       std::string digest);

  absl::StatusOr<TrainingPiece> RunPiece();
  const TrainingSchedule& schedule() const { return schedule_; }
  TrainingMemory Memory() const;
  const std::string& digest() const { return digest_; }
  const TrainingPosition& position() const { return position_; }
  bool stopped_early() const;
  bool NeedsValidation() const;
  int64_t out_step() const;
  TrainingState state() const;
  absl::Status Restore(const SafetensorsFile& file);
  void SetProgress(std::function<void()> progress) {
    network_.SetProgress(std::move(progress));
  }
  const LoraParameters& lora() const { return lora_; }
  const Model& model() const { return *model_; }

 private:
  // What the present step has added up.
  struct StepSums {
    size_t micro_batch = 0;  // the next one
    double loss = 0.0;
    int64_t token_count = 0;
    int64_t target_count = 0;
  };
  struct ValidationSums {
    size_t next = 0;  // document
    double loss = 0.0;
    int64_t target_count = 0;
  };

  bool IsFinished() const;
  absl::Status RunMicroBatch(TrainingPiece& piece);
  absl::Status EndStep(const std::vector<std::vector<int64_t>>& batch,
                       StepReport& report);
  absl::Status RunValidation(TrainingPiece& piece);
  void TakeValidation(double loss, ValidationReport& report);
  TrainingPack PackOf(const std::vector<int64_t>& documents,
                      size_t micro_batch) const;
  // What a micro-batch's loss is multiplied by.
  double WeightOf(const std::vector<std::vector<int64_t>>& batch,
                  size_t micro_batch) const;
  std::vector<TrainingPack> PacksOf(
      const std::vector<std::vector<int64_t>>& batch) const;

  const std::shared_ptr<const Model> model_;
  LoraParameters lora_;
  const std::vector<TrainingDocument> documents_;
  const std::vector<TrainingDocument> validation_;
  const TrainingOptions options_;
  const std::string digest_;
  DocumentOrder order_;
  TrainingSchedule schedule_;
  TrainingNetwork network_;
  at::Tensor first_moments_;  // like lora_.flat(), also below
  at::Tensor second_moments_;
  at::Tensor best_;  // weights of the lowest validation loss; with patience
  TrainingPosition position_;
  StepSums sums_;
  ValidationSums validation_sums_;
  absl::Status failure_;
};

namespace {

TrainingSchedule ScheduleFor(const DocumentOrder& order,
                             const TrainingOptions& options) {
  TrainingSchedule schedule{
      .step_count = order.step_count(),
      .steps_per_epoch = order.steps_per_epoch(),
      .validation_step_count = options.validation_step_count};
  if (schedule.validation_step_count == 0) {
    schedule.validation_step_count = schedule.steps_per_epoch;
  }
  return schedule;
}

int64_t Targets(const std::vector<TrainingDocument>& documents,
                const std::vector<int64_t>& chosen) {
  int64_t count = 0;
  for (const int64_t i : chosen) {
    count += documents[static_cast<size_t>(i)].target_count();
  }
  return count;
}

}  // namespace

Trainer::Impl::Impl(std::shared_ptr<const Model> model, LoraParameters lora,
                    std::vector<TrainingDocument> documents,
                    std::vector<TrainingDocument> validation,
                    const TrainingOptions& options, std::string digest)
    : model_(std::move(model)),
      lora_(std::move(lora)),
      documents_(std::move(documents)),
      validation_(std::move(validation)),
      options_(options),
      digest_(std::move(digest)),
      order_(static_cast<int64_t>(documents_.size()), options_),
      schedule_(ScheduleFor(order_, options_)),
      network_(*model_, lora_,
               {.dropout = lora_.config().dropout,
                .activation_checkpointing = options_.activation_checkpointing}),
      first_moments_(at::zeros_like(lora_.flat())),
      second_moments_(at::zeros_like(lora_.flat())) {
  if (options_.early_stop_patience > 0) best_ = lora_.flat().clone();
}

bool Trainer::Impl::stopped_early() const {
  return options_.early_stop_patience > 0 &&
         position_.fruitless_count >= options_.early_stop_patience;
}

bool Trainer::Impl::NeedsValidation() const {
  if (validation_.empty() || position_.step == 0) return false;
  if (position_.validated_step == position_.step) return false;
  return position_.step % schedule_.validation_step_count == 0 ||
         position_.step == schedule_.step_count;
}

bool Trainer::Impl::IsFinished() const {
  return stopped_early() ||
         (position_.step == schedule_.step_count && !NeedsValidation());
}

int64_t Trainer::Impl::out_step() const {
  return IsFinished() && best_.defined() && position_.best_step > 0
             ? position_.best_step
             : position_.step;
}

absl::StatusOr<TrainingPiece> Trainer::Impl::RunPiece() {
  RETURN_IF_ERROR(failure_);
  TrainingPiece piece;
  if (!IsFinished()) {
    failure_ =
        CatchTorch(absl::StrCat("training step ", position_.step + 1), [&] {
          return NeedsValidation() ? RunValidation(piece)
                                   : RunMicroBatch(piece);
        });
    RETURN_IF_ERROR(failure_);
    if (IsFinished() && out_step() != position_.step) {
      at::Tensor flat = lora_.flat();
      flat.copy_(best_);
    }
  }
  piece.finished = IsFinished();
  return piece;
}

TrainingPack Trainer::Impl::PackOf(const std::vector<int64_t>& documents,
                                   size_t micro_batch) const {
  // The key of a document's dropout follows from its place in the training.
  const uint64_t step_key =
      Mix(Mix(Mix(options_.seed) + static_cast<uint64_t>(position_.step)) +
          micro_batch);
  std::vector<std::pair<const TrainingDocument*, uint64_t>> chosen;
  for (size_t i = 0; i < documents.size(); ++i) {
    chosen.emplace_back(&documents_[static_cast<size_t>(documents[i])],
                        Mix(step_key + i));
  }
  std::stable_sort(chosen.begin(), chosen.end(),
                   [](const auto& a, const auto& b) {
                     return a.first->tokens.size() < b.first->tokens.size();
                   });
  TrainingPack pack;
  for (const auto& [document, key] : chosen) {
    pack.documents.push_back(document);
    pack.dropout_keys.push_back(key);
  }
  return pack;
}

std::vector<TrainingPack> Trainer::Impl::PacksOf(
    const std::vector<std::vector<int64_t>>& batch) const {
  std::vector<TrainingPack> packs;
  for (size_t i = 0; i < batch.size(); ++i) {
    packs.push_back(PackOf(batch[i], i));
  }
  return packs;
}

double Trainer::Impl::WeightOf(const std::vector<std::vector<int64_t>>& batch,
                               size_t micro_batch) const {
  if (options_.loss_average == LossAverage::kMicroBatch) {
    return 1.0 / static_cast<double>(Targets(documents_, batch[micro_batch])) /
           static_cast<double>(batch.size());
  }
  int64_t targets = 0;
  for (const std::vector<int64_t>& own : batch) {
    targets += Targets(documents_, own);
  }
  return 1.0 / static_cast<double>(targets);
}

absl::Status Trainer::Impl::RunMicroBatch(TrainingPiece& piece) {
  const std::vector<std::vector<int64_t>>& batch = order_.Batch(position_.step);
  if (sums_.micro_batch == 0) {
    at::Tensor grad = network_.grad();
    grad.zero_();
    sums_ = {};
  }
  const size_t own = sums_.micro_batch;
  const TrainingPack pack = PackOf(batch[own], own);
  const double weight = WeightOf(batch, own);
  const double nats = network_.Accumulate(pack, weight);
  if (!std::isfinite(nats)) {
    return NonFiniteLoss(network_, pack, position_.step + 1);
  }
  sums_.loss += nats * weight;
  sums_.token_count += pack.token_count();
  sums_.target_count += pack.target_count();
  if (++sums_.micro_batch < batch.size()) return absl::OkStatus();
  return EndStep(batch, piece.step.emplace());
}

absl::Status Trainer::Impl::EndStep(
    const std::vector<std::vector<int64_t>>& batch, StepReport& report) {
  const double norm = ClipGradNorm(network_.grad(), options_.max_grad_norm);
  if (!std::isfinite(norm)) {
    return NonFiniteGradient(network_, lora_, PacksOf(batch),
                             position_.step + 1);
  }
  const double rate =
      LearningRate(options_, schedule_.step_count, position_.step);
  AdamwStep({.learning_rate = rate,
             .beta1 = options_.beta1,
             .beta2 = options_.beta2,
             .epsilon = options_.epsilon,
             .weight_decay = options_.weight_decay},
            position_.step + 1, network_.grad(), lora_.flat(), first_moments_,
            second_moments_);
  ++position_.step;
  report = {.step = position_.step,
            .epoch = order_.EpochAfter(position_.step),
            .loss = sums_.loss,
            .learning_rate = rate,
            .grad_norm = norm,
            .token_count = sums_.token_count,
            .target_count = sums_.target_count};
  sums_ = {};
  return absl::OkStatus();
}

absl::Status Trainer::Impl::RunValidation(TrainingPiece& piece) {
  ValidationSums& sums = validation_sums_;
  TrainingPack pack;
  for (int64_t i = 0; i < options_.micro_batch_size; ++i) {
    if (sums.next == validation_.size()) break;
    pack.documents.push_back(&validation_[sums.next++]);
  }
  sums.loss += network_.Loss(pack);
  sums.target_count += pack.target_count();
  if (!std::isfinite(sums.loss)) {
    return NonFiniteLoss(network_, pack, position_.step);
  }
  if (sums.next < validation_.size()) return absl::OkStatus();
  TakeValidation(sums.loss / static_cast<double>(sums.target_count),
                 piece.validation.emplace());
  sums = {};
  return absl::OkStatus();
}

void Trainer::Impl::TakeValidation(double loss, ValidationReport& report) {
  position_.validated_step = position_.step;
  const bool best = loss < position_.best_loss;
  position_.fruitless_count = best ? 0 : position_.fruitless_count + 1;
  if (best) {
    position_.best_loss = loss;
    position_.best_step = position_.step;
    if (best_.defined()) best_.copy_(lora_.flat());
  }
  report = {.step = position_.step, .loss = loss, .best = best};
}

TrainingMemory Trainer::Impl::Memory() const {
  std::vector<DocumentLength> lengths;
  for (const std::vector<TrainingDocument>* part :
       {&documents_, &validation_}) {
    for (const TrainingDocument& document : *part) {
      lengths.push_back(
          {.line = document.line,
           .tokens = static_cast<int64_t>(document.tokens.size())});
    }
  }
  return TrainingMemoryFor(*model_, LoraShape::Of(lora_), options_,
                           std::move(lengths));
}

TrainingState Trainer::Impl::state() const {
  std::vector<NamedTensor> tensors = {
      {std::string(kParametersName), lora_.flat().clone()},
      {std::string(kFirstMomentsName), first_moments_.clone()},
      {std::string(kSecondMomentsName), second_moments_.clone()}};
  if (best_.defined()) {
    tensors.emplace_back(std::string(kBestName), best_.clone());
  }
  return {.step = position_.step,
          .tensors = std::move(tensors),
          .metadata = StateMetadata(position_, digest_)};
}

absl::Status Trainer::Impl::Restore(const SafetensorsFile& file) {
  ASSIGN_OR_RETURN(const TrainingPosition position,
                   ReadStatePosition(file, digest_, schedule_.step_count));
  std::vector<std::pair<absl::string_view, at::Tensor>> wanted = {
      {kParametersName, lora_.flat()},
      {kFirstMomentsName, first_moments_},
      {kSecondMomentsName, second_moments_}};
  if (best_.defined()) wanted.emplace_back(kBestName, best_);
  RETURN_IF_ERROR(CatchTorch("restoring a checkpoint",
                             [&] { return ReadStateTensors(file, wanted); }));
  position_ = position;
  sums_ = {};
  validation_sums_ = {};
  failure_ = absl::OkStatus();
  return absl::OkStatus();
}

TrainingSchedule ScheduleOf(int64_t document_count,
                            const TrainingOptions& options) {
  return ScheduleFor(DocumentOrder(document_count, options), options);
}

Trainer::Trainer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Trainer::~Trainer() = default;

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(
    std::shared_ptr<const Model> model, LoraParameters lora,
    std::vector<TrainingDocument> documents,
    std::vector<TrainingDocument> validation, const TrainingOptions& options) {
  RETURN_IF_ERROR(CheckTrainingOptions(options));
  RETURN_IF_ERROR(CheckTrainingDocuments(*model, documents));
  if (!validation.empty()) {
    RETURN_IF_ERROR(CheckTrainingDocuments(*model, validation));
  }
  return CatchTorch("starting a training", [&] {
    std::string digest =
        TrainingDigest(*model, lora, documents, validation, options);
    return std::unique_ptr<Trainer>(new Trainer(std::make_unique<Impl>(
        std::move(model), std::move(lora), std::move(documents),
        std::move(validation), options, std::move(digest))));
  });
}

absl::StatusOr<TrainingPiece> Trainer::RunPiece() { return impl_->RunPiece(); }
void Trainer::SetProgress(std::function<void()> progress) {
  impl_->SetProgress(std::move(progress));
}
const TrainingSchedule& Trainer::schedule() const { return impl_->schedule(); }
TrainingMemory Trainer::Memory() const { return impl_->Memory(); }
const std::string& Trainer::digest() const { return impl_->digest(); }
int64_t Trainer::step() const { return impl_->position().step; }
int64_t Trainer::best_step() const { return impl_->out_step(); }
bool Trainer::stopped_early() const { return impl_->stopped_early(); }
bool Trainer::needs_validation() const { return impl_->NeedsValidation(); }
TrainingState Trainer::state() const { return impl_->state(); }
absl::Status Trainer::Restore(const SafetensorsFile& state) {
  return impl_->Restore(state);
}
absl::StatusOr<std::shared_ptr<const LoraAdapter>> Trainer::MakeAdapter()
    const {
  return CatchTorch("copying the adapter", [&] {
    return LoraAdapter::Make(impl_->lora(), impl_->model());
  });
}
std::vector<NamedTensor> Trainer::PeftTensors() const {
  return impl_->lora().PeftTensors(impl_->model().spec());
}
const LoraParameters& Trainer::lora() const { return impl_->lora(); }

}  // namespace dissonance
