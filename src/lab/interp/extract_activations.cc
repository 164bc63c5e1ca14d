#include "src/lab/interp/extract_activations.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/lab/eval/mcq_prompt.h"
#include "src/lab/files/json_document.h"
#include "src/lab/interp/ask_networks.h"
#include "src/lab/interp/kept_networks.h"
#include "src/lab/interp/network_spec.h"
#include "src/lab/interp/shard_builder.h"
#include "src/lab/interp/variant_json.h"
#include "src/lab/jobs/job_files.h"
#include "src/lab/tensors/place_name.h"
#include "src/lab/tensors/place_words.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;
using internal::v1::ShardRecord;

// Prompts of one call.
constexpr int kPromptsPerCall = 64;
constexpr char kSafetensorsType[] = "application/vnd.safetensors";
constexpr char kMetadataFile[] = "metadata.jsonl";

const SpecFields& Fields() {
  static const SpecFields& fields = *new SpecFields("extract_activations");
  return fields;
}

// A spec that has been checked.
struct Plan {
  PromptSet set;
  v1::McqScoring scoring = v1::MCQ_SCORING_LETTER_VARIANTS;
};

absl::StatusOr<Plan> MakePlan(const v1::JobSpec& job_spec) {
  if (!job_spec.has_extract_activations()) {
    return absl::InvalidArgumentError(
        "spec.kind: expected extract_activations");
  }
  const v1::ExtractActivationsSpec& spec = job_spec.extract_activations();
  Plan plan;
  RETURN_IF_ERROR(Fields().CheckVariants(spec.variants()));
  if (spec.capture().sites().empty()) {
    return Fields().Bad("capture.sites", "none; name at least one site");
  }
  for (const int site : spec.capture().sites()) {
    if (site != v1::SITE_PATTERN) continue;
    return Fields().Bad("capture.sites",
                        "pattern is not possible here, as its rows are ragged; "
                        "use `dissonance activations`");
  }
  if (spec.capture().positions().set() == v1::POSITION_SET_GENERATED) {
    return Fields().Bad("capture.positions",
                        "nothing is generated; use the prompt's");
  }
  if (spec.capture().reduction() == v1::REDUCTION_MEAN &&
      !spec.capture().has_positions()) {
    return Fields().Bad("capture.positions",
                        "say which positions are averaged, e.g. all");
  }
  ASSIGN_OR_RETURN(plan.scoring, ResolveMcqScoring(spec.scoring()));
  ASSIGN_OR_RETURN(plan.set, Fields().ReadPrompts(PromptDataOf(spec)));
  return plan;
}

std::vector<std::string> NamesOf(const v1::ExtractActivationsSpec& spec) {
  std::vector<std::string> names;
  for (const v1::Variant& each : spec.variants()) {
    names.push_back(VariantName(each));
  }
  return names;
}

// One attempt at a job: the shards that have no record yet, then the rest.
class Attempt {
 public:
  Attempt(InterpClient& compute, const v1::ExtractActivationsSpec& spec,
          Plan plan, JobContext& job, int64_t shard_bytes)
      : compute_(compute),
        spec_(spec),
        plan_(std::move(plan)),
        job_(job),
        shard_bytes_(shard_bytes),
        call_{.cancelled = [&job] { return job.cancelled(); },
              .spend = &job.spend()},
        variants_(spec.variants().begin(), spec.variants().end()),
        labels_(VariantLabels(variants_)),
        networks_(job, NamesOf(spec), Sha256Of(spec.data()), 0) {}

  absl::Status Begin();
  absl::Status CaptureRest() {
    while (next_variant() < std::ssize(variants_)) {
      if (job_.cancelled()) return absl::CancelledError("cancelled");
      RETURN_IF_ERROR(CaptureVariant(next_variant(), next_input()));
    }
    return absl::OkStatus();
  }
  absl::Status WriteFiles();

