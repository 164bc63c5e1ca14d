#include "tests/server/reflected_api.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/unknown_field_set.h"
#include "grpcpp/generic/generic_stub.h"
#include "src/base/status_macros.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/server_process.h"

namespace dissonance {
namespace {

using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

// Fields of the messages of grpc/reflection/v1alpha/reflection.proto, whose
// generated code gRPC keeps to itself.
constexpr int kFileContainingSymbol = 4;    // request
constexpr int kListServices = 7;            // request
constexpr int kFileDescriptorResponse = 4;  // answer
constexpr int kListServicesResponse = 6;    // answer
constexpr int kFirst = 1;                   // of what these contain

// A message with one text field, shorter than 128 bytes.
std::string TextMessage(int number, const std::string& text) {
  return absl::StrCat(std::string(1, static_cast<char>(number << 3 | 2)),
                      std::string(1, static_cast<char>(text.size())), text);
}

// The texts and messages in a field of a message.
std::vector<std::string> FieldsOf(const std::string& message, int number) {
  UnknownFieldSet fields;
  std::vector<std::string> found;
  if (!fields.ParseFromString(message)) return found;
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    if (field.number() != number ||
        field.type() != UnknownField::TYPE_LENGTH_DELIMITED) {
      continue;
    }
    found.push_back(field.length_delimited());
  }
  return found;
}

// What the first answer to `request` has in field `number`, itself repeated.
absl::StatusOr<std::vector<std::string>> Reflect(
    const std::shared_ptr<grpc::Channel>& channel, const std::string& secret,
    const std::string& request, int number) {
  std::vector<std::string> answers;
  RETURN_IF_ERROR(ToAbsl(CallRaw(channel, kReflectionPath, {"Bearer " + secret},
                                 request, &answers)));
  if (answers.size() != 1) return absl::DataLossError("no answer");
  const std::vector<std::string> parts = FieldsOf(answers[0], number);
  if (parts.size() != 1) return absl::DataLossError("not the answer asked for");
  return FieldsOf(parts[0], kFirst);
}

}  // namespace

grpc::Status CallRaw(const std::shared_ptr<grpc::Channel>& channel,
                     const std::string& path,
                     const std::vector<std::string>& authorization,
                     const std::string& request,
                     std::vector<std::string>* answers) {
  grpc::ClientContext context;
  context.set_deadline(
      absl::ToChronoTime(absl::Now() + ServerProcess::kPatience));
  for (const std::string& value : authorization) {
    context.AddMetadata("authorization", value);
  }
  grpc::CompletionQueue queue;
  const auto finished = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  grpc::GenericStub stub(channel);
  const auto call = stub.PrepareCall(&context, path, &queue);
  call->StartCall(nullptr);
  bool goes_on = finished();
  if (goes_on) {
    const grpc::Slice bytes(request);
    call->WriteLast(grpc::ByteBuffer(&bytes, 1), grpc::WriteOptions(), nullptr);
    finished();
  }
  while (goes_on) {
    grpc::ByteBuffer answer;
    call->Read(&answer, nullptr);
    goes_on = finished();
    grpc::Slice bytes;
    if (goes_on && answers != nullptr &&
        answer.DumpToSingleSlice(&bytes).ok()) {
      answers->emplace_back(reinterpret_cast<const char*>(bytes.begin()),
                            bytes.size());
    }
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  finished();
  queue.Shutdown();
  finished();
  return status;
}

absl::StatusOr<std::unique_ptr<ReflectedApi>> ReflectedApi::Ask(
    const std::shared_ptr<grpc::Channel>& channel, const std::string& secret) {
  std::unique_ptr<ReflectedApi> api(new ReflectedApi);
  ASSIGN_OR_RETURN(const std::vector<std::string> services,
                   Reflect(channel, secret, TextMessage(kListServices, "x"),
                           kListServicesResponse));
  for (const std::string& service : services) {
    for (std::string& name : FieldsOf(service, kFirst)) {
      api->services_.push_back(std::move(name));
    }
  }
  for (const std::string& service : api->services_) {
    // Health is not made of protos.
    if (absl::StartsWith(service, "grpc.")) continue;
    ASSIGN_OR_RETURN(
        const std::vector<std::string> files,
        Reflect(channel, secret, TextMessage(kFileContainingSymbol, service),
                kFileDescriptorResponse));
    for (const std::string& bytes : files) {
      google::protobuf::FileDescriptorProto file;
      google::protobuf::FileDescriptorProto known;
      if (!file.ParseFromString(bytes)) return absl::DataLossError(service);
      if (api->files_.FindFileByName(file.name(), &known)) continue;
      if (!api->files_.Add(file)) return absl::DataLossError(file.name());
    }
  }
  return api;
}

std::vector<const ReflectedApi::Method*> ReflectedApi::Methods(
    const std::string& prefix) const {
  std::vector<const Method*> methods;
  for (const std::string& name : services_) {
    if (!absl::StartsWith(name, prefix)) continue;
    const auto* service = pool_.FindServiceByName(name);
    for (int i = 0; service != nullptr && i < service->method_count(); ++i) {
      methods.push_back(service->method(i));
    }
  }
  return methods;
}

std::unique_ptr<google::protobuf::Message> ReflectedApi::NewRequest(
    const Method& method) const {
  return std::unique_ptr<google::protobuf::Message>(
      messages_.GetPrototype(method.input_type())->New());
}

std::string PathOf(const google::protobuf::MethodDescriptor& method) {
  return absl::StrCat("/", method.service()->full_name(), "/", method.name());
}

}  // namespace dissonance
