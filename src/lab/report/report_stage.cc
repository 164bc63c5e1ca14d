#include "src/lab/report/report_stage.h"

#include <map>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "google/protobuf/util/json_util.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/files/json_document.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kLongText = 200;

// Null if there is none.
const FieldDescriptor* KindField(const v1::JobSpec& spec) {
  return v1::JobSpec::GetReflection()->GetOneofFieldDescriptor(
      spec, v1::JobSpec::descriptor()->FindOneofByName("kind"));
}

// Calls `visit` with each field that is set and is no message, at any depth.
void VisitFields(
    Message& message,
    absl::FunctionRef<void(Message&, const FieldDescriptor&)> visit) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      visit(message, *field);
    } else if (!field->is_repeated()) {
      VisitFields(*reflection.MutableMessage(&message, field), visit);
    } else {
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        VisitFields(*reflection.MutableRepeatedMessage(&message, field, i),
                    visit);
      }
    }
  }
}

void ClearData(v1::JobSpec& spec) {
  VisitFields(spec, [](Message& message, const FieldDescriptor& field) {
    if (field.type() == FieldDescriptor::TYPE_BYTES) {
      message.GetReflection()->ClearField(&message, &field);
    }
  });
}

void ShortenTexts(Json& value) {
  if (value.is_structured()) {
    for (Json& each : value) ShortenTexts(each);
  } else if (value.is_string()) {
    const size_t size = value.get_ref<const std::string&>().size();
    if (size > kLongText) value = absl::StrCat("(", size, " characters)");
  }
}

constexpr const char* kStatusNames[] = {"pass", "warn", "abort"};

GateStatus StatusOf(const std::string& name) {
  if (name == "pass") return GateStatus::kPass;
  return name == "warn" ? GateStatus::kWarn : GateStatus::kAbort;
}

// What `read` makes of a file of a pipeline.
template <typename T, typename Read>
absl::StatusOr<T> ReadOf(absl::string_view text, const char* name,
                         const Read& read) {
  const auto lost = [&](absl::string_view what) {
    return absl::DataLossError(
        absl::StrCat(name, " is not as a pipeline writes it: ", what,
                     "; are client and server of the same version?"));
  };
  absl::StatusOr<Json> json = ParseJson(text, name);
  if (!json.ok()) return lost(json.status().message());
  try {
    return read(*json);
  } catch (const Json::exception& e) {
    return lost(e.what());
  }
}

}  // namespace

absl::string_view KindTitle(v1::JobSpec::KindCase kind) {
  switch (kind) {
    case v1::JobSpec::kGenerateDocuments:
      return "Synthetic documents";
    case v1::JobSpec::kFineTune:
      return "Fine-tuning";
    case v1::JobSpec::kEvaluateMcq:
      return "Multiple-choice questions";
    case v1::JobSpec::kEvaluateOpen:
      return "Free answers";
    case v1::JobSpec::kJudge:
      return "Free answers, judged";
    case v1::JobSpec::kLogitLens:
      return "Logit lens";
    case v1::JobSpec::kTrainProbes:
      return "Probes";
    case v1::JobSpec::kPatchSweep:
      return "Patching";
    case v1::JobSpec::kSteeringSweep:
      return "Steering";
    case v1::JobSpec::kExtractActivations:
      return "Activations";
    case v1::JobSpec::kFitDirections:
      return "Directions";
    case v1::JobSpec::kPipeline:
      return "Pipeline";
    case v1::JobSpec::KIND_NOT_SET:
      break;
  }
  return "Unknown job";
}

std::string KindName(const v1::JobSpec& spec) {
  const FieldDescriptor* kind = KindField(spec);
  return kind == nullptr ? "unknown" : std::string(kind->name());
}

