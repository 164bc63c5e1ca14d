// A client of the forwarded services, which pass its calls to a scripted
// worker.
#ifndef DISSONANCE_TESTS_SERVER_CONTROL_FORWARDING_FIXTURE_H_
#define DISSONANCE_TESTS_SERVER_CONTROL_FORWARDING_FIXTURE_H_

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "grpcpp/server_builder.h"
#include "server/control/forwarding.h"
#include "tests/server/control/own_channel.h"
#include "tests/server/control/scripted_worker.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {

using Reader = grpc::ClientReader<v1::GenerateResponse>;

inline constexpr int kMaxMessageBytes = ScriptedWorker::kMaxMessageBytes;

// Message i of about `bytes` bytes, all of which depend on i.
inline v1::GenerateResponse Message(int64_t i, int64_t bytes) {
  v1::GenerateResponse message;
  message.set_input_index(static_cast<int>(i));
  std::string& text = *message.mutable_delta()->mutable_text();
  text.reserve(bytes);
  for (int64_t k = 0; k < bytes; ++k) {
    text.push_back(static_cast<char>('a' + (i + k) % 23));
  }
  return message;
}

inline std::function<std::string(int64_t)> MessagesOf(int64_t bytes) {
  return [bytes](int64_t i) { return Message(i, bytes).SerializeAsString(); };
}

// With a token of the fixture that was made last.
class Context : public grpc::ClientContext {
 public:
  Context() { AddMetadata("authorization", "Bearer " + secret); }

  inline static std::string secret;
};

class ForwardingTest : public ::testing::Test {
 protected:
  ForwardingTest() {
    EXPECT_TRUE(users_.Create("ada", v1::Quota(), absl::Now()).ok());
    const auto token = tokens_.Create({.user = "ada"});
    token_ = token->token.name();
    Context::secret = token->secret;
    AddModel("models/x", "users/ada");
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
    builder.SetMaxSendMessageSize(kMaxMessageBytes);
    builder.RegisterService(inference_.get());
    builder.RegisterService(interpretability_.get());
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
    route_.Set(0, worker_.connection());
  }
  ~ForwardingTest() override {
    server_->Shutdown(std::chrono::system_clock::now());
  }

  // Over a connection of its own.
  std::shared_ptr<grpc::Channel> Connect() const {
    return OpenOwnChannel(address_, kMaxMessageBytes);
  }
  std::unique_ptr<v1::Inference::Stub> NewInference() const {
    return v1::Inference::NewStub(Connect());
  }

  void AddModel(const std::string& name, const std::string& owner,
                v1::Visibility visibility = v1::VISIBILITY_PRIVATE) {
    StoredModel stored;
    stored.model.set_name(name);
    stored.model.set_owner(owner);
    stored.model.set_visibility(visibility);
    EXPECT_TRUE(models_.PutModel(stored).ok());
  }

  ScriptedWorker worker_;
  WorkerRoute route_;
  const TempFolder folder_;
  const std::unique_ptr<Database> database_ =
      *Database::Open({.data_dir = folder_.path()});
  UserStore users_{*database_};
  TokenStore tokens_{*database_, Clock::Real()};
  ModelStore models_{*database_};
  const ModelAccess access_{models_};
  ArtifactIndex index_{*database_};
  const std::unique_ptr<ArtifactStore> artifacts_ =
      *ArtifactStore::Create(folder_.path(), index_, Clock::Real());
  DirectionStore direction_store_{*database_};
  DirectionCatalog directions_{direction_store_, *artifacts_, Clock::Real()};
  const DirectionResolver resolver_{directions_, models_, kMaxMessageBytes};
  const std::unique_ptr<UsageLedger> ledger_ =
      *UsageLedger::Load(users_, Clock::Real(), absl::Hours(1));
  QuotaConfig quota_config_ = {.device_seconds_per_week = 1e6};
  const Quotas quotas_{users_, quota_config_};
  OpenCalls streams_;
  const ForwardingParts parts_ = {.route = route_,
                                  .access = access_,
                                  .directions = resolver_,
                                  .tokens = tokens_,
                                  .ledger = *ledger_,
                                  .quotas = quotas_,
                                  .streams = streams_};
  std::string token_;
  const std::unique_ptr<grpc::Service> inference_ =
      MakeForwardedInference(parts_);
  const std::unique_ptr<grpc::Service> interpretability_ =
      MakeForwardedInterpretability(parts_);
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

// How many messages come, each checked to be Message(i, bytes), until the
// stream's end or `limit`.
inline int64_t ReadMessages(Reader& reader, int64_t bytes, int64_t limit) {
  v1::GenerateResponse message;
  int64_t count = 0;
  while (count < limit && reader.Read(&message)) {
    if (message.SerializeAsString() !=
        Message(count, bytes).SerializeAsString()) {
      ADD_FAILURE() << "message " << count << " is another one";
      break;
    }
    ++count;
  }
  return count;
}

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_CONTROL_FORWARDING_FIXTURE_H_
