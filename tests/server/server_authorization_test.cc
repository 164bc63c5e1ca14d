// No RPC is called without right: every method that the server's reflection
// names, with no token, with wrong ones, with one of too low a scope, and about
// objects of another user.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "dissonance/v1/authorization.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "dissonance/v1/models.grpc.pb.h"
#include "dissonance/v1/probes.grpc.pb.h"
#include "src/base/status_macros.h"
#include "tests/server/reflected_api.h"
#include "tests/server/request_fields.h"
#include "tests/server/server_fixture.h"
#include "tests/server/text_fields.h"
#include "tests/server/users_fixture.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;
using ::google::protobuf::MethodDescriptor;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr char kPackage[] = "dissonance.v1.";

// Methods for all users that are about no object.
const std::set<std::string>& MethodsWithoutObjects() {
  static const auto& methods = *new std::set<std::string>{
      "Admin.ServerInfo",           // what is served, and who asks
      "Artifacts.ListArtifacts",    // lists what the caller sees
      "Directions.ListDirections",  // lists what the caller sees
      "Jobs.ListJobs",              // lists the caller's
      "Models.ListModels"};         // lists what the caller sees
  return methods;
}

// Fields about which another user hears something else than NOT_FOUND.
struct OtherAnswer {
  absl::StatusCode code;
  // Whether it is the same as for an object that does not exist.
  bool is_as_if_absent;
  std::string why;
};
const std::map<std::string, OtherAnswer>& OtherAnswers() {
  static const auto& answers = *new std::map<std::string, OtherAnswer>{
      {"Artifacts.GetUpload name",
       {absl::StatusCode::kOk, true, "it tells of the caller's uploads only"}},
      {"Artifacts.WriteArtifact name",
       {absl::StatusCode::kInvalidArgument, true,
        "whoever has the bytes may store them too; here they are missing"}},
      {"Directions.CreateDirection name",
       {absl::StatusCode::kAlreadyExists, false,
        "it makes the name, which must not be given twice"}},
      {"Jobs.CreateJob spec.fine_tune.output_adapter",
       {absl::StatusCode::kInvalidArgument, true,
        "it has to be of the model that is trained"}},
      {"Jobs.RunJob spec.fine_tune.output_adapter",
       {absl::StatusCode::kInvalidArgument, true,
        "it has to be of the model that is trained"}},
      {"Models.LoadModel name",
       {absl::StatusCode::kAlreadyExists, false,
        "it makes the name, which must not be given twice"}}};
  return answers;
}

std::string ShortName(const MethodDescriptor& method) {
  return absl::StrCat(method.service()->name(), ".", method.name());
}

// The fields of a request that name objects. Fails for a text field that is in
// neither list.
std::vector<FieldPath> ObjectsOf(const Descriptor& request) {
  std::vector<FieldPath> texts;
  FindTexts(request, {}, texts);
  std::erase_if(texts, [](const FieldPath& path) {
    const FieldDescriptor& field = *path.back();
    if (PlainFields().contains(field.full_name())) return true;
    if (ObjectFields().contains(field.name())) return false;
    EXPECT_TRUE(PlainFields().contains(field.name()))
        << field.full_name() << " is in no list of this test";
    return true;
  });
  return texts;
}

// A user's objects, by the fields that may name them.
struct Objects {
  std::string user = {}, model = {}, adapter = {};
  std::string artifact = {}, job = {}, token = {}, direction = {};

  std::vector<std::string> all() const {
    return {user, model, adapter, artifact, job, token, direction};
  }
  // What a field beside the one that is tried holds.
  std::string For(const std::string& field) const {
    if (field == "model") return model;
    if (field == "direction" || field == "names") return direction;
    if (absl::EndsWith(field, "adapter") || field == "name") return adapter;
    return absl::StrContains(field, "job") || field == "depends_on" ? job
                                                                    : artifact;
  }
};

const Objects& Absent() {
  static const auto& absent =
      *new Objects{.user = "users/eve",
                   .model = "models/of-eve",
                   .adapter = "models/of-eve/adapters/of-eve",
                   .artifact = "artifacts/sha256:" + std::string(64, '0'),
                   .job = "jobs/01JAAAAAAAAAAAAAAAAAAAAAAA",
                   .token = "tokens/" + std::string(64, '0'),
                   .direction = "directions/of-eve"};
  return absent;
}

class ServerAuthorizationTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    server_ = new ServerProcess({.data_dir = folder_->path()});
    if (!server_->AwaitServing()) return;
    auto ada = Client::AddUser(*server_, "ada");
    auto bob = Client::AddUser(*server_, "bob");
    ASSERT_TRUE(ada.ok() && bob.ok()) << ada.status() << bob.status();
    bob_ = new Client(*bob);
    auto reader = bob->NewToken(v1::SCOPE_READ);
    ASSERT_TRUE(reader.ok()) << reader.status();
    reader_ = new Client(*reader);
    auto api = ReflectedApi::Ask(server_->channel(), reader->secret());
    ASSERT_TRUE(api.ok()) << api.status();
    api_ = api->release();
    const auto adas = Make(*ada, "ada");
    const auto bobs = Make(*bob, "bob");
    ASSERT_TRUE(adas.ok() && bobs.ok()) << adas.status() << bobs.status();
    adas_ = new Objects(*adas);
    bobs_ = new Objects(*bobs);
  }
  static void TearDownTestSuite() {
    delete bobs_;
    delete adas_;
    delete api_;
    delete reader_;
    delete bob_;
    delete server_;
    delete folder_;
  }
  void SetUp() override { ASSERT_NE(bobs_, nullptr); }

  // One of each, all the user's alone.
  static absl::StatusOr<Objects> Make(const Client& client,
                                      const std::string& user);

  static std::vector<const MethodDescriptor*> Methods() {
    return api_->Methods(kPackage);
  }
  static v1::Authorization DeclaredBy(const MethodDescriptor& method) {
    return method.options().GetExtension(v1::authorization);
  }
  static absl::Status Call(const MethodDescriptor& method,
                           const std::vector<std::string>& authorization,
                           const std::string& request = "") {
    return ToAbsl(
        CallRaw(server_->channel(), PathOf(method), authorization, request));
  }
  // What bob hears who names `object` there, and his own elsewhere.
  static absl::Status Ask(const MethodDescriptor& method,
                          const std::vector<FieldPath>& fields,
                          const FieldPath& tried, const std::string& object) {
    const auto request = api_->NewRequest(method);
    for (const FieldPath& field : fields) {
      if (IsExcludedBy(field, tried)) continue;
      SetText(*request, field,
              field == tried ? object : bobs_->For(field.back()->name()));
    }
    return Call(method, {"Bearer " + bob_->secret()},
                request->SerializeAsString());
  }
  static void TryField(const MethodDescriptor& method,
                       const std::vector<FieldPath>& fields,
                       const FieldPath& tried);

  static TempFolder* folder_;
  static ServerProcess* server_;
  static ReflectedApi* api_;
  static Client* bob_;
  static Client* reader_;  // bob's too, of scope read
  static Objects* adas_;
  static Objects* bobs_;
};

TempFolder* ServerAuthorizationTest::folder_ = nullptr;
ServerProcess* ServerAuthorizationTest::server_ = nullptr;
ReflectedApi* ServerAuthorizationTest::api_ = nullptr;
Client* ServerAuthorizationTest::bob_ = nullptr;
Client* ServerAuthorizationTest::reader_ = nullptr;
Objects* ServerAuthorizationTest::adas_ = nullptr;
Objects* ServerAuthorizationTest::bobs_ = nullptr;

absl::StatusOr<Objects> ServerAuthorizationTest::Make(const Client& client,
                                                      const std::string& user) {
  Objects objects = {.user = "users/" + user,
                     .model = "models/of-" + user,
                     .token = client.token()};
  objects.adapter = objects.model + "/adapters/of-" + user;
  v1::LoadModelRequest load;
  load.set_name(objects.model);
  load.set_path(InTree("data/tiny_world/base"));
  ASSIGN_OR_RETURN(const v1::LoadModelResponse loaded,
                   client.Call(&v1::Models::Stub::LoadModel, load));
  v1::RegisterAdapterRequest add;
  add.set_name(objects.adapter);
  add.set_path(InTree("data/tiny_world/lora_cubic"));
  RETURN_IF_ERROR(
      client.Call(&v1::Models::Stub::RegisterAdapter, add).status());
  objects.direction = "directions/of-" + user;
  v1::CreateDirectionRequest name;
  name.set_name(objects.direction);
  name.mutable_given()->set_model(objects.model);
  v1::DirectionVector& vector = *name.mutable_given()->add_vectors();
  vector.mutable_place()->set_site(v1::SITE_RESID_POST);
  vector.mutable_place()->set_block(0);
  const std::vector<float> numbers(loaded.model().d_model(), 1);
  vector.mutable_vector()->set_dtype(v1::DTYPE_FLOAT32);
  vector.mutable_vector()->add_shape(loaded.model().d_model());
  vector.mutable_vector()->set_data(numbers.data(),
                                    numbers.size() * sizeof(float));
  RETURN_IF_ERROR(
      client.Call(&v1::Directions::Stub::CreateDirection, name).status());
  v1::CreateJobRequest create;
  *create.mutable_spec() = TinyWorldJob(1);
  v1::EvaluateMcqSpec& mcq = *create.mutable_spec()->mutable_evaluate_mcq();
  // A line of its own: the bytes of nobody else's artifact.
  ASSIGN_OR_RETURN(
      objects.artifact,
      client.Write(absl::StrReplaceAll(mcq.data(), {{"}\n", " }\n"}}) +
                   std::string(user == "ada" ? 1 : 2, '\n')));
  for (v1::Variant& variant : *mcq.mutable_variants()) {
    variant.set_model(objects.model);
    if (!variant.adapter().empty()) variant.set_adapter(objects.adapter);
  }
  ASSIGN_OR_RETURN(const v1::CreateJobResponse created,
                   client.Call(&v1::Jobs::Stub::CreateJob, create));
  objects.job = created.job().name();
  RETURN_IF_ERROR(AwaitJob(client.server(), objects.job).status());
  return objects;
}

