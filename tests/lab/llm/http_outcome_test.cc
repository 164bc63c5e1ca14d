#include "src/lab/llm/http_outcome.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"

namespace dissonance {
namespace {

using testing::HasSubstr;
using Next = TryVerdict::Next;

TryVerdict Of(int code, const std::string& body = "{}") {
  return JudgeTry({.transport = absl::OkStatus(), .code = code, .body = body});
}

TEST(JudgeTryTest, AnEndpointWithoutJsonModeIsToBeConfiguredSo) {
  EXPECT_TRUE(absl::StrContains(
      Of(400, R"({"error": {"message": "response_format is not supported"}})")
          .reply.status()
          .message(),
      "json_mode = false"));
}

TEST(Judge, WhatPassesIsTriedAgain) {
  for (const int code : {408, 409, 425, 500, 502, 503, 504, 529}) {
    EXPECT_EQ(Of(code).next, Next::kRetry) << code;
  }
  EXPECT_EQ(Of(200, "{\"cho").next, Next::kRetry);
  EXPECT_EQ(JudgeTry({.transport = absl::UnavailableError("lost")}).next,
            Next::kRetry);
}

TEST(Judge, RefusalsEndTheCallWithAdvice) {
  EXPECT_TRUE(absl::IsUnauthenticated(Of(401).reply.status()));
  EXPECT_THAT(Of(401).reply.status().message(), HasSubstr("check the key"));
  EXPECT_TRUE(absl::IsPermissionDenied(Of(403).reply.status()));
  EXPECT_TRUE(absl::IsNotFound(Of(404).reply.status()));
  EXPECT_TRUE(absl::IsResourceExhausted(Of(402).reply.status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Of(400).reply.status()));
  for (const int code : {301, 400, 401, 402, 403, 404, 422}) {
    EXPECT_EQ(Of(code).next, Next::kEnd) << code;
  }
  const absl::Status untrusted = absl::FailedPreconditionError("certificate");
  EXPECT_EQ(JudgeTry({.transport = untrusted}).next, Next::kEnd);
}

TEST(Judge, ToldToWaitIsNoFailure) {
  HttpOutcome busy{.transport = absl::OkStatus(), .code = 429, .body = "{}"};
  EXPECT_EQ(JudgeTry(busy).next, Next::kWait);
  EXPECT_EQ(JudgeTry(busy).pause, std::nullopt);
  busy.retry_after = absl::Seconds(7);
  EXPECT_EQ(JudgeTry(busy).pause, absl::Seconds(7));
  busy.code = 503;
  EXPECT_EQ(JudgeTry(busy).next, Next::kWait);
  // A used-up quota does not fill by waiting.
  busy.code = 429;
  busy.body = R"({"error":{"code":"insufficient_quota","message":"pay"}})";
  EXPECT_EQ(JudgeTry(busy).next, Next::kEnd);
}

TEST(ParseRetryAfter, ReadsSecondsAndDates) {
  const absl::Time now = absl::FromUnixSeconds(784111777);
  EXPECT_EQ(ParseRetryAfter(" 3\r\n", now), absl::Seconds(3));
  EXPECT_EQ(ParseRetryAfter("1.5", now), absl::Seconds(1.5));
  EXPECT_EQ(ParseRetryAfter("Sun, 06 Nov 1994 08:49:40 GMT", now),
            absl::Seconds(3));
  EXPECT_EQ(ParseRetryAfter("Sun, 06 Nov 1994 08:49:30 GMT", now),
            absl::ZeroDuration());
  EXPECT_EQ(ParseRetryAfter("soon", now), std::nullopt);
  EXPECT_EQ(ParseRetryAfter("-1", now), std::nullopt);
}

}  // namespace
}  // namespace dissonance
