// What each RPC of the public API needs and does, as its declaration says
// (proto/dissonance/v1/authorization.proto). Thread safe.
//
//   const MethodRule rule = RuleOf("/dissonance.v1.Jobs/CreateJob");
//   if (rule.scope == v1::SCOPE_UNSPECIFIED) ...   // nobody may call it
#ifndef DISSONANCE_SERVER_CONTROL_METHOD_RULES_H_
#define DISSONANCE_SERVER_CONTROL_METHOD_RULES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/authorization.pb.h"
#include "src/lab/storage/token_store.h"

namespace dissonance {

struct MethodRule {
  bool is_known = false;  // one of dissonance.v1
  v1::Scope scope = v1::SCOPE_UNSPECIFIED;
  bool mutates = false;
};

// `path` is "/PACKAGE.SERVICE/METHOD".
MethodRule RuleOf(absl::string_view path);

// PERMISSION_DENIED unless the caller's scope suffices; also for an RPC that
// declares none.
absl::Status CheckScope(absl::string_view path, const MethodRule& rule,
                        const Principal& caller);

// "run" for SCOPE_RUN.
std::string ScopeName(v1::Scope scope);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_METHOD_RULES_H_
