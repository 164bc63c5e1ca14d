// Input that people name on the command line: a file, or "-" for standard
// input. Thread safe, but standard input can be read once.
#ifndef DISSONANCE_CLIENT_CLI_INPUT_FILE_H_
#define DISSONANCE_CLIENT_CLI_INPUT_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/common.pb.h"

namespace dissonance::cli {

// The contents. NOT_FOUND if there is no such file; RESOURCE_EXHAUSTED if it
// is larger than `limit_bytes`.
absl::StatusOr<std::string> ReadInput(const std::string& path,
                                      uint64_t limit_bytes);

// INVALID_ARGUMENT, with `where` and the byte, unless the text can be sent.
absl::Status CheckUtf8(absl::string_view text, absl::string_view where);

// What messages call the file: the path, or "standard input".
std::string InputLabel(const std::string& path);

// A usage error if writing `output` would replace one of the files that are
// read. Of `inputs`, "" and "-" are no files.
absl::Status CheckReplacesNone(const std::string& output,
                               const std::vector<std::string>& inputs);

// The conversation in a JSON file: such a list, or {"messages": [...]} as chat
// endpoints take it. "-" is standard input.
absl::StatusOr<v1::Chat> ReadChat(const std::string& path,
                                  uint64_t limit_bytes);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_INPUT_FILE_H_