TEST_F(ServerAuthorizationTest, EveryMethodDeclaresWhoMayCallIt) {
  std::set<std::string> foreign;
  for (const std::string& service : api_->services()) {
    if (!absl::StartsWith(service, kPackage)) foreign.insert(service);
  }
  EXPECT_THAT(foreign,
              UnorderedElementsAre("grpc.health.v1.Health",
                                   "grpc.reflection.v1alpha.ServerReflection"));
  EXPECT_GT(Methods().size(), 40U);
  for (const MethodDescriptor* method : Methods()) {
    EXPECT_TRUE(method->options().HasExtension(v1::authorization) &&
                DeclaredBy(*method).scope() != v1::SCOPE_UNSPECIFIED)
        << ShortName(*method);
  }
}

TEST_F(ServerAuthorizationTest, NoMethodIsCalledWithoutAValidToken) {
  v1::CreateTokenRequest at_once;
  at_once.mutable_lifetime();  // of no time
  const auto expired = bob_->NewToken(at_once);
  const auto revoked = bob_->NewToken(v1::SCOPE_RUN);
  ASSERT_TRUE(expired.ok() && revoked.ok());
  ASSERT_TRUE(bob_->Revoke(revoked->token()).ok());
  const std::string valid = bob_->secret();
  const std::vector<std::vector<std::string>> refused = {
      {},
      {""},
      {"Bearer"},
      {"Bearer "},
      {valid},
      {"Basic " + valid},
      {"Bearer  " + valid},
      {"Bearer " + valid.substr(1)},
      {"Bearer " + bob_->token()},
      {"Bearer " + valid, "Bearer " + valid},
      {"Bearer " + valid + ",Bearer " + valid},
      {"Bearer dissonance_" + std::string(64, '0')},
      {"Bearer " + expired->secret()},
      {"Bearer " + revoked->secret()}};
  for (const MethodDescriptor* method : Methods()) {
    for (const std::vector<std::string>& authorization : refused) {
      const absl::Status status = Call(*method, authorization);
      EXPECT_TRUE(absl::IsUnauthenticated(status))
          << ShortName(*method) << " by "
          << ::testing::PrintToString(authorization) << ": " << status;
      EXPECT_FALSE(absl::StrContains(status.message(), valid)) << status;
    }
  }
}

TEST_F(ServerAuthorizationTest, AMethodNeedsTheScopeThatItDeclaresAndNoMore) {
  const std::string garbled = "\x07";  // no message at all
  for (const MethodDescriptor* method : Methods()) {
    const v1::Scope scope = DeclaredBy(*method).scope();
    const std::string enough = scope == v1::SCOPE_ADMIN ? server_->OwnerToken()
                               : scope == v1::SCOPE_RUN ? bob_->secret()
                                                        : reader_->secret();
    const absl::Status passed = Call(*method, {"Bearer " + enough}, garbled);
    EXPECT_FALSE(passed.ok() || absl::IsPermissionDenied(passed) ||
                 absl::IsUnauthenticated(passed))
        << ShortName(*method) << ": " << passed;
    if (scope == v1::SCOPE_READ) continue;
    for (const Client* less : {reader_, bob_}) {
      if (less == bob_ && scope == v1::SCOPE_RUN) continue;
      for (const std::string& request : {std::string(), garbled}) {
        const absl::Status status =
            Call(*method, {"Bearer " + less->secret()}, request);
        EXPECT_TRUE(absl::IsPermissionDenied(status))
            << ShortName(*method) << ": " << status;
      }
    }
  }
}

