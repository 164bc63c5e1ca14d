#include "tests/server/dashboard_fixture.h"

#include "absl/strings/str_cat.h"
#include "dissonance/v1/admin.grpc.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"

namespace dissonance {

std::string JobPath(const std::string& job, const char* rest) {
  return absl::StrCat("/api/jobs/", job.substr(job.rfind('/') + 1), rest);
}

void DashboardFixture::SetUpTestSuite() {
  folder_ = new TempFolder;
  server_ = new ServerProcess({.data_dir = folder_->path(),
                               .config = "http_listen = \"127.0.0.1:0\"\n"});
  ASSERT_TRUE(server_->AwaitServing());
  ASSERT_TRUE(LoadTinyWorld(*server_).ok());
  port_ = HttpPortOf(*server_);
  const Client owner = Client::Owner(*server_);
  v1::UpdateModelRequest model;
  model.set_name(kTinyModel);
  model.set_visibility(v1::VISIBILITY_LAB);
  ASSERT_TRUE(owner.Call(&v1::Models::Stub::UpdateModel, model).ok());
  v1::UpdateAdapterRequest adapter;
  adapter.set_name(kTinyAdapter);
  adapter.set_visibility(v1::VISIBILITY_LAB);
  ASSERT_TRUE(owner.Call(&v1::Models::Stub::UpdateAdapter, adapter).ok());
  for (const char* user : {"ada", "bob"}) {
    auto client = Client::AddUser(*server_, user);
    ASSERT_TRUE(client.ok()) << client.status();
    clients_.push_back(*std::move(client));
  }
}

void DashboardFixture::TearDownTestSuite() {
  clients_.clear();
  OpenAiFixture::TearDownTestSuite();
}

void DashboardFixture::SetUp() {
  const auto drained =
      Client::Owner(*server_).Call(&v1::Admin::Stub::Drain, v1::DrainRequest());
  ASSERT_TRUE(drained.ok()) << drained.status();
}

void DashboardFixture::Resume() {
  const auto resumed = Client::Owner(*server_).Call(&v1::Admin::Stub::Resume,
                                                    v1::ResumeRequest());
  ASSERT_TRUE(resumed.ok()) << resumed.status();
}

std::string DashboardFixture::CreateJobOf(const Client& client) {
  v1::CreateJobRequest request;
  *request.mutable_spec() = TinyWorldJob(2);
  const auto created = client.Call(&v1::Jobs::Stub::CreateJob, request);
  EXPECT_TRUE(created.ok()) << created.status();
  return created.ok() ? created->job().name() : "";
}

DashboardFixture::json DashboardFixture::Overview(const Client& client) {
  const HttpReply reply = Get(kOverviewPath, client.secret());
  EXPECT_EQ(reply.code, 200) << reply.body;
  return json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
}

std::string DashboardFixture::StateOf(const HttpReply& reply) {
  EXPECT_EQ(reply.code, 200) << reply.body;
  return json::parse(reply.body, nullptr, false).value("state", "");
}

std::string DashboardFixture::CodeOf(const HttpReply& reply) {
  return json::parse(reply.body, nullptr, false)
      .value(json::json_pointer("/error/code"), "");
}

std::unique_ptr<HttpConnection> DashboardFixture::Open(
    const std::string& path, const std::string& token,
    const std::string& headers) {
  auto connection = std::make_unique<HttpConnection>(port_);
  connection->Send(absl::StrCat("GET ", path,
                                " HTTP/1.1\r\nHost: localhost\r\n", headers,
                                "Authorization: Bearer ", token, "\r\n\r\n"));
  return connection;
}

HttpReply DashboardFixture::PostWith(const std::string& path,
                                     const std::string& headers,
                                     const std::string& token) {
  return ParseReply(HttpAnswer(
      port_, absl::StrCat("POST ", path,
                          " HTTP/1.1\r\nHost: lab:1\r\nConnection: close\r\n",
                          headers, "Authorization: Bearer ", token,
                          "\r\nContent-Length: 2\r\n\r\n{}")));
}

}  // namespace dissonance
