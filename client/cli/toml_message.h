// Messages from TOML tables, field by field as their descriptors say. Thread
// safe.
//
//   TomlMessages reader(path, {.message = ..., .bytes = ...});
//   RETURN_IF_ERROR(reader.Read(table, "evaluate_mcq", spec));
#ifndef DISSONANCE_CLIENT_CLI_TOML_MESSAGE_H_
#define DISSONANCE_CLIENT_CLI_TOML_MESSAGE_H_

#include <functional>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "toml++/toml.h"

namespace dissonance::cli {

// A field, and where the value in the file goes.
struct TomlField {
  google::protobuf::Message& message;
  const google::protobuf::FieldDescriptor& field;
  std::string path;  // from the top, "evaluate_mcq.data"
};

class TomlMessages {
 public:
  // Takes a value in a way of its own; false: read it as any other.
  using Hook = std::function<absl::StatusOr<bool>(const toml::node& value,
                                                  const TomlField& at)>;

  // `hook` is asked about each value first.
  TomlMessages(std::string file, Hook hook)
      : file_(std::move(file)), hook_(std::move(hook)) {}

  // Fills `message`; `path` is its own; keys in `skip` are left out (a copy of
  // a table would not know its lines). INVALID_ARGUMENT with file and line.
  absl::Status Read(const toml::table& table, const std::string& path,
                    google::protobuf::Message& message,
                    const std::set<std::string>& skip = {}) const;

  // "FILE:LINE: WHAT".
  absl::Status Bad(const toml::node& node, absl::string_view what) const;

 private:
  absl::Status ReadField(const toml::node& value, const TomlField& at) const;
  absl::Status ReadList(const toml::node& value, const TomlField& at) const;
  absl::Status ReadOne(const toml::node& value, const TomlField& at) const;
  absl::Status ReadEnum(const toml::node& value, const TomlField& at) const;
  absl::Status ReadNumber(const toml::node& value, const TomlField& at) const;

  const std::string file_;
  const Hook hook_;
};

// "FILE:LINE: WHAT" of a file that is no TOML.
absl::Status TomlError(absl::string_view file, const toml::parse_error& error);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_TOML_MESSAGE_H_
