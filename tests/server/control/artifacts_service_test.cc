// The Artifacts service with several users, over a real socket.
#include "server/control/artifacts_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "src/base/sha256.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kQuota = 1000;
const std::string kBytes = "0123456789";

std::string NameOf(const std::string& bytes) {
  return absl::StrCat("artifacts/", Sha256Of(bytes));
}

class ArtifactsServiceTest : public ::testing::Test {
 protected:
  using Stub = v1::Artifacts::Stub;
  using Context = std::unique_ptr<grpc::ClientContext>;
  // A method with one answer, e.g. &Stub::GetArtifact.
  template <typename Request, typename Response>
  using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&,
                                        Response*);

  void SetUp() override {
    const std::string address = "unix:" + dir_.path() + "/socket";
    service_ =
        MakeArtifactsService({.artifacts = *store_,
                              .uploads = *uploads_,
                              .tokens = tokens_,
                              .streams = streams_,
                              .limit_bytes = [](const std::string& user) {
                                return user == "poor" ? kQuota : 0;
                              }});
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    stub_ = v1::Artifacts::NewStub(
        grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    for (const char* user : {"ada", "bob", "poor", "root"}) {
      ASSERT_TRUE(users_.Create(user, v1::Quota(), absl::Now()).ok());
      const v1::Scope scope =
          user == std::string("root") ? v1::SCOPE_ADMIN : v1::SCOPE_RUN;
      secrets_[user] = tokens_.Create({.user = user, .scope = scope})->secret;
    }
  }
  ~ArtifactsServiceTest() override { server_->Shutdown(); }

  Context As(const std::string& user) {
    auto context = std::make_unique<grpc::ClientContext>();
    context->AddMetadata("authorization", "Bearer " + secrets_[user]);
    context->set_deadline(std::chrono::system_clock::now() +
                          std::chrono::seconds(120));
    return context;
  }
  // A call about one artifact.
  template <typename Request, typename Response>
  grpc::StatusCode Call(const std::string& user, const std::string& name,
                        Method<Request, Response> method,
                        Response* response = nullptr) {
    Request request;
    request.set_name(name);
    Response ignored;
    const Context context = As(user);
    return (stub_.get()->*method)(context.get(), request,
                                  response == nullptr ? &ignored : response)
        .error_code();
  }
  // Bytes from `offset` on, in pieces.
  grpc::Status Write(const std::string& user, const std::string& bytes,
                     int64_t offset = 0, size_t piece_bytes = 4) {
    v1::WriteArtifactResponse response;
    const Context context = As(user);
    const auto writer = stub_->WriteArtifact(context.get(), &response);
    v1::WriteArtifactRequest request;
    request.set_name(NameOf(bytes));
    request.set_size_bytes(static_cast<int64_t>(bytes.size()));
    request.set_media_type("text/plain");
    for (auto at = static_cast<size_t>(offset); at < bytes.size();
         at += piece_bytes) {
      request.set_offset_bytes(static_cast<int64_t>(at));
      request.set_data(bytes.substr(at, piece_bytes));
      if (!writer->Write(request)) break;
      request.Clear();
    }
    writer->WritesDone();
    return writer->Finish();
  }
  grpc::StatusCode Read(const std::string& user, const std::string& name,
                        std::string* bytes = nullptr) {
    v1::ReadArtifactRequest request;
    request.set_name(name);
    const Context context = As(user);
    const auto reader = stub_->ReadArtifact(context.get(), request);
    v1::ReadArtifactResponse chunk;
    while (reader->Read(&chunk)) {
      if (bytes != nullptr) *bytes += chunk.data();
    }
    return reader->Finish().error_code();
  }
  int ListedCount(const std::string& user) {
    v1::ListArtifactsResponse response;
    const Context context = As(user);
    EXPECT_TRUE(stub_->ListArtifacts(context.get(), {}, &response).ok());
    return response.artifacts_size();
  }
  v1::GetUploadResponse Upload(const std::string& user,
                               const std::string& name) {
    v1::GetUploadResponse found;
    EXPECT_EQ(Call<v1::GetUploadRequest>(user, name, &Stub::GetUpload, &found),
              grpc::OK);
    return found;
  }
  // What each RPC answers about one artifact.
  std::vector<grpc::StatusCode> AskAll(const std::string& user,
                                       const std::string& name) {
    return {Call<v1::GetArtifactRequest, v1::GetArtifactResponse>(
                user, name, &Stub::GetArtifact),
            Read(user, name),
            Call<v1::UpdateArtifactRequest, v1::UpdateArtifactResponse>(
                user, name, &Stub::UpdateArtifact),
            Call<v1::DeleteArtifactRequest, v1::DeleteArtifactResponse>(
                user, name, &Stub::DeleteArtifact)};
  }

  void EndStreamsOf(const std::string& user) {
    streams_.EndOf(tokens_.Authenticate(secrets_[user])->token,
                   absl::UnauthenticatedError("revoked"));
  }

  TempFolder dir_;
  std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = dir_.path()});
  TokenStore tokens_{*database_, Clock::Real()};
  UserStore users_{*database_};
  ArtifactIndex index_{*database_};
  std::unique_ptr<ArtifactStore> store_ =
      *ArtifactStore::Create(dir_.path(), index_, Clock::Real());
  std::unique_ptr<ArtifactUploads> uploads_ =
      *ArtifactUploads::Create(dir_.path(), *store_, index_);
  OpenCalls streams_;
  std::map<std::string, std::string> secrets_;
  std::unique_ptr<grpc::Service> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Stub> stub_;
};

