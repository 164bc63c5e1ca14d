// Several users of one server: what they share, what ends with a token, what a
// quota keeps them from, and what is written down of it. With real processes.
#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "src/base/file.h"
#include "src/base/sha256.h"
#include "tests/server/server_fixture.h"
#include "tests/server/users_fixture.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

namespace fs = std::filesystem;

using ::google::protobuf::util::TimeUtil;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint64_t kFileLimitBytes = 256 << 20;

class ServerUsersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(server_->AwaitServing());
    for (const char* user : {"ada", "bob"}) {
      auto client = Client::AddUser(*server_, user);
      ASSERT_TRUE(client.ok()) << client.status();
      clients_.push_back(*std::move(client));
    }
  }
  Client owner() { return Client::Owner(*server_); }
  const Client& ada() { return clients_[0]; }
  const Client& bob() { return clients_[1]; }

  // The tiny world's model and adapter, ada's.
  void LoadAdas() {
    v1::LoadModelRequest load;
    load.set_name(kTinyModel);
    load.set_path(InTree("data/tiny_world/base"));
    const auto model = ada().Call(&v1::Models::Stub::LoadModel, load);
    ASSERT_TRUE(model.ok()) << model.status();
    v1::RegisterAdapterRequest add;
    add.set_name(kTinyAdapter);
    add.set_path(InTree("data/tiny_world/lora_cubic"));
    const auto adapter = ada().Call(&v1::Models::Stub::RegisterAdapter, add);
    ASSERT_TRUE(adapter.ok()) << adapter.status();
  }
  absl::Status Share(v1::Visibility visibility) {
    v1::UpdateModelRequest model;
    model.set_name(kTinyModel);
    model.set_visibility(visibility);
    const auto status =
        ada().Call(&v1::Models::Stub::UpdateModel, model).status();
    if (!status.ok()) return status;
    v1::UpdateAdapterRequest adapter;
    adapter.set_name(kTinyAdapter);
    adapter.set_visibility(visibility);
    return ada().Call(&v1::Models::Stub::UpdateAdapter, adapter).status();
  }
  static absl::StatusOr<v1::Job> Create(const Client& client) {
    v1::CreateJobRequest request;
    *request.mutable_spec() = TinyWorldJob(2);
    auto response = client.Call(&v1::Jobs::Stub::CreateJob, request);
    if (!response.ok()) return response.status();
    return response->job();
  }
  void Drain() {
    const auto drained =
        owner().Call(&v1::Admin::Stub::Drain, v1::DrainRequest());
    ASSERT_TRUE(drained.ok()) << drained.status();
  }
  void Resume() {
    const auto resumed =
        owner().Call(&v1::Admin::Stub::Resume, v1::ResumeRequest());
    ASSERT_TRUE(resumed.ok()) << resumed.status();
  }
  // A token of ada's that is about to be revoked.
  Client Doomed() {
    auto client = ada().NewToken(v1::SCOPE_RUN);
    EXPECT_TRUE(client.ok()) << client.status();
    return *client;
  }

  const TempFolder folder_;
  std::unique_ptr<ServerProcess> server_ =
      std::make_unique<ServerProcess>(ServerProcess::Options{
          .data_dir = folder_.path(), .config = "log_level = \"debug\"\n"});
  std::vector<Client> clients_;
};

// Reads a stream: begins it, ends it from outside, and says how it ended.
template <typename Reader, typename Message>
absl::Status EndAfterFirst(Reader& reader, Message message,
                           const std::function<void()>& end) {
  if (!reader.Read(&message)) return ToAbsl(reader.Finish());
  end();
  while (reader.Read(&message)) {
  }
  return ToAbsl(reader.Finish());
}

