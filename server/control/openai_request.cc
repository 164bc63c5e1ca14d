#include "server/control/openai_request.h"

#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"
#include "server/control/openai_error.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/random_bytes.h"

namespace dissonance {
namespace {

using nlohmann::json;

constexpr int64_t kDefaultNewTokens = 16;
constexpr int64_t kMaxNewTokens = 1 << 20;
constexpr int64_t kMaxSamples = 10'000;
constexpr int64_t kMaxTops = 1000;

// The body's fields; one that is null is not there.
class Fields {
 public:
  explicit Fields(json body) : body_(std::move(body)) {}

  // Null: not there.
  const json* Find(const char* name) const {
    const auto found = body_.find(name);
    return found == body_.end() || found->is_null() ? nullptr : &*found;
  }
  absl::StatusOr<std::optional<int64_t>> Integer(const char* name,
                                                 int64_t least,
                                                 int64_t most) const {
    const json* value = Find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_integer() ||
        (value->is_number_unsigned() &&
         value->get<uint64_t>() > std::numeric_limits<int64_t>::max()) ||
        value->get<int64_t>() < least || value->get<int64_t>() > most) {
      return BadField(name, absl::StrCat("expected a whole number from ", least,
                                         " to ", most));
    }
    return value->get<int64_t>();
  }
  absl::StatusOr<double> Number(const char* name, double otherwise) const {
    const json* value = Find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_number()) return BadField(name, "expected a number");
    return value->get<double>();
  }
  absl::StatusOr<bool> Flag(const char* name) const {
    const json* value = Find(name);
    if (value == nullptr) return false;
    if (!value->is_boolean()) return BadField(name, "expected true or false");
    return value->get<bool>();
  }

 private:
  const json body_;
};

bool ChangesNothing(const json& value) {
  if (value.is_number()) return value.get<double>() == 0;
  if (value.is_boolean()) return !value.get<bool>();
  return value.empty() ||
         (value.is_string() && value.get<std::string>().empty());
}

// What there is no way to honour, unless it has the value that changes nothing.
absl::Status CheckHonoured(const Fields& fields) {
  for (const char* name :
       {"audio", "frequency_penalty", "function_call", "functions",
        "logit_bias", "prediction", "presence_penalty", "suffix", "tools",
        "web_search_options"}) {
    const json* value = fields.Find(name);
    if (value != nullptr && !ChangesNothing(*value)) {
      return BadField(name, "this server can't do that; leave it out");
    }
  }
  const json* format = fields.Find("response_format");
  if (format != nullptr && *format != json({{"type", "text"}})) {
    return BadField("response_format", R"(only {"type": "text"} is served)");
  }
  const json* modalities = fields.Find("modalities");
  if (modalities != nullptr && *modalities != json({"text"})) {
    return BadField("modalities", R"(only ["text"] is served)");
  }
  return absl::OkStatus();
}

absl::Status ReadInterventions(const Fields& fields, v1::Variant& variant) {
  const json* own = fields.Find("interventions");
  if (own == nullptr) return absl::OkStatus();
  const auto status = google::protobuf::util::JsonStringToMessage(
      json({{"interventions", *own}}).dump(), &variant);
  if (status.ok()) return absl::OkStatus();
  return BadField("interventions",
                  absl::StrCat("expected a list of dissonance.v1.Intervention "
                               "as JSON: ",
                               std::string(status.message())));
}

// "M" or "M:A".
absl::Status ReadVariant(const Fields& fields, OpenAiRequest& out) {
  const json* model = fields.Find("model");
  if (model == nullptr || !model->is_string() || ChangesNothing(*model)) {
    return BadField("model", "expected MODEL or MODEL:ADAPTER");
  }
  out.model = model->get<std::string>();
  const size_t colon = out.model.find(':');
  v1::Variant& variant = *out.generate.add_variants();
  RETURN_IF_ERROR(ReadInterventions(fields, variant));
  variant.set_model(absl::StrCat("models/", out.model.substr(0, colon)));
  if (colon != std::string::npos) {
    variant.set_adapter(absl::StrCat(variant.model(), "/adapters/",
                                     out.model.substr(colon + 1)));
  }
  return absl::OkStatus();
}

absl::Status ReadStops(const Fields& fields, v1::GenerationOptions& options) {
  const json* stop = fields.Find("stop");
  if (stop == nullptr) return absl::OkStatus();
  const json list = stop->is_array() ? *stop : json::array({*stop});
  for (const json& one : list) {
    if (!one.is_string()) {
      return BadField("stop", "expected a string or a list of strings");
    }
    options.add_stop_strings(one.get<std::string>());
  }
  return absl::OkStatus();
}

