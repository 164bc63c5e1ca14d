#include "src/base/log.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "spdlog/formatter.h"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"
#include "src/base/utf8.h"

namespace dissonance {
namespace {

constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr char kTimeFormat[] = "%Y-%m-%dT%H:%M:%E3S%Ez";

// The fields of the line that this thread is writing: spdlog hands a formatter
// the message alone, on the thread that logs.
thread_local absl::Span<const LogField> current_fields;

// `text` with every malformed byte replaced.
std::string ValidUtf8(absl::string_view text) {
  std::string valid;
  while (true) {
    const auto bad = FindInvalidUtf8(text);
    absl::StrAppend(&valid, text.substr(0, bad.value_or(text.size())));
    if (!bad.has_value()) return valid;
    absl::StrAppend(&valid, kReplacement);
    text.remove_prefix(*bad + 1);
  }
}

// Appends valid UTF-8 so that it stays on its line and tells a terminal
// nothing. `quoted` escapes what ends a quoted value, too.
void AppendEscaped(std::string& line, absl::string_view text, bool quoted) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next =
        static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (byte == '\n') {
      line += "\\n";
    } else if (byte < 0x20 || byte == 0x7F) {
      absl::StrAppendFormat(&line, "\\x%02x", byte);
    } else if (byte == 0xC2 && next < 0xA0) {
      // U+0080 to U+009F: control characters of eight bits.
      absl::StrAppendFormat(&line, "\\x%02x", next);
      ++i;
    } else {
      if (quoted && (byte == '"' || byte == '\\')) line += '\\';
      line += text[i];
    }
  }
}

void AppendTextValue(std::string& line, absl::string_view value) {
  const std::string text = ValidUtf8(value);
  const bool quoted =
      text.empty() || text.find_first_of(" \"=\\") != std::string::npos;
  if (quoted) line += '"';
  AppendEscaped(line, text, quoted);
  if (quoted) line += '"';
}

std::string TextLine(const std::string& time, absl::string_view level,
                     absl::string_view message,
                     absl::Span<const LogField> fields) {
  std::string line = absl::StrCat(time, " ", level, " ");
  AppendEscaped(line, ValidUtf8(message), /*quoted=*/false);
  for (const LogField& field : fields) {
    absl::StrAppend(&line, " ", field.name, "=");
    if (const auto* text = std::get_if<absl::string_view>(&field.value)) {
      AppendTextValue(line, *text);
    } else if (const auto* whole = std::get_if<int64_t>(&field.value)) {
      absl::StrAppend(&line, *whole);
    } else {
      absl::StrAppend(&line, std::get<double>(field.value));
    }
  }
  line += '\n';
  return line;
}

std::string JsonLogLine(const std::string& time, absl::string_view level,
                        absl::string_view message,
                        absl::Span<const LogField> fields) {
  nlohmann::ordered_json json = {{"time", time},
                                 {"level", std::string(level)},
                                 {"message", ValidUtf8(message)}};
  for (const LogField& field : fields) {
    nlohmann::ordered_json& value = json[std::string(field.name)];
    if (const auto* text = std::get_if<absl::string_view>(&field.value)) {
      value = ValidUtf8(*text);
    } else if (const auto* whole = std::get_if<int64_t>(&field.value)) {
      value = *whole;
    } else {
      value = std::get<double>(field.value);
    }
  }
  return json.dump() + "\n";
}

absl::string_view ViewOf(spdlog::string_view_t text) {
  return {text.data(), text.size()};
}

class LineFormatter final : public spdlog::formatter {
 public:
  explicit LineFormatter(LogFormat format) : format_(format) {}

  void format(const spdlog::details::log_msg& event,
              spdlog::memory_buf_t& out) override {
    const std::string line =
        FormatLogLine(format_, absl::FromChrono(event.time),
                      ViewOf(spdlog::level::to_string_view(event.level)),
                      ViewOf(event.payload), current_fields);
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<LineFormatter>(format_);
  }

 private:
  const LogFormat format_;
};

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

void StartLog(const LogOptions& options) {
  auto logger = std::make_shared<spdlog::logger>(
      "dissonance", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_formatter(std::make_unique<LineFormatter>(options.format));
  logger->set_level(spdlog::level::from_str(options.level));
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(std::move(logger));
}

void Log(LogLevel level, absl::string_view message,
         std::initializer_list<LogField> fields) {
  current_fields = absl::MakeConstSpan(fields.begin(), fields.size());
  spdlog::default_logger_raw()->log(
      SpdlogLevel(level),
      spdlog::string_view_t(message.data(), message.size()));
  current_fields = {};
}

std::string FormatLogLine(LogFormat format, absl::Time time,
                          absl::string_view level, absl::string_view message,
                          absl::Span<const LogField> fields) {
  const std::string when =
      absl::FormatTime(kTimeFormat, time, absl::LocalTimeZone());
  return format == LogFormat::kJson ? JsonLogLine(when, level, message, fields)
                                    : TextLine(when, level, message, fields);
}

}  // namespace dissonance
