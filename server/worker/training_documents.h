// Documents of a training as tokens: bos + text + eos as LlamaTokenizer adds
// them, chats as the model's template renders them; cut to a length. Thread
// safe; borrows the model's tokenizer and template.
//
//   ASSIGN_OR_RETURN(const DocumentEncoder encoder,
//                    DocumentEncoder::Create(model, {.max_tokens = 2048}));
//   ASSIGN_OR_RETURN(std::vector<EncodedDocument> documents,
//                    encoder.EncodeAll(batch.documents(), cancelled));
#ifndef DISSONANCE_SERVER_WORKER_TRAINING_DOCUMENTS_H_
#define DISSONANCE_SERVER_WORKER_TRAINING_DOCUMENTS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/internal/v1/training.pb.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "server/worker/model_registry.h"
#include "server/worker/prompts.h"
#include "src/compute/train/training_options.h"

namespace dissonance {

struct DocumentOptions {
  int64_t max_tokens = 2048;  // longer documents are cut
  bool assistant_only = false;
  // What chat templates take for the present, in seconds since 1970; unset:
  // the present.
  std::optional<int64_t> template_time = std::nullopt;
};

// As a training's first message says it.
std::optional<int64_t> TemplateTimeOf(const internal::v1::TrainBegin& begin);

struct EncodedDocument {
  TrainingDocument document;
  bool was_cut = false;
};

class DocumentEncoder {
 public:
  using Documents =
      google::protobuf::RepeatedPtrField<internal::v1::TrainingDocument>;

  // FAILED_PRECONDITION for a model without tokenizer.
  static absl::StatusOr<DocumentEncoder> Create(ResidentModel model,
                                                const DocumentOptions& options);

  // In the same order, on several threads. INVALID_ARGUMENT, naming the line,
  // for a document that is empty, has nothing to predict or is longer than the
  // model's positions, and for a chat of which can't be told which tokens are
  // the assistant's; FAILED_PRECONDITION for a chat without a template;
  // CANCELLED once `cancelled` says so.
  absl::StatusOr<std::vector<EncodedDocument>> EncodeAll(
      const Documents& documents, const Cancelled& cancelled) const;

  absl::StatusOr<EncodedDocument> Encode(
      const internal::v1::TrainingDocument& document) const;

 private:
  DocumentEncoder(ResidentModel model, const DocumentOptions& options)
      : model_(std::move(model)), options_(options) {}

  absl::StatusOr<TrainingDocument> EncodeContent(
      const std::string& content) const;
  absl::StatusOr<TrainingDocument> EncodeChat(const v1::Chat& chat) const;
  // Cuts it and checks what is left.
  absl::StatusOr<EncodedDocument> Cut(TrainingDocument document) const;

  ResidentModel model_;
  DocumentOptions options_;
  std::vector<int32_t> before_;  // plain text
  std::vector<int32_t> after_;
};

struct DocumentSet {
  std::vector<TrainingDocument> documents;
  int64_t cut_count = 0;
};

// Those to train on and those held out, as SplitDocuments picks them.
struct TrainingSets {
  DocumentSet trained;
  DocumentSet held_out;
};
TrainingSets SplitSets(std::vector<EncodedDocument> documents, double fraction,
                       uint64_t seed);

internal::v1::DocumentStatistics StatisticsMessage(const DocumentSet& set);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_TRAINING_DOCUMENTS_H_