TEST_F(ServerUsersTest, StreamsEndWithTheirToken) {
  LoadAdas();
  Drain();
  const auto job = Create(ada());
  ASSERT_TRUE(job.ok()) << job.status();
  const std::string large(64 << 20, 'x');
  const auto artifact = ada().Write(large);
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  const Client doomed = Doomed();
  const auto revoke = [&] { EXPECT_TRUE(ada().Revoke(doomed.token()).ok()); };

  v1::Jobs::Stub jobs(server_->channel());
  v1::WatchJobRequest watch;
  watch.set_name(job->name());
  const auto watching = doomed.NewContext();
  const auto events = jobs.WatchJob(watching.get(), watch);
  v1::WatchJobResponse event;
  ASSERT_TRUE(events->Read(&event));

  v1::Inference::Stub inference(server_->channel());
  v1::GenerateRequest generate;
  generate.add_variants()->set_model(kTinyModel);
  generate.add_inputs()->mutable_tokens()->add_ids(1);
  generate.mutable_options()->set_max_new_token_count(100);
  generate.mutable_options()->set_ignore_eos(true);
  generate.set_sample_count(2000);
  const auto generating = doomed.NewContext();
  const auto tokens = inference.Generate(generating.get(), generate);
  v1::GenerateResponse token;
  ASSERT_TRUE(tokens->Read(&token)) << tokens->Finish().error_message();

  v1::Artifacts::Stub artifacts(server_->channel());
  v1::WriteArtifactResponse written;
  const auto writing = doomed.NewContext();
  const auto writer = artifacts.WriteArtifact(writing.get(), &written);
  v1::WriteArtifactRequest piece;
  piece.set_name(absl::StrCat("artifacts/", Sha256Of("0123456789")));
  piece.set_size_bytes(10);
  piece.set_data("0123");
  ASSERT_TRUE(writer->Write(piece));
  v1::GetUploadRequest upload;
  upload.set_name(piece.name());
  while (ada()
             .Call(&v1::Artifacts::Stub::GetUpload, upload)
             .value_or(v1::GetUploadResponse())
             .received_bytes() < 4) {
  }

  v1::ReadArtifactRequest read;
  read.set_name(*artifact);
  const auto reading = doomed.NewContext();
  const auto chunks = artifacts.ReadArtifact(reading.get(), read);
  EXPECT_TRUE(absl::IsUnauthenticated(
      EndAfterFirst(*chunks, v1::ReadArtifactResponse(), revoke)));
  EXPECT_TRUE(absl::IsUnauthenticated(ToAbsl(writer->Finish())));
  EXPECT_TRUE(absl::IsUnauthenticated(
      EndAfterFirst(*tokens, v1::GenerateResponse(), [] {})));
  EXPECT_TRUE(absl::IsUnauthenticated(
      EndAfterFirst(*events, v1::WatchJobResponse(), [] {})));
}

TEST_F(ServerUsersTest, AStreamEndsWhenItsTokenExpires) {
  LoadAdas();
  Drain();
  const auto job = Create(ada());
  ASSERT_TRUE(job.ok()) << job.status();
  v1::CreateTokenRequest brief;
  *brief.mutable_lifetime() = TimeUtil::SecondsToDuration(2);
  const auto client = ada().NewToken(brief);
  ASSERT_TRUE(client.ok()) << client.status();
  v1::Jobs::Stub jobs(server_->channel());
  v1::WatchJobRequest watch;
  watch.set_name(job->name());
  const auto context = client->NewContext();
  const auto events = jobs.WatchJob(context.get(), watch);
  const absl::Status ended =
      EndAfterFirst(*events, v1::WatchJobResponse(), [] {});
  EXPECT_TRUE(absl::IsUnauthenticated(ended)) << ended;
  EXPECT_THAT(ended.message(), HasSubstr("expired"));
}

