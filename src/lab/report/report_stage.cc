#include "src/lab/report/report_stage.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/util/json_util.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/files/json_document.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

constexpr size_t kLongText = 200;

// Null if there is none.
const google::protobuf::FieldDescriptor* KindField(const v1::JobSpec& spec) {
  return v1::JobSpec::GetReflection()->GetOneofFieldDescriptor(
      spec, v1::JobSpec::descriptor()->FindOneofByName("kind"));
}

// Whatever kind it is, its data are the field of that name.
void ClearData(v1::JobSpec& spec) {
  const google::protobuf::FieldDescriptor* kind = KindField(spec);
  if (kind == nullptr) return;
  google::protobuf::Message* own =
      v1::JobSpec::GetReflection()->MutableMessage(&spec, kind);
  const auto* data = own->GetDescriptor()->FindFieldByName("data");
  if (data != nullptr) own->GetReflection()->ClearField(own, data);
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
  const google::protobuf::FieldDescriptor* kind = KindField(spec);
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
      .digests = {}};
  ClearData(stage.spec);
  for (const v1::JobOutput& output : job.outputs()) {
    if (output.names_run()) continue;
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

std::string GatesFile(absl::Span<const GateVerdict> gates) {
  Json list = Json::array();
  for (const GateVerdict& gate : gates) {
    Json figures = Json::object();
    for (const auto& [name, value] : gate.figures) figures[name] = value;
    list.push_back({{"gate", gate.gate},
                    {"stage", gate.stage},
                    {"status", kStatusNames[static_cast<int>(gate.status)]},
                    {"text", gate.text},
                    {"figures", std::move(figures)},
                    {"forced", gate.is_forced}});
  }
  return JsonDocument({{"gates", std::move(list)}});
}

std::string StagesFile(absl::Span<const StageEntry> stages) {
  Json list = Json::array();
  for (const StageEntry& stage : stages) {
    list.push_back({{"name", stage.name},
                    {"job", stage.job},
                    {"kind", stage.kind},
                    {"state", stage.state}});
  }
  return JsonDocument({{"stages", std::move(list)}});
}

absl::StatusOr<std::vector<GateVerdict>> ReadGates(absl::string_view text) {
  using Gates = std::vector<GateVerdict>;
  return ReadOf<Gates>(text, kGatesFileName, [](const Json& file) {
    Gates gates;
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
      gates.push_back(std::move(gate));
    }
    return gates;
  });
}

absl::StatusOr<std::vector<StageEntry>> ReadStages(absl::string_view text) {
  using Stages = std::vector<StageEntry>;
  return ReadOf<Stages>(text, kStagesFileName, [](const Json& file) {
    Stages stages;
    for (const Json& each : file.at("stages")) {
      stages.push_back({.name = each.at("name").get<std::string>(),
                        .job = each.at("job").get<std::string>(),
                        .kind = each.at("kind").get<std::string>(),
                        .state = each.at("state").get<std::string>()});
    }
    return stages;
  });
}

}  // namespace dissonance
