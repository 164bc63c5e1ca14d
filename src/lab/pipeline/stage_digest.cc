#include "src/lab/pipeline/stage_digest.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/message.h"
#include "src/base/sha256.h"
#include "src/lab/pipeline/stage_fields.h"

namespace dissonance {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// A hosted model's name is one of its endpoint's, not of ours.
void AddModels(const Message& message, std::set<std::string>& names) {
  if (message.GetDescriptor() == v1::HostedModel::descriptor()) return;
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->type() == FieldDescriptor::TYPE_STRING &&
        !field->is_repeated() && field->name() == "model") {
      names.insert(reflection.GetString(message, field));
    }
    if (field->message_type() == nullptr || field->is_map()) continue;
    if (!field->is_repeated()) {
      AddModels(reflection.GetMessage(message, field), names);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      AddModels(reflection.GetRepeatedMessage(message, field, i), names);
    }
  }
}

// Maps in the order of their keys.
std::string Bytes(const Message& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream out(&stream);
  out.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&out);
  out.Trim();
  return bytes;
}

}  // namespace

std::set<std::string> NetworksIn(const v1::JobSpec& spec) {
  std::set<std::string> names = AdaptersIn(spec);
  AddModels(spec, names);
  names.erase("");
  return names;
}

std::string StageDigest(const v1::JobSpec& spec,
                        const std::map<std::string, std::string>& networks,
                        absl::string_view release) {
  std::string text = absl::StrCat("release ", release, "\n");
  for (const auto& [name, digest] : networks) {
    absl::StrAppend(&text, name, " ", digest, "\n");
  }
  return std::string(
      absl::StripPrefix(Sha256Of(absl::StrCat(text, Bytes(spec))), "sha256:"));
}

std::string Hex8(const std::string& digest) {
  return digest.substr(digest.find(':') + 1, 8);
}

std::string ReplaySuffix(const v1::Job& pipeline) {
  if (pipeline.replay_of().empty()) return "";
  return absl::StrCat(
      "-", absl::AsciiStrToLower(absl::StripPrefix(pipeline.name(), "jobs/")));
}

std::string StageRequestId(const std::string& digest,
                           const std::string& source_jobs) {
  const std::string sources =
      source_jobs.empty() ? "" : absl::StrCat("-", Hex8(Sha256Of(source_jobs)));
  return absl::StrCat("stage-", digest, sources);
}

}  // namespace dissonance
