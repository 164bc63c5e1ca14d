#include "client/cli/job_view.h"

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/durations.h"
#include "client/cli/names.h"
#include "client/cli/proto_json.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace dissonance::cli {
namespace {

// "gpt-4o against gpt-4o-mini".
std::string HostedOf(const v1::EvaluateMcqSpec& spec) {
  return absl::StrJoin(spec.hosted_models(), " against ",
                       [](std::string* out, const v1::HostedModel& model) {
                         out->append(model.model());
                       });
}

// "models/m, models/m/adapters/a".
template <typename Spec>
std::string VariantsOf(const Spec& spec) {
  return absl::StrJoin(
      spec.variants(), ", ", [](std::string* out, const v1::Variant& variant) {
        out->append(variant.adapter().empty() ? variant.model()
                                              : variant.adapter());
      });
}

std::string ShortVariant(const v1::Variant& variant) {
  return ShortName(variant.adapter().empty() ? variant.model()
                                             : variant.adapter());
}

// "m against cubic".
template <typename Spec>
std::string Against(const Spec& spec) {
  return absl::StrJoin(spec.variants(), " against ",
                       [](std::string* out, const v1::Variant& variant) {
                         out->append(ShortVariant(variant));
                       });
}

// "questions.jsonl, m against cubic".
template <typename Spec>
std::string PromptsOf(const Spec& spec) {
  return absl::StrCat(spec.data_name().empty() ? "data" : spec.data_name(),
                      ", ", Against(spec));
}

// "questions.jsonl, on cubic".
template <typename Spec>
std::string SweepOf(const Spec& spec, const v1::Variant& variant) {
  return absl::StrCat(spec.data_name().empty() ? "data" : spec.data_name(),
                      ", on ", ShortVariant(variant));
}

std::string UniverseOf(const v1::GenerateDocumentsSpec& spec) {
  return spec.universe_name().empty() ? "universe" : spec.universe_name();
}

// A row unless there is nothing to say.
void AddSaid(Table& table, const char* what, const std::string& text) {
  if (!text.empty()) table.AddRow({what, text});
}

std::string QueueOf(const v1::QueueStatus& queue) {
  std::vector<std::string> parts;
  if (queue.position() > 0) {
    parts.push_back(absl::StrCat("position ", queue.position()));
  }
  if (queue.has_estimated_wait()) {
    parts.push_back(absl::StrCat(
        "starts in about ", HumanDuration(FromProto(queue.estimated_wait()))));
  }
  if (!queue.waits_for().empty()) {
    parts.push_back(absl::StrCat("waits for ", queue.waits_for()));
  }
  return absl::StrJoin(parts, ", ");
}

// The file of a spec that may name an artifact instead.
std::string FileOf(const std::string& name, const std::string& data,
                   const std::string& artifact) {
  if (data.empty() && artifact.empty()) return name;
  return absl::StrCat(
      name.empty() ? "-" : name, " (",
      artifact.empty() ? HumanBytes(std::ssize(data)) : artifact, ")");
}

void AddFineTune(const v1::FineTuneSpec& spec, Table& table) {
  table.AddRow({"model", spec.model()});
  AddSaid(table, "begins with", spec.adapter());
  table.AddRow(
      {"makes", spec.dry_run() ? "a plan only" : spec.output_adapter()});
  table.AddRow(
      {"data", FileOf(spec.data_name(), spec.data(), spec.data_artifact())});
  AddSaid(table, "questions",
          FileOf(spec.evaluation_data_name(), spec.evaluation_data(),
                 spec.evaluation_data_artifact()));
}

void AddDocuments(const v1::GenerateDocumentsSpec& spec, Table& table) {
  table.AddRow({"universe", UniverseOf(spec)});
  table.AddRow({"written by", spec.dry_run()
                                  ? absl::StrCat("nobody: an estimate for ",
                                                 spec.llm().model())
                                  : spec.llm().model()});
  AddSaid(table, "endpoint", spec.llm().endpoint());
}

void AddOpen(const v1::EvaluateOpenSpec& spec, Table& table) {
  table.AddRow({"variants", VariantsOf(spec)});
  table.AddRow(
      {"data", FileOf(spec.data_name(), spec.data(), spec.data_artifact())});
  table.AddRow({"mode", EnumWord(spec.mode())});
}

void AddSpec(const v1::JobSpec& spec, Table& table) {
  if (spec.has_fine_tune()) AddFineTune(spec.fine_tune(), table);
  if (spec.has_generate_documents()) {
    AddDocuments(spec.generate_documents(), table);
  }
  if (spec.has_evaluate_open()) AddOpen(spec.evaluate_open(), table);
  if (!spec.has_evaluate_mcq()) return;
  const v1::EvaluateMcqSpec& mcq = spec.evaluate_mcq();
  table.AddRow({"variants",
                mcq.hosted_models().empty() ? VariantsOf(mcq) : HostedOf(mcq)});
  table.AddRow(
      {"data", FileOf(mcq.data_name(), mcq.data(), mcq.data_artifact())});
  if (mcq.hosted_models().empty()) {
    table.AddRow({"scoring", EnumWord(mcq.scoring())});
  }
}

void AddState(const v1::Job& job, Table& table) {
  table.AddRow({"state", EnumWord(job.state())});
  AddSaid(table, "reason", job.reason());
  AddSaid(table, "depends on", absl::StrJoin(job.depends_on(), ", "));
  AddSaid(table, "queue", QueueOf(job.queue()));
  table.AddRow({"progress", ProgressOf(job)});
  if (job.has_estimated_remaining()) {
    table.AddRow(
        {"time left", absl::StrCat("about ", HumanDuration(FromProto(
                                                 job.estimated_remaining())))});
  }
  table.AddRow({"attempts", absl::StrCat(job.attempt_count())});
  if (job.retry_count() > 0) {
    table.AddRow(
        {"retries", absl::StrCat(job.retry_count(), " of ", job.retry_limit(),
                                 " since it lost its worker")});
  }
  table.AddRow({"created", HumanTime(job.create_time())});
  table.AddRow({"started", HumanTime(job.start_time())});
  table.AddRow({"ended", HumanTime(job.end_time())});
  if (job.usage().device_seconds() > 0 || job.usage().token_count() > 0) {
    table.AddRow(
        {"took", absl::StrCat(
                     HumanDuration(absl::Seconds(job.usage().device_seconds())),
                     " of the device, ", HumanCount(job.usage().token_count()),
                     " tokens")});
  }
}

// What computed one variant's numbers.
void AddProvenance(const v1::Provenance& computed, Table& table) {
  table.AddRow({"model", computed.model_digest()});
  AddSaid(table, "adapter", computed.adapter_digest());
  table.AddRow({"tokenizer", computed.tokenizer_digest()});
  std::string versions =
      absl::StrCat(EnumWord(computed.dtype()), " on ", computed.device());
  for (const auto& [component, version] : std::map<std::string, std::string>(
           computed.versions().begin(), computed.versions().end())) {
    absl::StrAppend(&versions, ", ", component, " ", version);
  }
  table.AddRow({"computed by", versions});
}

// What it was given and what came out of it.
void AddFiles(const v1::Job& job, Table& table) {
  for (const v1::JobInput& input : job.inputs()) {
    table.AddRow({"input", absl::StrCat(input.field(), "  ",
                                        HumanBytes(input.size_bytes()), "  ",
                                        input.digest())});
  }
  if (job.inputs().empty() && !job.provenance().empty()) {
    AddSaid(table, "input", job.provenance().rbegin()->input_digest());
  }
  for (const v1::JobOutput& output : job.outputs()) {
    table.AddRow({"output", absl::StrCat(output.file_name(), "  ",
                                         HumanBytes(output.size_bytes()), "  ",
                                         ShortName(output.artifact()))});
  }
}

std::string JudgedBy(const v1::JudgeSpec& spec) {
  return absl::StrCat(
      spec.job().empty() ? spec.data_name()
                         : absl::StrCat("answers of ", ShortName(spec.job())),
      " by ", spec.judge().model(), spec.has_second_judge() ? " and " : "",
      spec.second_judge().model());
}

}  // namespace

