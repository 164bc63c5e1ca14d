// How the control plane tells a worker that a call is made for a job: request
// metadata that a client's own calls never have, because it is not forwarded.
// Without it a call is interactive and goes first.
//
//   context.AddMetadata(kPriorityKey, kJobPriority);
#ifndef DISSONANCE_BASE_CALL_PRIORITY_H_
#define DISSONANCE_BASE_CALL_PRIORITY_H_

namespace dissonance {

inline constexpr char kPriorityKey[] = "dissonance-priority";
inline constexpr char kJobPriority[] = "job";

}  // namespace dissonance

#endif  // DISSONANCE_BASE_CALL_PRIORITY_H_