TEST_F(ServerUsersTest, WhatIsSharedIsUsedButNotChangedByOthers) {
  LoadAdas();
  const auto artifact = ada().Write("shared bytes");
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  const auto seen = [&] {
    return std::vector<bool>{
        bob().CallOf(&v1::Models::Stub::GetModel, kTinyModel).ok(),
        bob().CallOf(&v1::Models::Stub::GetAdapter, kTinyAdapter).ok(),
        bob().CallOf(&v1::Artifacts::Stub::GetArtifact, *artifact).ok(),
        Create(bob()).ok()};
  };
  const auto share = [&](v1::Visibility visibility) {
    const absl::Status models = Share(visibility);
    EXPECT_TRUE(models.ok()) << models;
    v1::UpdateArtifactRequest update;
    update.set_name(*artifact);
    update.set_visibility(visibility);
    EXPECT_TRUE(ada().Call(&v1::Artifacts::Stub::UpdateArtifact, update).ok());
  };
  EXPECT_EQ(seen(), std::vector<bool>(4, false));
  share(v1::VISIBILITY_LAB);
  EXPECT_EQ(seen(), std::vector<bool>(4, true));
  const auto job = Create(bob());
  ASSERT_TRUE(job.ok()) << job.status();
  const auto ended = AwaitJob(*server_, job->name());
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
  v1::UpdateModelRequest take;
  take.set_name(kTinyModel);
  take.set_visibility(v1::VISIBILITY_PRIVATE);
  for (const absl::Status& refused :
       {bob().Call(&v1::Models::Stub::UpdateModel, take).status(),
        bob().CallOf(&v1::Models::Stub::UnloadModel, kTinyModel).status(),
        bob().CallOf(&v1::Models::Stub::UnloadAdapter, kTinyAdapter).status(),
        bob().CallOf(&v1::Models::Stub::DeleteAdapter, kTinyAdapter).status(),
        bob()
            .CallOf(&v1::Artifacts::Stub::DeleteArtifact, *artifact)
            .status()}) {
    EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
  }
  Drain();
  const auto queued = Create(bob());
  ASSERT_TRUE(queued.ok()) << queued.status();
  ASSERT_TRUE(bob().CallOf(&v1::Jobs::Stub::CancelJob, queued->name()).ok());
  const auto paused = Create(bob());
  ASSERT_TRUE(paused.ok()) << paused.status();
  ASSERT_TRUE(bob().CallOf(&v1::Jobs::Stub::PauseJob, paused->name()).ok());
  share(v1::VISIBILITY_PRIVATE);
  EXPECT_EQ(seen(), std::vector<bool>(4, false));
  // No way in by what was made before either.
  EXPECT_TRUE(absl::IsNotFound(
      bob().CallOf(&v1::Jobs::Stub::RetryJob, queued->name()).status()));
  EXPECT_TRUE(absl::IsNotFound(
      bob().CallOf(&v1::Jobs::Stub::ResumeJob, paused->name()).status()));
  EXPECT_TRUE(absl::IsNotFound(
      bob().CallOf(&v1::Jobs::Stub::ReplayJob, job->name()).status()));
  // An administrator sees all.
  for (const std::string& name : {job->name(), queued->name()}) {
    EXPECT_TRUE(owner().CallOf(&v1::Jobs::Stub::GetJob, name).ok());
    EXPECT_TRUE(
        absl::IsNotFound(ada().CallOf(&v1::Jobs::Stub::GetJob, name).status()));
  }
  EXPECT_TRUE(
      owner().CallOf(&v1::Artifacts::Stub::GetArtifact, *artifact).ok());
}

TEST_F(ServerUsersTest, ARateIsOfOneToken) {
  v1::CreateTokenRequest request;
  request.set_user("users/ada");
  request.set_calls_per_second(0.1);  // one at once, by the burst of 10 s
  const auto slow = owner().NewToken(request);
  ASSERT_TRUE(slow.ok()) << slow.status();
  const auto ask = [](const Client& client) {
    return client.Call(&v1::Admin::Stub::ServerInfo, v1::ServerInfoRequest())
        .status();
  };
  EXPECT_TRUE(ask(*slow).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(ask(*slow)));
  EXPECT_TRUE(ask(ada()).ok());
}

TEST_F(ServerUsersTest, QuotasAreHeld) {
  LoadAdas();
  ASSERT_TRUE(Share(v1::VISIBILITY_LAB).ok());
  v1::Quota quota;
  quota.set_queued_job_count(2);
  quota.set_artifact_bytes(1000);
  quota.set_device_seconds_per_week(1e-6);
  const auto eve = Client::AddUser(*server_, "eve", quota);
  ASSERT_TRUE(eve.ok()) << eve.status();
  Drain();
  EXPECT_TRUE(Create(*eve).ok());
  EXPECT_TRUE(Create(*eve).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(Create(*eve).status()));
  EXPECT_TRUE(Create(bob()).ok());
  EXPECT_TRUE(
      absl::IsResourceExhausted(eve->Write(std::string(1001, 'x')).status()));
  EXPECT_TRUE(eve->Write("few").ok());
  v1::TokenizeRequest request;
  request.set_model(kTinyModel);
  request.set_text("a");
  EXPECT_TRUE(eve->Call(&v1::Inference::Stub::Tokenize, request).ok());
  // A call is charged a moment after its answer.
  absl::Status refused;
  while (refused.ok()) {
    refused = eve->Call(&v1::Inference::Stub::Tokenize, request).status();
  }
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_TRUE(bob().Call(&v1::Inference::Stub::Tokenize, request).ok());
}