std::string KindOf(const v1::Job& job) {
  const google::protobuf::FieldDescriptor* kind =
      v1::JobSpec::GetReflection()->GetOneofFieldDescriptor(
          job.spec(), v1::JobSpec::descriptor()->FindOneofByName("kind"));
  return kind == nullptr ? "-" : kind->name();
}

std::string ProgressOf(const v1::Job& job) {
  if (job.progress().total_count() == 0) return "-";
  return absl::StrCat(job.progress().done_count(), "/",
                      job.progress().total_count(), " ", job.progress().unit());
}

std::string SubjectOf(const v1::Job& job) {
  if (job.spec().has_fine_tune()) {
    const v1::FineTuneSpec& spec = job.spec().fine_tune();
    return absl::StrCat(spec.data_name().empty() ? "data" : spec.data_name(),
                        spec.dry_run() ? ", plan of " : " into ",
                        ShortName(spec.output_adapter()), ", on ",
                        ShortName(spec.model()));
  }
  if (job.spec().has_pipeline()) {
    const std::string& title = job.spec().pipeline().title();
    return title.empty()
               ? absl::StrCat(job.spec().pipeline().stages_size(), " stages")
               : title;
  }
  if (job.spec().has_generate_documents()) {
    const v1::GenerateDocumentsSpec& spec = job.spec().generate_documents();
    return absl::StrCat(UniverseOf(spec),
                        spec.dry_run() ? ", estimate for " : ", by ",
                        spec.llm().model());
  }
  if (job.spec().has_steering_sweep()) {
    return SweepOf(job.spec().steering_sweep(),
                   job.spec().steering_sweep().variant());
  }
  if (job.spec().has_patch_sweep()) {
    return SweepOf(job.spec().patch_sweep(), job.spec().patch_sweep().target());
  }
  if (job.spec().has_train_probes()) {
    const v1::TrainProbesSpec& spec = job.spec().train_probes();
    if (spec.activations_job().empty()) return PromptsOf(spec);
    return absl::StrCat("rows of ", ShortName(spec.activations_job()));
  }
  if (job.spec().has_logit_lens()) return PromptsOf(job.spec().logit_lens());
  if (job.spec().has_extract_activations()) {
    return PromptsOf(job.spec().extract_activations());
  }
  if (job.spec().has_judge()) return JudgedBy(job.spec().judge());
  if (job.spec().has_evaluate_open()) {
    return PromptsOf(job.spec().evaluate_open());
  }
  if (!job.spec().has_evaluate_mcq()) return "-";
  const v1::EvaluateMcqSpec& spec = job.spec().evaluate_mcq();
  if (!spec.hosted_models().empty()) return HostedOf(spec);
  return absl::StrCat(EnumWord(spec.scoring()), ", ", Against(spec));
}

Table DetailsOf(const v1::Job& job) {
  Table table({{""}, {""}});
  table.AddRow({"name", job.name()});
  AddSaid(table, "owner", job.owner());
  table.AddRow({"kind", KindOf(job)});
  AddSpec(job.spec(), table);
  AddSaid(table, "replay of", job.replay_of());
  AddState(job, table);
  AddSaid(table, "request id", job.request_id());
  // The last variant's names the adapter too; the rest is the same for all.
  if (!job.provenance().empty()) {
    AddProvenance(*job.provenance().rbegin(), table);
  }
  AddSaid(table, "server", job.code_version());
  AddFiles(job, table);
  return table;
}

}  // namespace dissonance::cli
