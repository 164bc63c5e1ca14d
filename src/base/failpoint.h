// Named places where a test ends the process as a crash would. Set
// DISSONANCE_FAILPOINT=NAME or NAME:COUNT before the start, and the COUNTth
// time (default 1) that NAME is reached the process gets SIGKILL. Without the
// variable a failpoint costs one comparison. Thread safe.
//
//   RETURN_IF_ERROR(store.Append(results));
//   Failpoint("eval.items_recorded");
#ifndef DISSONANCE_BASE_FAILPOINT_H_
#define DISSONANCE_BASE_FAILPOINT_H_

#include "absl/strings/string_view.h"

namespace dissonance {

// Ends the process here if the environment says so.
void Failpoint(absl::string_view name);

}  // namespace dissonance

#endif  // DISSONANCE_BASE_FAILPOINT_H_