 private:
  int input_count() const { return static_cast<int>(plan_.set.inputs.size()); }
  // Where the records end.
  int next_variant() const {
    if (shards_.empty()) return 0;
    const ShardRecord& last = shards_.back();
    const bool ended = last.first_input() + last.input_count() == input_count();
    return last.variant_index() + (ended ? 1 : 0);
  }
  int next_input() const {
    if (shards_.empty()) return 0;
    return (shards_.back().first_input() + shards_.back().input_count()) %
           input_count();
  }

  // The inputs of `variant` from `first` on.
  absl::Status CaptureVariant(int variant, int first);
  absl::Status CaptureSome(int variant, int first, int count,
                           std::unique_ptr<ShardBuilder>& shard);
  // Stores and records the shard.
  absl::Status EndShard(const ShardBuilder& shard);
  std::string MetadataOf(int variant) const;
  Json ManifestOf(int variant, const std::string& metadata) const;

  InterpClient& compute_;
  const v1::ExtractActivationsSpec& spec_;
  const Plan plan_;
  JobContext& job_;
  const int64_t shard_bytes_;
  const CallOptions call_;
  const std::vector<v1::Variant> variants_;
  const std::vector<std::string> labels_;
  KeptNetworks networks_;
  int32_t block_count_ = 0;
  std::vector<v1::Input> inputs_;  // rendered
  std::vector<ShardRecord> shards_;
};

absl::Status Attempt::Begin() {
  ASSIGN_OR_RETURN(const v1::Model model,
                   compute_.GetModel(variants_.front().model()));
  block_count_ = model.block_count();
  ASSIGN_OR_RETURN(const std::vector<std::string> stored, job_.RecordedItems());
  for (size_t i = 0; i < stored.size(); ++i) {
    ShardRecord record;
    if (!record.ParseFromString(stored[i]) ||
        record.variant_index() != next_variant() ||
        record.first_input() != next_input() || record.input_count() < 1 ||
        record.first_input() + record.input_count() > input_count()) {
      return absl::DataLossError(
          absl::StrCat("record ", i, ": not the next shard of this job"));
    }
    shards_.push_back(std::move(record));
  }
  RETURN_IF_ERROR(networks_.Resume(shards_.size()));
  ASSIGN_OR_RETURN(
      const RenderedPrompts rendered,
      RenderPrompts(plan_.set, variants_, plan_.scoring, compute_, call_));
  inputs_ = rendered.inputs;
  ASSIGN_OR_RETURN(const std::vector<v1::Provenance> now,
                   AskNetworks(compute_, variants_, inputs_[0], call_));
  RETURN_IF_ERROR(networks_.Keep(now, shards_.size()));
  if (shards_.empty()) return absl::OkStatus();
  return job_.Log(absl::StrCat("resumes after ", shards_.size(), " shards"));
}

absl::Status Attempt::CaptureVariant(int variant, int first) {
  auto shard = std::make_unique<ShardBuilder>(variant, first);
  for (int at = first; at < input_count(); at += kPromptsPerCall) {
    if (job_.cancelled()) return absl::CancelledError("cancelled");
    RETURN_IF_ERROR(CaptureSome(
        variant, at, std::min(kPromptsPerCall, input_count() - at), shard));
  }
  return shard->input_count() == 0 ? absl::OkStatus() : EndShard(*shard);
}

