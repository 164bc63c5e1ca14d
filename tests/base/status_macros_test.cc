#include "src/base/status_macros.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace dissonance {
namespace {

absl::StatusOr<std::unique_ptr<int>> Make(bool ok) {
  if (!ok) return absl::NotFoundError("none");
  return std::make_unique<int>(3);
}

absl::StatusOr<int> AddOne(bool ok) {
  ASSIGN_OR_RETURN(const std::unique_ptr<int> value, Make(ok));
  return *value + 1;
}

absl::Status Both(const absl::Status& first, int& reached) {
  RETURN_IF_ERROR(first);
  ++reached;
  return absl::OkStatus();
}

TEST(StatusMacrosTest, AssignMovesTheValueOrReturnsTheError) {
  EXPECT_EQ(AddOne(true).value(), 4);
  EXPECT_EQ(AddOne(false).status(), absl::NotFoundError("none"));
}

TEST(StatusMacrosTest, ReturnIfErrorStopsAtAnError) {
  int reached = 0;
  EXPECT_TRUE(Both(absl::OkStatus(), reached).ok());
  EXPECT_EQ(Both(absl::InternalError("x"), reached), absl::InternalError("x"));
  EXPECT_EQ(reached, 1);
}

TEST(AnnotateTest, KeepsCodeAndPayloadAndLeavesOkAlone) {
  absl::Status status = absl::InternalError("x");
  status.SetPayload("url", absl::Cord("details"));
  const absl::Status annotated = Annotate(status, "file");
  EXPECT_EQ(annotated.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(std::string(annotated.message()), "file: x");
  EXPECT_EQ(annotated.GetPayload("url"), absl::Cord("details"));
  EXPECT_TRUE(Annotate(absl::OkStatus(), "file").ok());
}

}  // namespace
}  // namespace dissonance
