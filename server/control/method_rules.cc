#include "server/control/method_rules.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"

namespace dissonance {

MethodRule RuleOf(absl::string_view path) {
  if (!absl::ConsumePrefix(&path, "/dissonance.v1.")) return {};
  const std::string name =
      absl::StrCat("dissonance.v1.", absl::StrReplaceAll(path, {{"/", "."}}));
  const google::protobuf::MethodDescriptor* method =
      google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(
          name);
  if (method == nullptr) return {};
  const v1::Authorization& declared =
      method->options().GetExtension(v1::authorization);
  return {.is_known = true,
          .scope = declared.scope(),
          .mutates = declared.mutates()};
}

absl::Status CheckScope(absl::string_view path, const MethodRule& rule,
                        const Principal& caller) {
  if (rule.scope == v1::SCOPE_UNSPECIFIED) {
    return absl::PermissionDeniedError(absl::StrCat(
        path, " declares no scope, so nobody may call it: a bug to report"));
  }
  if (caller.scope >= rule.scope) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat(path, " needs a token of scope ", ScopeName(rule.scope),
                   "; this one has ", ScopeName(caller.scope),
                   ": ask an administrator for another"));
}

std::string ScopeName(v1::Scope scope) {
  const std::string name = v1::Scope_Name(scope);
  return absl::AsciiStrToLower(absl::StripPrefix(name, "SCOPE_"));
}

}  // namespace dissonance