absl::Status Attempt::CaptureSome(int variant, int first, int count,
                                  std::unique_ptr<ShardBuilder>& shard) {
  v1::StreamActivationsRequest request;
  *request.add_variants() = variants_[static_cast<size_t>(variant)];
  request.mutable_inputs()->Assign(inputs_.begin() + first,
                                   inputs_.begin() + first + count);
  *request.mutable_capture() = spec_.capture();
  if (!spec_.capture().has_positions()) {
    request.mutable_capture()->mutable_positions()->set_set(
        v1::POSITION_SET_LAST_PROMPT);
  }
  std::vector<v1::Provenance> now(networks_.all().begin(),
                                  networks_.all().end());
  RETURN_IF_ERROR(compute_.StreamActivations(
      request, call_,
      [&](const v1::StreamActivationsResponse& message) -> absl::Status {
        if (message.has_rows()) {
          const int input = message.rows().rows_size() == 0
                                ? 0
                                : message.rows().rows(0).input_index();
          return shard->Announce(message.rows(), first + input);
        }
        if (message.has_chunk()) return shard->Add(message.chunk());
        if (message.summary().provenance_size() == 1) {
          now[static_cast<size_t>(variant)] = message.summary().provenance(0);
        }
        if (message.cursor().empty()) return absl::OkStatus();
        RETURN_IF_ERROR(shard->EndInput());
        if (shard->byte_count() < shard_bytes_) return absl::OkStatus();
        RETURN_IF_ERROR(EndShard(*shard));
        shard = std::make_unique<ShardBuilder>(
            variant,
            shards_.back().first_input() + shards_.back().input_count());
        return absl::OkStatus();
      }));
  return networks_.Keep(now, shards_.size());
}

absl::Status Attempt::EndShard(const ShardBuilder& shard) {
  ShardRecord record = shard.Record();
  int number = 0;
  for (const ShardRecord& each : shards_) {
    if (each.variant_index() == record.variant_index()) ++number;
  }
  record.set_file_name(absl::StrFormat("activations-%05d.safetensors", number));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<OutputWriter> output,
      job_.OpenOutput(
          absl::StrCat(labels_[static_cast<size_t>(record.variant_index())],
                       "/", record.file_name()),
          kSafetensorsType, OutputKind::kResult));
  RETURN_IF_ERROR(shard.Write(*output));
  ASSIGN_OR_RETURN(const v1::JobOutput stored, output->Commit());
  record.set_digest(
      std::string(absl::StripPrefix(stored.artifact(), "artifacts/")));
  record.set_size_bytes(stored.size_bytes());
  const std::string item = record.SerializeAsString();
  // How many there will be is known of the shards so far.
  const int64_t done = int64_t{record.variant_index()} * input_count() +
                       record.first_input() + record.input_count();
  const int64_t all = int64_t{input_count()} * std::ssize(variants_);
  const int64_t count = std::ssize(shards_) + 1;
  RETURN_IF_ERROR(job_.RecordItems(count - 1, absl::MakeConstSpan(&item, 1),
                                   std::max(count, count * all / done),
                                   "shards"));
  shards_.push_back(std::move(record));
  return absl::OkStatus();
}

std::string Attempt::MetadataOf(int variant) const {
  std::string text;
  int64_t number = 0;
  for (const ShardRecord& shard : shards_) {
    if (shard.variant_index() != variant) continue;
    for (const v1::RowLabel& row : shard.rows()) {
      const v1::Input& input =
          plan_.set.inputs[static_cast<size_t>(row.input_index())];
      Json labels = Json::object();
      for (const auto& [key, value] : input.labels()) labels[key] = value;
      text += ToJsonLine({{"row", number++},
                          {"request", row.input_index()},
                          {"position", row.position()},
                          {"token_id", row.token_id()},
                          {"id", input.id()},
                          {"labels", std::move(labels)},
                          {"generated", row.generated()}});
    }
  }
  return text;
}