ReportStage StageOf(const std::string& name, const v1::Job& job) {
  ReportStage stage = {
      .name = name,
      .spec = job.spec(),
      .provenance = {job.provenance().begin(), job.provenance().end()},
      .inputs = {job.inputs().begin(), job.inputs().end()},
      .code_version = job.code_version(),
      .files = {},
      .left_out = {},
      .digests = {}};
  ClearData(stage.spec);
  const v1::JobSpec::KindCase kind = job.spec().kind_case();
  for (const v1::JobOutput& output : job.outputs()) {
    if (ReportReads(kind, output.file_name()) && !ReportTakes(kind, output)) {
      stage.left_out[output.file_name()] = output.size_bytes();
    }
    // Which checkpoints a training left depends on when it was stopped.
    if (output.names_run() ||
        absl::StartsWith(output.file_name(), "checkpoint-")) {
      continue;
    }
    stage.digests[output.file_name()] =
        std::string(absl::StripPrefix(output.artifact(), "artifacts/"));
  }
  return stage;
}

Json SettingsJson(const ReportStage& stage) {
  std::string text;
  const auto status =
      google::protobuf::util::MessageToJsonString(stage.spec, &text);
  // Any message can be written so; without exceptions in any case.
  Json settings = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!status.ok() || settings.is_discarded()) return Json::object();
  ShortenTexts(settings);
  return settings;
}

void NameStages(absl::Span<const StageEntry> stages, v1::JobSpec& spec) {
  std::map<std::string, std::string> names;
  for (const StageEntry& stage : stages) {
    if (!stage.job.empty()) names[stage.job] = stage.name;
  }
  VisitFields(spec, [&](Message& message, const FieldDescriptor& field) {
    if (field.type() != FieldDescriptor::TYPE_STRING || field.is_repeated()) {
      return;
    }
    const Reflection& reflection = *message.GetReflection();
    const auto stage = names.find(reflection.GetString(message, &field));
    if (stage == names.end()) return;
    reflection.SetString(&message, &field,
                         absl::StrCat("stage ", stage->second));
  });
}

std::string GatesFile(const ReportRun& run) {
  Json list = Json::array();
  for (const GateVerdict& gate : run.gates) {
    Json figures = Json::object();
    for (const auto& [name, value] : gate.figures) figures[name] = value;
    list.push_back({{"gate", gate.gate},
                    {"stage", gate.stage},
                    {"status", kStatusNames[static_cast<int>(gate.status)]},
                    {"text", gate.text},
                    {"figures", std::move(figures)},
                    {"forced", gate.is_forced}});
  }
  Json file = {{"gates", std::move(list)}};
  if (!run.ended_by.empty()) {
    file["ended_by"] = run.ended_by;
    file["not_shown"] = run.not_shown;
  }
  return JsonDocument(file);
}

absl::StatusOr<ReportRun> ReadGates(absl::string_view text) {
  return ReadOf<ReportRun>(text, kGatesFileName, [](const Json& file) {
    ReportRun run;
    run.ended_by = file.value("ended_by", "");
    run.not_shown = file.value("not_shown", std::vector<std::string>());
    for (const Json& each : file.at("gates")) {
      GateVerdict gate = {.gate = each.at("gate").get<std::string>(),
                          .stage = each.at("stage").get<std::string>(),
                          .status = StatusOf(each.at("status")),
                          .text = each.at("text").get<std::string>(),
                          .figures = {},
                          .is_forced = each.at("forced").get<bool>()};
      for (const auto& [name, value] : each.at("figures").items()) {
        if (value.is_number()) gate.figures.emplace_back(name, value);
      }
      run.gates.push_back(std::move(gate));
    }
    return run;
  });
}

absl::StatusOr<std::vector<StageEntry>> ReadStages(absl::string_view text) {
  using Stages = std::vector<StageEntry>;
  return ReadOf<Stages>(text, kStagesFileName, [](const Json& file) {
    Stages stages;
    for (const Json& each : file.at("stages")) {
      stages.push_back({.name = each.at("name").get<std::string>(),
                        .job = each.at("job").get<std::string>(),
                        .state = each.at("state").get<std::string>()});
    }
    return stages;
  });
}

}  // namespace dissonance
