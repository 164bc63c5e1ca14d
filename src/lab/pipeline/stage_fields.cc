#include "src/lab/pipeline/stage_fields.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "src/base/status_macros.h"
#include "src/lab/tensors/direction_file.h"
#include "src/lab/tensors/place_name.h"
#include "src/lab/tensors/safetensors_reader.h"

namespace dissonance {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// A step of a path: "directions[0]".
struct Step {
  std::string name;
  std::optional<int> index = {};
};

absl::StatusOr<std::vector<Step>> StepsOf(const std::string& path) {
  std::vector<Step> steps;
  for (absl::string_view part : absl::StrSplit(path, '.')) {
    Step& step = steps.emplace_back();
    if (absl::ConsumeSuffix(&part, "]")) {
      const std::vector<std::string> halves = absl::StrSplit(part, '[');
      int index = 0;
      if (halves.size() != 2 || !absl::SimpleAtoi(halves[1], &index) ||
          index < 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("\"", path, "\" is no path of a field"));
      }
      step = {.name = halves[0], .index = index};
    } else {
      step.name = std::string(part);
    }
  }
  return steps;
}

// A field and the message that has it.
struct Target {
  Message* message = nullptr;
  const FieldDescriptor* field = nullptr;
  int index = 0;  // of a repeated field
};

absl::Status NoField(const std::string& path, const std::string& step) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", path, "\": the spec has no ", step));
}

// One step down from a target that is a message.
absl::StatusOr<Message*> Enter(const Target& at, const std::string& path,
                               const Step& step) {
  if (at.field->message_type() == nullptr) return NoField(path, step.name);
  const Reflection& reflection = *at.message->GetReflection();
  if (!at.field->is_repeated()) {
    return reflection.MutableMessage(at.message, at.field);
  }
  return reflection.MutableRepeatedMessage(at.message, at.field, at.index);
}

absl::StatusOr<Target> Find(const std::string& path, v1::JobSpec& spec) {
  ASSIGN_OR_RETURN(const std::vector<Step> steps, StepsOf(path));
  Target at = {.message = &spec};
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    if (i > 0) {
      ASSIGN_OR_RETURN(at.message, Enter(at, path, step));
    }
    at.field = at.message->GetDescriptor()->FindFieldByName(step.name);
    if (at.field == nullptr) return NoField(path, step.name);
    const Reflection& reflection = *at.message->GetReflection();
    if (at.field->is_repeated() != step.index.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"", path, "\": ", step.name,
          step.index ? " is no list" : " is a list; give an index, as in [0]"));
    }
    at.index = step.index.value_or(0);
    const bool is_there =
        at.field->is_repeated()
            ? at.index < reflection.FieldSize(*at.message, at.field)
            : i > 0 || reflection.HasField(*at.message, at.field);
    if (!is_there) return NoField(path, step.name);
  }
  return at;
}

void PutVectors(const Vectors& vectors, const Target& at,
                const std::string& stage) {
  Message* message =
      at.field->is_repeated()
          ? at.message->GetReflection()->MutableRepeatedMessage(
                at.message, at.field, at.index)
          : at.message->GetReflection()->MutableMessage(at.message, at.field);
  auto& own = dynamic_cast<v1::SweepDirection&>(*message);
  own.clear_vector();
  *own.mutable_vectors() = vectors;
  if (own.label().empty()) own.set_label(stage);
}

absl::Status FillDirection(const std::string& bytes, const Target& at,
                           const std::string& stage) {
  ASSIGN_OR_RETURN(const TensorFile file,
                   TensorFile::Parse(bytes, absl::StrCat("stage ", stage)));
  v1::Direction direction;
  direction.set_name(absl::StrCat("of stage ", stage));
  for (const std::string& name : file.names()) {
    const std::optional<v1::SiteRef> place = ParsePlaceName(name);
    if (!place.has_value()) {
      return absl::DataLossError(
          absl::StrCat("stage ", stage, ": ", name, " is no place"));
    }
    *direction.add_places() = *place;
  }
  RETURN_IF_ERROR(ReadDirectionFile(bytes, direction));
  PutVectors(direction.vectors(), at, stage);
  return absl::OkStatus();
}

