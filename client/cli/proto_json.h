// Protocol messages as JSON for programs: the proto's own field names, every
// field present, integers as numbers of full precision, enums as short
// lower-case words ("running"), times as RFC 3339 strings. Thread safe.
#ifndef DISSONANCE_CLIENT_CLI_PROTO_JSON_H_
#define DISSONANCE_CLIENT_CLI_PROTO_JSON_H_

#include <string>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// An unset message or optional field is null; `bytes` fields, which hold whole
// data files, are
// {"size_bytes", "sha256"}; numbers that are not finite are null.
nlohmann::json ToJson(const google::protobuf::Message& message);

// JSON has no numbers that are not finite.
nlohmann::json FiniteOrNull(double value);

// "running" for JOB_STATE_RUNNING.
std::string EnumWord(const google::protobuf::EnumValueDescriptor& value);

// The same for a generated enum.
template <typename Enum>
std::string EnumWord(Enum value) {
  const auto* descriptor =
      google::protobuf::GetEnumDescriptor<Enum>()->FindValueByNumber(value);
  return descriptor == nullptr ? std::to_string(value) : EnumWord(*descriptor);
}

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_PROTO_JSON_H_