// OpenAI's defaults, which are not Generate's: temperature 1, and another seed
// each time.
absl::Status ReadSampling(const Fields& fields, v1::Sampling& sampling) {
  ASSIGN_OR_RETURN(const double temperature, fields.Number("temperature", 1));
  sampling.set_temperature(temperature);
  ASSIGN_OR_RETURN(const double top_p, fields.Number("top_p", 1));
  sampling.set_top_p(top_p);
  ASSIGN_OR_RETURN(const double min_p, fields.Number("min_p", 0));
  sampling.set_min_p(min_p);
  ASSIGN_OR_RETURN(const double penalty,
                   fields.Number("repetition_penalty", 1));
  sampling.set_repetition_penalty(penalty);
  ASSIGN_OR_RETURN(
      const std::optional<int64_t> top_k,
      fields.Integer("top_k", -1, std::numeric_limits<int32_t>::max()));
  // Clients of other servers write -1 for all.
  sampling.set_top_k(
      static_cast<int32_t>(std::max<int64_t>(top_k.value_or(0), 0)));
  ASSIGN_OR_RETURN(const std::optional<int64_t> seed,
                   fields.Integer("seed", std::numeric_limits<int64_t>::min(),
                                  std::numeric_limits<int64_t>::max()));
  uint64_t drawn = 0;
  const std::string bytes = RandomBytes(sizeof(drawn));
  std::memcpy(&drawn, bytes.data(), sizeof(drawn));
  sampling.set_seed(seed.has_value() ? static_cast<uint64_t>(*seed) : drawn);
  return absl::OkStatus();
}

// What both kinds of request have, but for how long the answer may be.
absl::Status ReadCommon(const Fields& fields, OpenAiRequest& out) {
  RETURN_IF_ERROR(CheckHonoured(fields));
  RETURN_IF_ERROR(ReadVariant(fields, out));
  v1::GenerationOptions& options = *out.generate.mutable_options();
  RETURN_IF_ERROR(ReadSampling(fields, *options.mutable_sampling()));
  RETURN_IF_ERROR(ReadStops(fields, options));
  ASSIGN_OR_RETURN(const std::optional<int64_t> n,
                   fields.Integer("n", 1, kMaxSamples));
  out.generate.set_sample_count(static_cast<int32_t>(n.value_or(1)));
  ASSIGN_OR_RETURN(out.streams, fields.Flag("stream"));
  const json* stream_options = fields.Find("stream_options");
  if (stream_options == nullptr) return absl::OkStatus();
  if (!stream_options->is_object()) {
    return BadField("stream_options", "expected an object");
  }
  ASSIGN_OR_RETURN(out.includes_usage,
                   Fields(*stream_options).Flag("include_usage"));
  return absl::OkStatus();
}

bool IsTokens(const json& value) {
  return value.is_array() && !value.empty() &&
         absl::c_all_of(value, [](const json& id) {
           return id.is_number_integer() && id >= 0 &&
                  id <= std::numeric_limits<int32_t>::max();
         });
}

absl::Status ReadPrompt(const json& value, v1::GenerateRequest& out) {
  if (value.is_string()) {
    out.add_inputs()->set_text(value.get<std::string>());
    return absl::OkStatus();
  }
  if (!IsTokens(value)) {
    return BadField("prompt",
                    "expected a text, a list of token ids, or a list of one of "
                    "them");
  }
  auto& ids = *out.add_inputs()->mutable_tokens()->mutable_ids();
  for (const json& id : value) ids.Add(id.get<int32_t>());
  return absl::OkStatus();
}

absl::Status ReadPrompts(const Fields& fields, v1::GenerateRequest& out) {
  const json* prompt = fields.Find("prompt");
  if (prompt == nullptr) return BadField("prompt", "expected one");
  const bool is_list =
      prompt->is_array() && !prompt->empty() && !prompt->front().is_number();
  if (!is_list) return ReadPrompt(*prompt, out);
  for (const json& one : *prompt) RETURN_IF_ERROR(ReadPrompt(one, out));
  return absl::OkStatus();
}