TEST_F(ArtifactsServiceTest, WhatIsUploadedIsReadBack) {
  const std::string bytes(3 << 20, 'x');
  const grpc::Status written = Write("ada", bytes, 0, 1 << 20);
  ASSERT_TRUE(written.ok()) << written.error_message();
  std::string read;
  EXPECT_EQ(Read("ada", NameOf(bytes), &read), grpc::OK);
  EXPECT_EQ(read, bytes);
  EXPECT_TRUE(Upload("ada", NameOf(bytes)).complete());
  EXPECT_EQ(ListedCount("ada"), 1);
}

TEST_F(ArtifactsServiceTest, ForOthersItDoesNotExist) {
  ASSERT_TRUE(Write("ada", kBytes).ok());
  EXPECT_EQ(AskAll("bob", NameOf(kBytes)),
            std::vector<grpc::StatusCode>(4, grpc::StatusCode::NOT_FOUND));
  EXPECT_EQ(AskAll("bob", NameOf(kBytes)), AskAll("bob", NameOf("no such")));
  EXPECT_EQ(ListedCount("bob"), 0);
  EXPECT_FALSE(Upload("bob", NameOf(kBytes)).complete());
  EXPECT_EQ(ListedCount("root"), 1);
  EXPECT_EQ(Read("root", NameOf(kBytes)), grpc::OK);
}