Json Attempt::ManifestOf(int variant, const std::string& metadata) const {
  Json shards = Json::array();
  Json places = Json::array();
  int64_t rows = 0;
  v1::DType dtype = v1::DTYPE_FLOAT32;
  for (const ShardRecord& shard : shards_) {
    if (shard.variant_index() != variant) continue;
    if (places.empty()) {
      const Json shapes = Json::parse(shard.row_shapes_json());
      for (const auto& [name, shape] : shapes.items()) {
        places.push_back(
            PlaceJson(name, shape.get<std::vector<int64_t>>(), block_count_));
      }
    }
    dtype = shard.dtype();
    shards.push_back({{"file", shard.file_name()},
                      {"first_row", rows},
                      {"row_count", shard.rows_size()},
                      {"sha256", shard.digest()}});
    rows += shard.rows_size();
  }
  Json sites = Json::array();
  for (const int site : spec_.capture().sites()) {
    sites.push_back(SiteName(static_cast<v1::Site>(site)));
  }
  Json own = VariantJson(variants_[static_cast<size_t>(variant)],
                         networks_.all()[static_cast<size_t>(variant)]);
  Json provenance = std::move(own["provenance"]);
  own.erase("provenance");
  own["name"] = labels_[static_cast<size_t>(variant)];
  return {
      {"kind", "activations"},
      {"variant", std::move(own)},
      {"block_count", block_count_},
      {"request_count", input_count()},
      {"capture",
       {{"sites", std::move(sites)},
        {"blocks", std::vector<int>(spec_.capture().blocks().begin(),
                                    spec_.capture().blocks().end())},
        {"mean", spec_.capture().reduction() == v1::REDUCTION_MEAN}}},
      {"generation", nullptr},
      {"places", std::move(places)},
      {"provenance", std::move(provenance)},
      {"metadata", {{"file", kMetadataFile}, {"sha256", Sha256Of(metadata)}}},
      {"row_count", rows},
      {"dtype", absl::AsciiStrToLower(
                    absl::StripPrefix(v1::DType_Name(dtype), "DTYPE_"))},
      {"shards", std::move(shards)}};
}

absl::Status Attempt::WriteFiles() {
  std::vector<JobFile> files;
  Json variants = Json::array();
  for (size_t v = 0; v < variants_.size(); ++v) {
    std::string metadata = MetadataOf(static_cast<int>(v));
    const Json manifest = ManifestOf(static_cast<int>(v), metadata);
    files.push_back(
        {absl::StrCat(labels_[v], "/", kMetadataFile), std::move(metadata)});
    files.push_back(
        {absl::StrCat(labels_[v], "/manifest.json"), JsonDocument(manifest)});
    Json own = VariantJson(variants_[v], networks_.all()[v]);
    own["name"] = labels_[v];
    own["folder"] = labels_[v];
    variants.push_back(std::move(own));
  }
  return AddFiles(job_, files,
                  {{"kind", "extract_activations"},
                   {"data",
                    {{"name", spec_.data_name()},
                     {"sha256", Sha256Of(spec_.data())},
                     {"row_count", input_count()}}},
                   {"scoring", McqScoringName(plan_.scoring)},
                   {"variants", std::move(variants)}});
}

}  // namespace

absl::Status ExtractActivations::Validate(const v1::JobSpec& spec) {
  RETURN_IF_ERROR(MakePlan(spec).status());
  const v1::ExtractActivationsSpec& extract = spec.extract_activations();
  RETURN_IF_ERROR(Fields().CheckLoaded(extract.variants(), compute_));
  ASSIGN_OR_RETURN(const v1::Model model,
                   compute_.GetModel(extract.variants(0).model()));
  return Fields()
      .Places(extract.capture().sites(), extract.capture().blocks(),
              model.block_count(), /*any_site=*/true)
      .status();
}

absl::Status ExtractActivations::Run(const v1::JobSpec& spec, JobContext& job) {
  ASSIGN_OR_RETURN(Plan plan, MakePlan(spec));
  Attempt attempt(compute_, spec.extract_activations(), std::move(plan), job,
                  options_.shard_bytes);
  RETURN_IF_ERROR(attempt.Begin());
  RETURN_IF_ERROR(attempt.CaptureRest());
  return attempt.WriteFiles();
}

DeviceMemory ExtractActivations::Memory(const v1::JobSpec& spec) {
  return MemoryOf(spec.extract_activations().variants(), compute_);
}

}  // namespace dissonance