TEST_F(ServerUsersTest, DrainKeepsJobsQueuedOverARestartUntilResume) {
  LoadAdas();
  Drain();
  const auto job = Create(ada());
  ASSERT_TRUE(job.ok()) << job.status();
  ASSERT_EQ(server_->Stop(), 0);
  server_ = std::make_unique<ServerProcess>(
      ServerProcess::Options{.data_dir = folder_.path()});
  ASSERT_TRUE(server_->AwaitServing());
  EXPECT_EQ(server_->Info().maintenance(), "maintenance");
  EXPECT_EQ(GetJob(*server_, job->name())->state(), v1::JOB_STATE_QUEUED);
  Resume();
  const auto ended = AwaitJob(*server_, job->name());
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->reason();
}

TEST_F(ServerUsersTest, ChangesAndRefusalsAreAuditedAndNoSecretIsKept) {
  const std::string job = "jobs/01JAAAAAAAAAAAAAAAAAAAAAAA";
  v1::Jobs::Stub jobs(server_->channel());
  const auto context = ada().NewContext();
  context->AddMetadata("x-request-id", "request-of-ada");
  v1::CancelJobRequest cancel;
  cancel.set_name(job);
  v1::CancelJobResponse cancelled;
  EXPECT_EQ(jobs.CancelJob(context.get(), cancel, &cancelled).error_code(),
            grpc::NOT_FOUND);
  EXPECT_EQ(context->GetServerInitialMetadata().count("x-request-id") +
                context->GetServerTrailingMetadata().count("x-request-id"),
            1U);
  const auto artifact = ada().Write("audited");
  ASSERT_TRUE(artifact.ok());
  v1::RotateTokenRequest rotate;
  *rotate.mutable_overlap() = TimeUtil::HoursToDuration(1);
  const auto rotated = ada().Call(&v1::Admin::Stub::RotateToken, rotate);
  ASSERT_TRUE(rotated.ok()) << rotated.status();
  const Client next(*server_, rotated->secret(), rotated->token().name());
  for (const Client* client : {&ada(), &next}) {  // both, in the overlap
    EXPECT_TRUE(
        client->Call(&v1::Admin::Stub::ServerInfo, v1::ServerInfoRequest())
            .ok());
  }
  // A secret where a name belongs.
  EXPECT_FALSE(next.Revoke(next.secret()).ok());

  v1::ListAuditEventsRequest list;
  list.set_user("users/ada");
  const auto audit = owner().Call(&v1::Admin::Stub::ListAuditEvents, list);
  ASSERT_TRUE(audit.ok()) << audit.status();
  ASSERT_EQ(audit->events_size(), 4) << audit->DebugString();
  const auto expect = [&](int at, const std::string& method,
                          const std::string& resource,
                          const std::string& code) {
    const v1::AuditEvent& event = audit->events(at);
    EXPECT_THAT(event.method(), HasSubstr(method));
    EXPECT_EQ(event.resource(), resource);
    EXPECT_EQ(event.code(), code);
    EXPECT_FALSE(event.request_id().empty() || event.token().empty());
  };
  EXPECT_NE(audit->events(0).code(), "OK");
  expect(1, "RotateToken", rotated->token().name(), "OK");
  expect(2, "WriteArtifact", *artifact, "OK");
  expect(3, "CancelJob", job, "NOT_FOUND");
  EXPECT_EQ(audit->events(3).request_id(), "request-of-ada");
  EXPECT_EQ(server_->Stop(), 0);
  EXPECT_THAT(server_->Log(), HasSubstr("request-of-ada"));

  std::vector<std::string> secrets = {ada().secret(), bob().secret(),
                                      next.secret(), server_->OwnerToken()};
  for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
    if (!entry.is_regular_file() || entry.path().filename() == "owner.token") {
      continue;
    }
    const std::string bytes =
        ReadFile(entry.path().string(), kFileLimitBytes).value_or("");
    for (const std::string& secret : secrets) {
      EXPECT_FALSE(absl::StrContains(bytes, secret)) << entry.path();
    }
  }
}

}  // namespace
}  // namespace dissonance
