// Meters as people write them on the command line: "truth",
// "truth@resid_post.3" or "truth.safetensors@resid_post.3" after --meter.
// Thread safe.
//
//   ASSIGN_OR_RETURN(v1::Meter meter, ReadMeter("truth@resid_post.3"));
#ifndef DISSONANCE_CLIENT_CLI_METER_OPTION_H_
#define DISSONANCE_CLIENT_CLI_METER_OPTION_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/common.pb.h"

namespace dissonance::cli {

inline constexpr char kMeterForm[] = "NAME|FILE@SITE.BLOCK";

// NAME[@SITE.BLOCK] of a direction that the server has, or
// FILE.safetensors[:TENSOR]@SITE.BLOCK, whose vector is read; called as it is
// written. INVALID_ARGUMENT with what is wrong and the form; what ReadTensor
// says of the file.
absl::StatusOr<v1::Meter> ReadMeter(absl::string_view text);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_METER_OPTION_H_
