#include "server/control/dashboard_answer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/json_util.h"
#include "server/control/http_status.h"
#include "src/lab/storage/job_store.h"

namespace dissonance {
namespace {

using nlohmann::json;

std::string TextOf(const json& body) {
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

// At the last whole character before `bytes`.
std::string Cut(const std::string& text, size_t bytes) {
  while (bytes > 0 &&
         (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) {
    --bytes;
  }
  return absl::StrCat(text.substr(0, bytes), "... (", text.size(), " bytes)");
}

json ErrorJson(const absl::Status& status) {
  return {{"code", absl::StatusCodeToString(status.code())},
          {"message", std::string(status.message())}};
}

std::string KindOf(const v1::JobSpec& spec) {
  const google::protobuf::FieldDescriptor* kind =
      v1::JobSpec::GetReflection()->GetOneofFieldDescriptor(
          spec, v1::JobSpec::descriptor()->FindOneofByName("kind"));
  return kind == nullptr ? "" : kind->name();
}

}  // namespace

json MessageJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  const auto written =
      google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!written.ok()) return json::object();
  return json::parse(text, nullptr, /*allow_exceptions=*/false);
}

json Shortened(json body, const Shown& shown) {
  if (body.is_string()) {
    const auto& text = body.get_ref<const std::string&>();
    if (text.size() > shown.characters) body = Cut(text, shown.characters);
  } else if (body.is_array()) {
    auto& array = body.get_ref<json::array_t&>();
    const size_t size = array.size();
    if (size > shown.elements) array.resize(shown.elements);
    for (json& element : array) element = Shortened(std::move(element), shown);
    if (size > array.size()) {
      array.push_back(absl::StrCat("... (", size, " in all)"));
    }
  } else if (body.is_object()) {
    for (auto& [name, value] : body.get_ref<json::object_t&>()) {
      value = Shortened(std::move(value), shown);
    }
  }
  return body;
}

json JobJson(const v1::Job& job, const Shown& shown) {
  v1::Job light = job;
  *light.mutable_spec() = JobStore::SpecWithoutData(job.spec());
  light.clear_config_toml();
  json body = MessageJson(light);
  if (!body.contains("spec")) body["spec"] = json::object();
  body["spec"] = Shortened(std::move(body["spec"]), shown);
  body["kind"] = KindOf(job.spec());
  return body;
}

HttpResponse JsonAnswer(const json& body) {
  return {.content_type = "application/json", .body = TextOf(body)};
}

HttpResponse ErrorAnswer(const absl::Status& status) {
  return ErrorAnswer(HttpCodeOf(status.code()), status);
}

HttpResponse ErrorAnswer(int http_code, const absl::Status& status) {
  HttpResponse answer = JsonAnswer({{"error", ErrorJson(status)}});
  answer.code = http_code;
  AddErrorHeaders(status, answer);
  return answer;
}

std::string ServerSentEvent(absl::string_view event, const json& data,
                            int64_t id) {
  const std::string head = id == 0 ? "" : absl::StrCat("id: ", id, "\n");
  return absl::StrCat(head, "event: ", event, "\ndata: ", TextOf(data), "\n\n");
}

std::string ServerSentError(const absl::Status& status) {
  return ServerSentEvent("error", ErrorJson(status));
}

}  // namespace dissonance
