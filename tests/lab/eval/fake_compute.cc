#include "tests/lab/eval/fake_compute.h"

#include "absl/strings/str_cat.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

std::string Rendered(const v1::Chat& chat) {
  std::string text;
  for (const v1::ChatMessage& message : chat.messages()) {
    absl::StrAppend(&text, "<", message.role(), ">", message.content(),
                    "<end>");
  }
  if (chat.add_generation_prompt()) text += "<assistant>";
  return text;
}

}  // namespace

double FakeLogProb(absl::string_view key) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : key) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  hash = (hash ^ (hash >> 31)) * 0x9e3779b97f4a7c15;
  return -20.0 * static_cast<double>(hash >> 11) / 9007199254740992.0;
}

v1::ItemScore FakeCompute::ScoreItem(const v1::ScoreRequest& request,
                                     int variant_index, int item_index,
                                     int sample_index) const {
  const v1::Variant& variant = request.variants(variant_index);
  const v1::ScoreItem& item = request.items(item_index);
  // As in the worker, a base model has no dropout.
  const std::string mask =
      request.has_dropout() && !variant.adapter().empty()
          ? absl::StrCat(request.dropout().seed(), "/", sample_index, "/",
                         item.prompt().id())
          : std::string();
  v1::ItemScore score;
  score.set_variant_index(variant_index);
  score.set_item_index(item_index);
  score.set_sample_index(sample_index);
  for (const v1::Continuation& continuation : item.continuations()) {
    const double value = logprob.value_or(FakeLogProb(
        absl::StrCat(variant.model(), "|", variant.adapter(), "|", mask, "|",
                     Rendered(item.prompt().chat()), item.prompt().text(), "|",
                     continuation.text())));
    v1::ContinuationScore* out = score.add_continuations();
    out->set_logprob(value);
    out->add_token_ids(token_id.value_or(
        static_cast<int>(FakeLogProb(continuation.text()) * -100000)));
    out->add_token_logprobs(static_cast<float>(value));
  }
  return score;
}

absl::StatusOr<v1::ScoreResponse> FakeCompute::Score(
    const v1::ScoreRequest& request, const CallOptions& options) {
  if (options.cancelled && options.cancelled()) {
    return absl::CancelledError("cancelled");
  }
  if (fail_at.has_value() && requests.size() >= *fail_at) return failure;
  for (const v1::ScoreItem& item : request.items()) {
    const size_t tokens = Rendered(item.prompt().chat()).size();
    if (tokens >= static_cast<size_t>(max_positions)) {
      return absl::InvalidArgumentError("too long");
    }
  }
  requests.push_back(request);
  v1::ScoreResponse response;
  const int samples =
      request.has_dropout() ? request.dropout().sample_count() : 1;
  for (int v = 0; v < request.variants_size(); ++v) {
    for (int i = 0; i < request.items_size(); ++i) {
      for (int sample = 0; sample < samples; ++sample) {
        *response.add_scores() = ScoreItem(request, v, i, sample);
      }
    }
    v1::Provenance* provenance = response.add_provenance();
    provenance->set_model_digest("sha256:model");
    if (!request.variants(v).adapter().empty()) {
      provenance->set_adapter_digest(adapter_digest);
    }
    provenance->set_device("cpu");
    provenance->set_dtype(v1::DTYPE_FLOAT32);
    (*provenance->mutable_versions())["libtorch"] = libtorch;
  }
  return response;
}

absl::StatusOr<v1::RenderChatResponse> FakeCompute::RenderChat(
    const v1::RenderChatRequest& request, const CallOptions& /*options*/) {
  v1::RenderChatResponse response;
  response.set_text(Rendered(request.chat()));
  for (const char c : response.text()) {
    response.add_ids(static_cast<unsigned char>(c));
  }
  return response;
}

absl::StatusOr<v1::TokenizeResponse> FakeCompute::Tokenize(
    const v1::TokenizeRequest& request, const CallOptions& /*options*/) {
  v1::TokenizeResponse response;
  for (const char c : request.text()) {
    response.add_ids(static_cast<unsigned char>(c));
  }
  return response;
}

absl::StatusOr<v1::Model> FakeCompute::GetModel(const std::string& name) {
  v1::Model model;
  model.set_name(name);
  model.set_has_chat_template(has_chat_template);
  model.set_max_position_count(max_positions);
  model.set_block_count(4);
  return model;
}

