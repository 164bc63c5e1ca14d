// Text that is fit for an event or a reason. Thread safe.
#ifndef DISSONANCE_LAB_JOBS_EVENT_TEXT_H_
#define DISSONANCE_LAB_JOBS_EVENT_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace dissonance {

// `text` as UTF-8, with U+FFFD for each byte that is not, cut to 8 KiB: a
// kind's message may quote anything, and must not make a job unreadable.
std::string EventText(absl::string_view text);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JOBS_EVENT_TEXT_H_
