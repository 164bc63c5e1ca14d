// Results that come one by one, for programs: a JSON line each as they come, or
// one array at the end. Not thread safe.
//
//   RecordWriter records(FormatFor(session));
//   records.Add({{"id", "q1"}});
//   records.Finish();
#ifndef DISSONANCE_CLIENT_CLI_RECORD_WRITER_H_
#define DISSONANCE_CLIENT_CLI_RECORD_WRITER_H_

#include <string>
#include <vector>

#include "client/cli/command.h"
#include "client/cli/output.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// As asked for; else a table on a terminal, and JSON lines for programs.
OutputFormat FormatFor(const Session& session);

class RecordWriter {
 public:
  explicit RecordWriter(OutputFormat format) : format_(format) {}

  // Whether people read, to whom the caller shows tables instead: records are
  // then dropped.
  bool wants_table() const { return format_ == OutputFormat::kTable; }

  void Add(nlohmann::json record);
  // Such a table, with an empty line before all but the first.
  void AddText(const std::string& text);
  void Finish();

 private:
  const OutputFormat format_;
  bool has_text_ = false;
  std::vector<nlohmann::json> records_;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_RECORD_WRITER_H_