// Ada's objects of every kind, so that one is of the field's.
void ServerAuthorizationTest::TryField(const MethodDescriptor& method,
                                       const std::vector<FieldPath>& fields,
                                       const FieldPath& tried) {
  const auto other =
      OtherAnswers().find(absl::StrCat(ShortName(method), " ", TextOf(tried)));
  const bool is_other = other != OtherAnswers().end();
  const auto expected =
      is_other ? other->second.code : absl::StatusCode::kNotFound;
  bool is_answered = false;
  for (size_t i = 0; i < adas_->all().size(); ++i) {
    const std::string theirs = adas_->all()[i];
    const std::string absent = Absent().all()[i];
    const absl::Status of_theirs = Ask(method, fields, tried, theirs);
    is_answered = is_answered || of_theirs.code() == expected;
    EXPECT_FALSE(of_theirs.ok() && expected != absl::StatusCode::kOk)
        << theirs << " is not hidden";
    if (is_other && !other->second.is_as_if_absent) continue;
    const absl::Status of_none = Ask(method, fields, tried, absent);
    // A message may name what an object is part of.
    std::map<std::string, std::string> names;
    for (size_t k = 0; k < adas_->all().size(); ++k) {
      names[adas_->all()[k]] = Absent().all()[k];
    }
    EXPECT_EQ(of_theirs.code(), of_none.code()) << of_theirs << of_none;
    EXPECT_EQ(absl::StrReplaceAll(of_theirs.message(), names),
              std::string(of_none.message()));
  }
  EXPECT_TRUE(is_answered) << "none is answered as is expected";
}

TEST_F(ServerAuthorizationTest, OtherUsersObjectsDoNotExist) {
  std::set<std::string> tried;
  for (const MethodDescriptor* method : Methods()) {
    SCOPED_TRACE(ShortName(*method));
    // For bob not at all, which the test before this one sees to.
    if (DeclaredBy(*method).scope() == v1::SCOPE_ADMIN) continue;
    const std::vector<FieldPath> fields = ObjectsOf(*method->input_type());
    EXPECT_EQ(fields.empty(),
              MethodsWithoutObjects().contains(ShortName(*method)))
        << "name the method in this test's list, or the field";
    tried.insert(ShortName(*method));
    for (const FieldPath& field : fields) {
      SCOPED_TRACE(TextOf(field));
      TryField(*method, fields, field);
      tried.insert(absl::StrCat(ShortName(*method), " ", TextOf(field)));
    }
  }
  for (const std::string& method : MethodsWithoutObjects()) {
    EXPECT_TRUE(tried.contains(method)) << "there is no " << method;
  }
  for (const auto& [field, answer] : OtherAnswers()) {
    EXPECT_TRUE(tried.contains(field)) << "there is no " << field;
    EXPECT_FALSE(answer.why.empty()) << field;
  }
}

TEST_F(ServerAuthorizationTest, ListsHoldNothingOfOtherUsers) {
  for (const MethodDescriptor* method : Methods()) {
    if (!absl::StartsWith(method->name(), "List") ||
        DeclaredBy(*method).scope() == v1::SCOPE_ADMIN ||
        // Of one job, which the test before this one tries.
        ShortName(*method) == "Probes.ListProbes") {
      continue;
    }
    const auto request = api_->NewRequest(*method);
    for (const FieldPath& field : ObjectsOf(*method->input_type())) {
      SetText(*request, field,
              field.back()->name() == "parent" ? bobs_->model : bobs_->user);
    }
    std::vector<std::string> answers;
    const grpc::Status status = CallRaw(server_->channel(), PathOf(*method),
                                        {"Bearer " + bob_->secret()},
                                        request->SerializeAsString(), &answers);
    ASSERT_TRUE(status.ok()) << ShortName(*method) << status.error_message();
    ASSERT_EQ(answers.size(), 1U);
    EXPECT_THAT(answers[0], ::testing::Not(IsEmpty())) << ShortName(*method);
    for (const std::string& theirs : adas_->all()) {
      EXPECT_FALSE(absl::StrContains(answers[0], theirs))
          << ShortName(*method) << " shows " << theirs;
    }
  }
}

TEST_F(ServerAuthorizationTest, HealthIsOpenReflectionAndTheUnknownAreNot) {
  const auto call = [](const std::string& path,
                       const std::vector<std::string>& authorization) {
    return ToAbsl(CallRaw(server_->channel(), path, authorization, ""));
  };
  const std::string token = "Bearer " + reader_->secret();
  const std::string unknown = "/dissonance.v1.Jobs/NoSuchMethod";
  EXPECT_TRUE(call("/grpc.health.v1.Health/Check", {}).ok());
  EXPECT_TRUE(call(kReflectionPath, {token}).ok());
  EXPECT_TRUE(absl::IsUnauthenticated(call(kReflectionPath, {})));
  EXPECT_TRUE(absl::IsUnimplemented(call(unknown, {token})));
  EXPECT_TRUE(absl::IsUnauthenticated(call(unknown, {})));
}

}  // namespace
}  // namespace dissonance