// Each text of a field that names an adapter; a hosted model has none.
void VisitAdapters(
    Message& message,
    absl::FunctionRef<void(Message&, const FieldDescriptor&)> visit) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->type() == FieldDescriptor::TYPE_STRING &&
        !field->is_repeated() &&
        (field->name() == "adapter" || field->name() == "output_adapter")) {
      visit(message, *field);
    }
    if (field->message_type() == nullptr || field->is_map()) continue;
    if (!field->is_repeated()) {
      VisitAdapters(*reflection.MutableMessage(&message, field), visit);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      VisitAdapters(*reflection.MutableRepeatedMessage(&message, field, i),
                    visit);
    }
  }
}

}  // namespace

absl::StatusOr<InputKind> InputKindOf(const v1::StageInput& input,
                                      const v1::JobSpec& spec) {
  v1::JobSpec copy = spec;
  ASSIGN_OR_RETURN(const Target at, Find(input.field(), copy));
  if (at.field->message_type() == v1::SweepDirection::descriptor()) {
    return InputKind::kDirection;
  }
  const std::string& name = at.field->name();
  if (at.field->type() == FieldDescriptor::TYPE_STRING) {
    if (absl::EndsWith(name, "_artifact")) return InputKind::kArtifact;
    if (name == "job" || absl::EndsWith(name, "_job")) return InputKind::kJob;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", input.field(),
      "\" takes nothing of another stage; those that do take an artifact "
      "(..._artifact), a job (..._job) or a sweep's direction"));
}

absl::Status FillInput(const v1::StageInput& input, const std::string& value,
                       v1::JobSpec& spec) {
  ASSIGN_OR_RETURN(const Target at, Find(input.field(), spec));
  if (at.field->message_type() == v1::SweepDirection::descriptor()) {
    return FillDirection(value, at, input.stage());
  }
  at.message->GetReflection()->SetString(at.message, at.field, value);
  return absl::OkStatus();
}

absl::Status PutDirection(const v1::StageInput& input, const Vectors& vectors,
                          v1::JobSpec& spec) {
  ASSIGN_OR_RETURN(const Target at, Find(input.field(), spec));
  PutVectors(vectors, at, input.stage());
  return absl::OkStatus();
}

std::set<std::string> AdaptersIn(const v1::JobSpec& spec) {
  std::set<std::string> names;
  v1::JobSpec copy = spec;
  VisitAdapters(copy, [&names](Message& message, const FieldDescriptor& field) {
    if (field.name() == "output_adapter") return;
    names.insert(message.GetReflection()->GetString(message, &field));
  });
  return names;
}

void RenameAdapter(absl::string_view before, const std::string& after,
                   v1::JobSpec& spec) {
  VisitAdapters(spec, [&](Message& message, const FieldDescriptor& field) {
    const Reflection& reflection = *message.GetReflection();
    if (reflection.GetString(message, &field) == before) {
      reflection.SetString(&message, &field, after);
    }
  });
}

void StandInFor(absl::string_view adapter, v1::JobSpec& spec) {
  VisitAdapters(spec, [&](Message& message, const FieldDescriptor& field) {
    const Reflection& reflection = *message.GetReflection();
    if (reflection.GetString(message, &field) != adapter) return;
    reflection.ClearField(&message, &field);
    if (message.GetDescriptor() != v1::Variant::descriptor()) return;
    v1::Intervention& same =
        *dynamic_cast<v1::Variant&>(message).add_interventions();
    same.set_site(v1::SITE_RESID_POST);
    same.add_blocks(0);
    same.mutable_scale()->set_factor(1);
  });
}

}  // namespace dissonance