absl::Status FakeCompute::CheckVariant(const v1::Variant& variant) {
  if (variant.model() == "models/m") return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat(variant.model(), ": no such model"));
}

absl::Status FakeJob::TakeWrite() {
  if (!writes_left.has_value()) return absl::OkStatus();
  if (*writes_left == 0) return absl::ResourceExhaustedError("disk full");
  --*writes_left;
  return absl::OkStatus();
}

v1::Job FakeJob::NewJob() {
  v1::Job job;
  job.set_name("jobs/01J0000000000000000000000A");
  job.set_owner("users/ada");
  return job;
}

absl::Status FakeJob::Record(const ItemBatch& batch) {
  if (batch.first_index != static_cast<int64_t>(items.size())) {
    return absl::FailedPreconditionError("not the next item");
  }
  RETURN_IF_ERROR(TakeWrite());
  items.insert(items.end(), batch.items.begin(), batch.items.end());
  metrics.insert(metrics.end(), batch.metrics.begin(), batch.metrics.end());
  done_counts.push_back(static_cast<int64_t>(items.size()));
  total_counts.push_back(batch.total_count);
  job_.mutable_progress()->set_total_count(batch.total_count);
  job_.mutable_progress()->set_unit(std::string(batch.unit));
  return absl::OkStatus();
}

absl::Status FakeJob::Log(absl::string_view line) {
  log.emplace_back(line);
  return absl::OkStatus();
}

absl::Status FakeJob::AddOutput(absl::string_view file_name,
                                absl::string_view /*media_type*/,
                                absl::string_view contents, OutputKind kind) {
  RETURN_IF_ERROR(TakeWrite());
  outputs[std::string(file_name)] = std::string(contents);
  if (kind == OutputKind::kNamesRun) run_outputs.emplace(file_name);
  return absl::OkStatus();
}

class FakeJob::Writer : public OutputWriter {
 public:
  Writer(FakeJob& job, absl::string_view file_name, OutputKind kind)
      : job_(job), file_name_(file_name), kind_(kind) {}

  absl::Status Append(absl::string_view bytes) override {
    absl::StrAppend(&contents_, bytes);
    return absl::OkStatus();
  }
  absl::StatusOr<v1::JobOutput> Commit() override {
    RETURN_IF_ERROR(job_.AddOutput(file_name_, "", contents_, kind_));
    ASSIGN_OR_RETURN(const std::vector<v1::JobOutput> outputs, job_.Outputs());
    for (const v1::JobOutput& output : outputs) {
      if (output.file_name() == file_name_) return output;
    }
    return absl::InternalError("gone");
  }

 private:
  FakeJob& job_;
  const std::string file_name_;
  const OutputKind kind_;
  std::string contents_;
};

absl::StatusOr<std::unique_ptr<OutputWriter>> FakeJob::OpenOutput(
    absl::string_view file_name, absl::string_view /*media_type*/,
    OutputKind kind) {
  return std::make_unique<Writer>(*this, file_name, kind);
}

absl::StatusOr<std::vector<v1::JobOutput>> FakeJob::Outputs() {
  std::vector<v1::JobOutput> all;
  for (const auto& [name, contents] : outputs) {
    v1::JobOutput& output = all.emplace_back();
    output.set_file_name(name);
    output.set_artifact(absl::StrCat("artifacts/", Sha256Of(contents)));
    output.set_size_bytes(static_cast<int64_t>(contents.size()));
    output.set_names_run(run_outputs.contains(name));
  }
  return all;
}

absl::Status FakeJob::ReadOutput(
    absl::string_view file_name,
    absl::FunctionRef<absl::Status(std::string piece)> take) {
  const auto output = outputs.find(std::string(file_name));
  if (output == outputs.end()) return absl::NotFoundError("no such output");
  if (output->second == "damaged") return absl::DataLossError("damaged");
  return take(output->second);
}

absl::Status FakeJob::RemoveOutput(absl::string_view file_name) {
  outputs.erase(std::string(file_name));
  return absl::OkStatus();
}

absl::Status FakeJob::SetProvenance(
    absl::Span<const v1::Provenance> provenance) {
  job_.clear_provenance();
  for (const v1::Provenance& p : provenance) *job_.add_provenance() = p;
  return absl::OkStatus();
}

}  // namespace dissonance