// A text, or a list of parts of which all are text.
absl::StatusOr<std::string> ContentOf(const json& message,
                                      const std::string& where) {
  const auto content = message.find("content");
  if (content != message.end() && content->is_string()) {
    return content->get<std::string>();
  }
  std::string text;
  const bool has_parts = content != message.end() && content->is_array();
  for (const json& part : has_parts ? *content : json::array({nullptr})) {
    if (!part.is_object() || part.value("type", json()) != "text" ||
        !part.value("text", json()).is_string()) {
      return BadField(where, "expected text; nothing else can be given");
    }
    text += part["text"].get<std::string>();
  }
  return text;
}

absl::Status ReadMessages(const Fields& fields, v1::Chat& chat) {
  const json* messages = fields.Find("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty()) {
    return BadField("messages", "expected a list of {role, content}");
  }
  for (const json& message : *messages) {
    const std::string where =
        absl::StrCat("messages[", chat.messages_size(), "]");
    if (!message.is_object() || !message.value("role", json()).is_string()) {
      return BadField(where, "expected {role, content}");
    }
    v1::ChatMessage& out = *chat.add_messages();
    out.set_role(message["role"].get<std::string>());
    ASSIGN_OR_RETURN(*out.mutable_content(),
                     ContentOf(message, absl::StrCat(where, ".content")));
  }
  chat.set_add_generation_prompt(true);
  if (const json* own = fields.Find("chat_template_kwargs")) {
    chat.set_template_kwargs_json(own->dump());
  }
  return absl::OkStatus();
}

absl::StatusOr<Fields> ReadBody(absl::string_view body) {
  ASSIGN_OR_RETURN(json parsed, ParseJson(body, "the request's body"));
  if (!parsed.is_object()) {
    return absl::InvalidArgumentError(
        "the request's body: expected a JSON object");
  }
  return Fields(std::move(parsed));
}

}  // namespace

absl::StatusOr<OpenAiRequest> ParseCompletion(absl::string_view body) {
  ASSIGN_OR_RETURN(const Fields fields, ReadBody(body));
  OpenAiRequest out;
  RETURN_IF_ERROR(ReadCommon(fields, out));
  RETURN_IF_ERROR(ReadPrompts(fields, out.generate));
  ASSIGN_OR_RETURN(const std::optional<int64_t> new_tokens,
                   fields.Integer("max_tokens", 0, kMaxNewTokens));
  out.drops_new_tokens = new_tokens == 0;
  out.generate.mutable_options()->set_max_new_token_count(static_cast<int32_t>(
      std::max<int64_t>(new_tokens.value_or(kDefaultNewTokens), 1)));
  ASSIGN_OR_RETURN(const bool echo, fields.Flag("echo"));
  out.generate.set_echo(echo);
  ASSIGN_OR_RETURN(const std::optional<int64_t> tops,
                   fields.Integer("logprobs", 0, kMaxTops));
  out.wants_logprobs = tops.has_value();
  out.generate.set_top_logprob_count(static_cast<int32_t>(tops.value_or(0)));
  ASSIGN_OR_RETURN(const std::optional<int64_t> best_of,
                   fields.Integer("best_of", 1, kMaxSamples));
  if (best_of.value_or(1) > out.generate.sample_count()) {
    return BadField("best_of", "this server can't choose; ask for them with n");
  }
  return out;
}

absl::StatusOr<OpenAiRequest> ParseChatCompletion(absl::string_view body) {
  ASSIGN_OR_RETURN(const Fields fields, ReadBody(body));
  OpenAiRequest out;
  out.is_chat = true;
  RETURN_IF_ERROR(ReadCommon(fields, out));
  RETURN_IF_ERROR(
      ReadMessages(fields, *out.generate.add_inputs()->mutable_chat()));
  ASSIGN_OR_RETURN(const std::optional<int64_t> older,
                   fields.Integer("max_tokens", 1, kMaxNewTokens));
  ASSIGN_OR_RETURN(const std::optional<int64_t> newer,
                   fields.Integer("max_completion_tokens", 1, kMaxNewTokens));
  out.generate.mutable_options()->set_max_new_token_count(
      static_cast<int32_t>(newer.value_or(older.value_or(0))));
  ASSIGN_OR_RETURN(out.wants_logprobs, fields.Flag("logprobs"));
  ASSIGN_OR_RETURN(const std::optional<int64_t> tops,
                   fields.Integer("top_logprobs", 0, kMaxTops));
  if (tops.value_or(0) > 0 && !out.wants_logprobs) {
    return BadField("top_logprobs", "needs \"logprobs\": true");
  }
  out.generate.set_top_logprob_count(static_cast<int32_t>(tops.value_or(0)));
  return out;
}

}  // namespace dissonance