TEST_F(ArtifactsServiceTest, NobodyGetsInWithoutAToken) {
  ASSERT_TRUE(Write("ada", kBytes).ok());
  EXPECT_EQ(
      AskAll("nobody", NameOf(kBytes)),
      std::vector<grpc::StatusCode>(4, grpc::StatusCode::UNAUTHENTICATED));
  EXPECT_EQ(Write("nobody", kBytes).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(ArtifactsServiceTest, AnOwnerSharesPinsAndDeletes) {
  ASSERT_TRUE(Write("ada", kBytes).ok());
  v1::UpdateArtifactRequest request;
  request.set_name(NameOf(kBytes));
  request.set_visibility(v1::VISIBILITY_LAB);
  request.set_pinned(true);
  v1::UpdateArtifactResponse response;
  ASSERT_TRUE(stub_->UpdateArtifact(As("ada").get(), request, &response).ok());
  EXPECT_TRUE(response.artifact().pinned());
  v1::GetArtifactResponse seen;
  EXPECT_EQ(Call<v1::GetArtifactRequest>("bob", NameOf(kBytes),
                                         &Stub::GetArtifact, &seen),
            grpc::OK);
  EXPECT_EQ(seen.artifact().visibility(), v1::VISIBILITY_LAB);
  EXPECT_FALSE(seen.artifact().owned());
  EXPECT_EQ(
      stub_->UpdateArtifact(As("bob").get(), request, &response).error_code(),
      grpc::StatusCode::PERMISSION_DENIED);
  const auto remove = [&](const std::string& user) {
    return Call<v1::DeleteArtifactRequest, v1::DeleteArtifactResponse>(
        user, NameOf(kBytes), &Stub::DeleteArtifact);
  };
  EXPECT_EQ(remove("bob"), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(remove("ada"), grpc::OK);
  EXPECT_EQ(Read("root", NameOf(kBytes)), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ArtifactsServiceTest, ACancelledUploadGoesOnWhereItEnded) {
  {
    v1::WriteArtifactResponse response;
    const Context context = As("ada");
    const auto writer = stub_->WriteArtifact(context.get(), &response);
    v1::WriteArtifactRequest request;
    request.set_name(NameOf(kBytes));
    request.set_size_bytes(10);
    request.set_data("0123");
    ASSERT_TRUE(writer->Write(request));
    while (Upload("ada", NameOf(kBytes)).received_bytes() < 4) {
    }
    // Nobody else's call goes on with it meanwhile.
    EXPECT_EQ(Write("ada", kBytes, 4).error_code(), grpc::StatusCode::ABORTED);
    context->TryCancel();
    EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_EQ(Read("ada", NameOf(kBytes)), grpc::StatusCode::NOT_FOUND);
  // The server hears of the cancellation in its own time.
  grpc::Status rest;
  do {
    rest = Write("ada", kBytes, 4);
  } while (rest.error_code() == grpc::StatusCode::ABORTED);
  EXPECT_TRUE(rest.ok()) << rest.error_message();
  EXPECT_EQ(Read("ada", NameOf(kBytes)), grpc::OK);
}

TEST_F(ArtifactsServiceTest, AnUploadThatEndsEarlyFreesItsClaim) {
  v1::WriteArtifactResponse response;
  const Context context = As("ada");
  const auto writer = stub_->WriteArtifact(context.get(), &response);
  v1::WriteArtifactRequest request;
  request.set_name(NameOf(kBytes));
  request.set_size_bytes(10);
  request.set_data("0123");
  ASSERT_TRUE(writer->Write(request));
  writer->WritesDone();
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const grpc::Status rest = Write("ada", kBytes, 4);
  EXPECT_TRUE(rest.ok()) << rest.error_message();
}

TEST_F(ArtifactsServiceTest, AReadEndsWithItsToken) {
  const std::string bytes(32 << 20, 'x');
  ASSERT_TRUE(Write("ada", bytes, 0, 2 << 20).ok());
  v1::ReadArtifactRequest request;
  request.set_name(NameOf(bytes));
  const Context context = As("ada");
  const auto reader = stub_->ReadArtifact(context.get(), request);
  v1::ReadArtifactResponse chunk;
  ASSERT_TRUE(reader->Read(&chunk));
  EndStreamsOf("bob");
  ASSERT_TRUE(reader->Read(&chunk));
  EndStreamsOf("ada");
  size_t size = 0;
  while (reader->Read(&chunk)) size += chunk.data().size();
  EXPECT_LT(size, bytes.size() / 2);
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(ArtifactsServiceTest, AnUploadEndsWithItsTokenAndGoesOnWithAnother) {
  v1::WriteArtifactResponse response;
  const Context context = As("ada");
  const auto writer = stub_->WriteArtifact(context.get(), &response);
  v1::WriteArtifactRequest request;
  request.set_name(NameOf(kBytes));
  request.set_size_bytes(10);
  request.set_data("0123");
  ASSERT_TRUE(writer->Write(request));
  while (Upload("ada", NameOf(kBytes)).received_bytes() < 4) {
  }
  EndStreamsOf("bob");
  EndStreamsOf("ada");
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Read("ada", NameOf(kBytes)), grpc::StatusCode::NOT_FOUND);
  const grpc::Status rest = Write("ada", kBytes, 4);
  EXPECT_TRUE(rest.ok()) << rest.error_message();
}

TEST_F(ArtifactsServiceTest, RefusesAnUploadWithoutAMessageOrWithTwoNames) {
  v1::WriteArtifactResponse response;
  Context context = As("ada");
  auto writer = stub_->WriteArtifact(context.get(), &response);
  writer->WritesDone();
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  context = As("ada");
  writer = stub_->WriteArtifact(context.get(), &response);
  v1::WriteArtifactRequest request;
  request.set_name(NameOf(kBytes));
  request.set_size_bytes(10);
  ASSERT_TRUE(writer->Write(request));
  request.set_name(NameOf("other"));
  writer->Write(request);
  writer->WritesDone();
  const grpc::Status refused = writer->Finish();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(refused.error_message(), HasSubstr("another artifact"));
}

TEST_F(ArtifactsServiceTest, AQuotaIsOfTheUserWhoUploads) {
  const std::string large(kQuota + 1, 'x');
  EXPECT_EQ(Write("poor", large, 0, 512).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Write("ada", large, 0, 512).ok());
  EXPECT_EQ(ListedCount("poor"), 0);
}

}  // namespace
}  // namespace dissonance
