// Uploads to a real server: whole, over its crashes, and of an adapter's size.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "src/base/sha256.h"
#include "src/lab/artifacts/failpoints.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

constexpr size_t kPieceBytes = 1 << 20;

// Bytes that differ everywhere.
std::string SomeBytes(size_t count) {
  std::string bytes;
  while (bytes.size() < count) absl::StrAppend(&bytes, bytes.size(), ",");
  bytes.resize(count);
  return bytes;
}

std::string NameOf(const std::string& bytes) {
  return absl::StrCat("artifacts/", Sha256Of(bytes));
}

v1::GetUploadResponse FindUpload(ServerProcess& server,
                                 const std::string& name) {
  v1::GetUploadRequest request;
  request.set_name(name);
  v1::GetUploadResponse response;
  const auto context = server.NewContext();
  const grpc::Status status = server.NewStub<v1::Artifacts>()->GetUpload(
      context.get(), request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

// Sends what is missing.
absl::Status Upload(ServerProcess& server, const std::string& bytes) {
  const std::string name = NameOf(bytes);
  const v1::GetUploadResponse found = FindUpload(server, name);
  if (found.complete()) return absl::OkStatus();
  v1::WriteArtifactResponse response;
  const auto context = server.NewContext();
  const auto stub = server.NewStub<v1::Artifacts>();
  const auto writer = stub->WriteArtifact(context.get(), &response);
  v1::WriteArtifactRequest request;
  request.set_name(name);
  request.set_size_bytes(static_cast<int64_t>(bytes.size()));
  request.set_media_type("application/octet-stream");
  auto at = static_cast<size_t>(found.received_bytes());
  do {
    request.set_offset_bytes(static_cast<int64_t>(at));
    request.set_data(bytes.substr(at, kPieceBytes));
    if (!writer->Write(request)) break;
    at += kPieceBytes;
  } while (at < bytes.size());
  writer->WritesDone();
  return ToAbsl(writer->Finish());
}

TEST(ServerArtifactsTest, UploadsListsSharesAndDeletes) {
  const TempFolder folder;
  ServerProcess server({.data_dir = folder.path()});
  ASSERT_TRUE(server.AwaitServing());
  const std::string bytes = SomeBytes(5 * kPieceBytes + 3);
  const absl::Status uploaded = Upload(server, bytes);
  ASSERT_TRUE(uploaded.ok()) << uploaded;
  const auto read = ReadArtifact(server, NameOf(bytes));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, bytes);
  const auto stub = server.NewStub<v1::Artifacts>();
  v1::UpdateArtifactRequest update;
  update.set_name(NameOf(bytes));
  update.set_visibility(v1::VISIBILITY_LAB);
  v1::UpdateArtifactResponse updated;
  ASSERT_TRUE(
      stub->UpdateArtifact(server.NewContext().get(), update, &updated).ok());
  EXPECT_EQ(updated.artifact().visibility(), v1::VISIBILITY_LAB);
  EXPECT_TRUE(updated.artifact().owned());
  v1::DeleteArtifactRequest remove;
  remove.set_name(NameOf(bytes));
  v1::DeleteArtifactResponse removed;
  ASSERT_TRUE(
      stub->DeleteArtifact(server.NewContext().get(), remove, &removed).ok());
  EXPECT_EQ(ReadArtifact(server, NameOf(bytes)).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(server.Stop(), 0);
}

TEST(ServerArtifactsTest, AnUploadGoesOnAfterACrashAtAnyPoint) {
  const std::string bytes = SomeBytes(5 * kPieceBytes + 3);
  const TempFolder folder;
  for (const std::string& failpoint :
       {absl::StrCat(kFailpointAppended, ":2"), std::string(kFailpointFlushed),
        std::string(kFailpointPlaced)}) {
    ServerProcess server(
        {.data_dir = folder.path(),
         .environment = {{"DISSONANCE_FAILPOINT", failpoint}}});
    ASSERT_TRUE(server.AwaitServing());
    EXPECT_FALSE(FindUpload(server, NameOf(bytes)).complete()) << failpoint;
    EXPECT_FALSE(Upload(server, bytes).ok()) << failpoint;
    EXPECT_EQ(server.AwaitExit(), 128 + SIGKILL);
  }
  ServerProcess server({.data_dir = folder.path()});
  ASSERT_TRUE(server.AwaitServing());
  const absl::Status uploaded = Upload(server, bytes);
  ASSERT_TRUE(uploaded.ok()) << uploaded;
  const auto read = ReadArtifact(server, NameOf(bytes));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, bytes);
}

TEST(ServerArtifactsTest, WhatCameBeforeACrashIsNotSentAgain) {
  const std::string bytes = SomeBytes(5 * kPieceBytes + 3);
  const TempFolder folder;
  {
    ServerProcess server(
        {.data_dir = folder.path(),
         .environment = {{"DISSONANCE_FAILPOINT",
                          absl::StrCat(kFailpointAppended, ":2")}}});
    ASSERT_TRUE(server.AwaitServing());
    EXPECT_FALSE(Upload(server, bytes).ok());
    EXPECT_EQ(server.AwaitExit(), 128 + SIGKILL);
  }
  ServerProcess server({.data_dir = folder.path()});
  ASSERT_TRUE(server.AwaitServing());
  EXPECT_EQ(FindUpload(server, NameOf(bytes)).received_bytes(),
            2 * kPieceBytes);
  EXPECT_TRUE(Upload(server, bytes).ok());
  EXPECT_TRUE(FindUpload(server, NameOf(bytes)).complete());
}

}  // namespace
}  // namespace dissonance
