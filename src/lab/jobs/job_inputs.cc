#include "src/lab/jobs/job_inputs.h"

#include <cstdint>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr absl::string_view kArtifactSuffix = "_artifact";
constexpr int64_t kInputLimitBytes = int64_t{256} << 20;

// The experiment inside a spec, e.g. EvaluateMcqSpec; null if none is set.
const Message* ExperimentOf(const v1::JobSpec& spec,
                            const FieldDescriptor** field) {
  std::vector<const FieldDescriptor*> fields;
  v1::JobSpec::GetReflection()->ListFields(spec, &fields);
  if (fields.empty()) return nullptr;
  *field = fields.front();
  return &v1::JobSpec::GetReflection()->GetMessage(spec, *field);
}

// The bytes field that `field` may stand for; null if it is none such.
const FieldDescriptor* DataFieldOf(const FieldDescriptor& field) {
  absl::string_view name = field.name();
  if (field.type() != FieldDescriptor::TYPE_STRING || field.is_repeated() ||
      !absl::ConsumeSuffix(&name, kArtifactSuffix)) {
    return nullptr;
  }
  const FieldDescriptor* data =
      field.containing_type()->FindFieldByName(std::string(name));
  return data != nullptr && data->type() == FieldDescriptor::TYPE_BYTES
             ? data
             : nullptr;
}

void ForEachArtifact(
    const v1::JobSpec& spec,
    absl::FunctionRef<void(const FieldDescriptor& data, const std::string&)>
        visit) {
  const FieldDescriptor* experiment_field = nullptr;
  const Message* experiment = ExperimentOf(spec, &experiment_field);
  if (experiment == nullptr) return;
  std::vector<const FieldDescriptor*> fields;
  experiment->GetReflection()->ListFields(*experiment, &fields);
  for (const FieldDescriptor* field : fields) {
    const FieldDescriptor* data = DataFieldOf(*field);
    if (data == nullptr) continue;
    visit(*data, experiment->GetReflection()->GetString(*experiment, field));
  }
}

absl::StatusOr<std::string> ReadWhole(ArtifactStore& artifacts,
                                      const std::string& name) {
  ASSIGN_OR_RETURN(const ArtifactReader reader, artifacts.Open(name));
  const int64_t size = reader.artifact().size_bytes();
  if (size > kInputLimitBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(name, " has ", size, " bytes; a job's input may have ",
                     kInputLimitBytes));
  }
  return reader.Read(0, size);
}

}  // namespace

std::vector<std::string> ArtifactsOf(const v1::JobSpec& spec) {
  std::vector<std::string> names;
  for (const v1::PipelineStage& stage : spec.pipeline().stages()) {
    const std::vector<std::string> own = ArtifactsOf(stage.spec());
    names.insert(names.end(), own.begin(), own.end());
  }
  ForEachArtifact(spec,
                  [&names](const FieldDescriptor&, const std::string& name) {
                    names.push_back(name);
                  });
  return names;
}

absl::StatusOr<v1::JobSpec> WithData(const v1::JobSpec& spec,
                                     ArtifactStore& artifacts) {
  v1::JobSpec filled = spec;
  absl::Status status;
  ForEachArtifact(spec, [&](const FieldDescriptor& data,
                            const std::string& name) {
    if (!status.ok()) return;
    const FieldDescriptor* field = nullptr;
    ExperimentOf(filled, &field);
    Message& experiment =
        *v1::JobSpec::GetReflection()->MutableMessage(&filled, field);
    const Reflection& reflection = *experiment.GetReflection();
    const std::string where = absl::StrCat(field->name(), ".", data.name());
    if (!reflection.GetString(experiment, &data).empty()) {
      status = absl::InvalidArgumentError(
          absl::StrCat(where, " and ", where, kArtifactSuffix,
                       " are both given: give one of them"));
      return;
    }
    absl::StatusOr<std::string> bytes = ReadWhole(artifacts, name);
    if (!bytes.ok()) {
      status = Annotate(bytes.status(), absl::StrCat(where, kArtifactSuffix));
      return;
    }
    reflection.SetString(&experiment, &data, *std::move(bytes));
  });
  RETURN_IF_ERROR(status);
  return filled;
}

std::vector<v1::JobInput> InputsOf(const v1::JobSpec& with_data) {
  std::vector<v1::JobInput> inputs;
  for (const v1::PipelineStage& stage : with_data.pipeline().stages()) {
    for (v1::JobInput& own : InputsOf(stage.spec())) {
      own.set_field(absl::StrCat(stage.name(), ".", own.field()));
      inputs.push_back(std::move(own));
    }
  }
  const FieldDescriptor* experiment_field = nullptr;
  const Message* experiment = ExperimentOf(with_data, &experiment_field);
  if (experiment == nullptr) return inputs;
  const Reflection& reflection = *experiment->GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(*experiment, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->type() != FieldDescriptor::TYPE_BYTES || field->is_repeated()) {
      continue;
    }
    const std::string bytes = reflection.GetString(*experiment, field);
    v1::JobInput& input = inputs.emplace_back();
    input.set_field(absl::StrCat(experiment_field->name(), ".", field->name()));
    input.set_digest(Sha256Of(bytes));
    input.set_size_bytes(static_cast<int64_t>(bytes.size()));
  }
  return inputs;
}

}  // namespace dissonance
