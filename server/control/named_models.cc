#include "server/control/named_models.h"

#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "dissonance/v1/language_jobs.pb.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// A hosted model's name is one of its endpoint's, not of ours.
bool IsName(const FieldDescriptor& field) {
  return field.type() == FieldDescriptor::TYPE_STRING &&
         field.containing_type() != v1::HostedModel::descriptor() &&
         (field.name() == "model" || field.name() == "adapter" ||
          field.name() == "direction");
}

// Where the value of such a field belongs.
std::set<std::string>& SetFor(const FieldDescriptor& field,
                              NamedModels& named) {
  if (field.name() == "model") return named.models;
  return field.name() == "adapter" ? named.adapters : named.directions;
}

// Whether a message of a type can name a model, at any depth. Types that
// contain themselves are looked at once.
class NamingTypes {
 public:
  bool Contains(const Descriptor* type) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    std::set<const Descriptor*> seen;
    return Look(type, seen);
  }

 private:
  bool Look(const Descriptor* type, std::set<const Descriptor*>& seen)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (const auto found = known_.find(type); found != known_.end()) {
      return found->second;
    }
    if (!seen.insert(type).second) return false;
    bool names = false;
    for (int i = 0; i < type->field_count() && !names; ++i) {
      const FieldDescriptor& field = *type->field(i);
      names = IsName(field) || (field.message_type() != nullptr &&
                                Look(field.message_type(), seen));
    }
    // What was cut short by a cycle is not known for good.
    if (names || seen.size() == 1) known_[type] = names;
    return names;
  }

  absl::Mutex mutex_;
  std::map<const Descriptor*, bool> known_ ABSL_GUARDED_BY(mutex_);
};

NamingTypes& Naming() {
  static NamingTypes& naming = *new NamingTypes;
  return naming;
}

// False if the bytes are no message of the type.
bool Scan(const Descriptor& type, CodedInputStream& in, NamedModels& named) {
  while (const uint32_t tag = in.ReadTag()) {
    const FieldDescriptor* field =
        type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
    const bool is_delimited = WireFormatLite::GetTagWireType(tag) ==
                              WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
    if (field != nullptr && is_delimited && IsName(*field)) {
      std::string name;
      if (!WireFormatLite::ReadString(&in, &name)) return false;
      if (!name.empty()) SetFor(*field, named).insert(std::move(name));
      continue;
    }
    if (field != nullptr && is_delimited && field->message_type() != nullptr &&
        Naming().Contains(field->message_type())) {
      int length = 0;
      if (!in.ReadVarintSizeAsInt(&length)) return false;
      auto [limit, depth_left] = in.IncrementRecursionDepthAndPushLimit(length);
      if (depth_left < 0 || !Scan(*field->message_type(), in, named) ||
          !in.DecrementRecursionDepthAndPopLimit(limit)) {
        return false;
      }
      continue;
    }
    if (!WireFormatLite::SkipField(&in, tag)) return false;
  }
  return in.ConsumedEntireMessage();
}

absl::Status BadMessage(const Descriptor& type) {
  return absl::InvalidArgumentError("the request is no valid " + type.name());
}

}  // namespace

absl::StatusOr<NamedModels> ModelsNamedIn(const Descriptor& type,
                                          const grpc::ByteBuffer& bytes) {
  NamedModels named;
  // The reader takes a mutable buffer, but only counts a reference in it.
  grpc::ByteBuffer shared = bytes;
  grpc::ProtoBufferReader reader(&shared);
  if (!reader.status().ok()) return BadMessage(type);
  CodedInputStream in(&reader);
  if (!Scan(type, in, named)) return BadMessage(type);
  return named;
}

absl::StatusOr<NamedModels> ModelsNamedIn(
    const google::protobuf::Message& message) {
  NamedModels named;
  const std::string bytes = message.SerializeAsString();
  CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                      static_cast<int>(bytes.size()));
  if (!Scan(*message.GetDescriptor(), in, named)) {
    return BadMessage(*message.GetDescriptor());
  }
  return named;
}

absl::StatusOr<NamedModels> ModelsNeededBy(const v1::JobSpec& spec) {
  ASSIGN_OR_RETURN(NamedModels named, ModelsNamedIn(spec));
  for (const v1::PipelineStage& stage : spec.pipeline().stages()) {
    named.adapters.erase(stage.spec().fine_tune().output_adapter());
  }
  return named;
}

}  // namespace dissonance
