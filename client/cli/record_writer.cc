#include "client/cli/record_writer.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

namespace dissonance::cli {

OutputFormat FormatFor(const Session& session) {
  if (session.output_given) return session.output;
  return ::isatty(STDOUT_FILENO) == 1 ? OutputFormat::kTable
                                      : OutputFormat::kJsonLines;
}

void RecordWriter::Add(nlohmann::json record) {
  if (format_ == OutputFormat::kJson) {
    records_.push_back(std::move(record));
  } else if (format_ == OutputFormat::kJsonLines) {
    Emit(format_, {record}, Table({}));
  }
}

void RecordWriter::AddText(const std::string& text) {
  if (std::exchange(has_text_, true)) std::fputc('\n', stdout);
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void RecordWriter::Finish() {
  if (format_ == OutputFormat::kJson) Emit(format_, records_, Table({}));
}

}  // namespace dissonance::cli
