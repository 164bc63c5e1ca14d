#include "server/control/method_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "dissonance/v1/admin.pb.h"
#include "dissonance/v1/artifacts.pb.h"
#include "dissonance/v1/inference.pb.h"
#include "dissonance/v1/interpretability.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "dissonance/v1/models.pb.h"
#include "google/protobuf/descriptor.h"

namespace dissonance {
namespace {

using ::google::protobuf::FileDescriptor;
using ::google::protobuf::MethodDescriptor;
using ::testing::HasSubstr;

void ForEachMethod(const std::function<void(const MethodDescriptor&,
                                            const std::string&)>& visit) {
  for (const FileDescriptor* file :
       {v1::Job::descriptor()->file(), v1::Model::descriptor()->file(),
        v1::Artifact::descriptor()->file(), v1::User::descriptor()->file(),
        v1::ScoreRequest::descriptor()->file(),
        v1::PatchRequest::descriptor()->file()}) {
    ASSERT_GT(file->service_count(), 0) << file->name();
    for (int i = 0; i < file->service_count(); ++i) {
      for (int j = 0; j < file->service(i)->method_count(); ++j) {
        const MethodDescriptor& method = *file->service(i)->method(j);
        visit(method, absl::StrCat("/", method.service()->full_name(), "/",
                                   method.name()));
      }
    }
  }
}

Principal CallerOf(v1::Scope scope) {
  Principal caller;
  caller.scope = scope;
  return caller;
}

bool IsNamedAsAChange(const std::string& method) {
  for (const char* verb :
       {"Create", "Update", "Delete", "Set", "Register", "Load", "Unload",
        "Write", "Cancel", "Pause", "Retry", "Run", "Revoke", "Rotate", "Drain",
        "Resume", "Backup", "CollectGarbage", "Replay"}) {
    if (absl::StartsWith(method, verb)) return true;
  }
  return false;
}

TEST(MethodRulesTest, EveryMethodDeclaresAScopeAndItsChanges) {
  ForEachMethod([](const MethodDescriptor& method, const std::string& path) {
    const MethodRule rule = RuleOf(path);
    EXPECT_TRUE(rule.is_known) << path;
    EXPECT_NE(rule.scope, v1::SCOPE_UNSPECIFIED) << path;
    EXPECT_EQ(rule.mutates, IsNamedAsAChange(method.name())) << path;
    // To look is not to change.
    EXPECT_FALSE(rule.mutates && rule.scope == v1::SCOPE_READ) << path;
  });
}

TEST(MethodRulesTest, WhatIsNotOursHasNoRule) {
  for (const char* path :
       {"", "/", "/grpc.health.v1.Health/Check", "/dissonance.v1.Jobs",
        "/dissonance.v1.Jobs/", "/dissonance.v1.Jobs/NoSuch",
        "dissonance.v1.Jobs/GetJob", "/dissonance.v1.NoSuch/GetJob",
        "/dissonance.v1.Jobs/GetJob/"}) {
    EXPECT_FALSE(RuleOf(path).is_known) << path;
  }
}

TEST(MethodRulesTest, AScopeSufficesForItselfAndThoseBefore) {
  const v1::Scope scopes[] = {v1::SCOPE_READ, v1::SCOPE_RUN, v1::SCOPE_ADMIN};
  for (const v1::Scope needed : scopes) {
    for (const v1::Scope held : scopes) {
      const absl::Status status = CheckScope(
          "/x", {.is_known = true, .scope = needed, .mutates = false},
          CallerOf(held));
      EXPECT_EQ(status.ok(), held >= needed) << status;
      EXPECT_TRUE(status.ok() || absl::IsPermissionDenied(status)) << status;
    }
  }
}

TEST(MethodRulesTest, NobodyMayCallWhatDeclaresNothing) {
  const absl::Status status =
      CheckScope("/x", {.is_known = true}, CallerOf(v1::SCOPE_ADMIN));
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("declares no scope"));
}

}  // namespace
}  // namespace dissonance
