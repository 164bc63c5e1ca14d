#include "server/control/named_models.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "dissonance/v1/inference.pb.h"
#include "dissonance/v1/interpretability.pb.h"
#include "dissonance/v1/jobs.pb.h"
#include "dissonance/v1/probes.pb.h"

namespace dissonance {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;
using ::google::protobuf::Reflection;

// Fills some of the fields of a message at random, at any depth.
class Filler {
 public:
  void Fill(Message& message, int depth) {
    const Descriptor& type = *message.GetDescriptor();
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      const int count = field.is_repeated() ? Below(3) : Below(2);
      for (int k = 0; k < count; ++k) FillField(message, field, depth);
    }
  }

 private:
  int Below(int end) { return static_cast<int>(random_() % end); }

  void FillField(Message& message, const FieldDescriptor& field, int depth) {
    const Reflection& reflection = *message.GetReflection();
    if (field.type() == FieldDescriptor::TYPE_STRING ||
        field.type() == FieldDescriptor::TYPE_BYTES) {
      const std::string text = absl::StrCat("t", Below(50));
      field.is_repeated() ? reflection.AddString(&message, &field, text)
                          : reflection.SetString(&message, &field, text);
    } else if (field.type() == FieldDescriptor::TYPE_INT32 &&
               !field.is_repeated()) {
      reflection.SetInt32(&message, &field, Below(1 << 30));
    } else if (field.message_type() != nullptr && depth > 0 &&
               !field.is_map()) {
      Fill(field.is_repeated() ? *reflection.AddMessage(&message, &field)
                               : *reflection.MutableMessage(&message, &field),
           depth - 1);
    }
  }

  std::mt19937 random_{7};
};

// The same by reflection, on the parsed message.
void Walk(const Message& message, NamedModels& named) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->type() == FieldDescriptor::TYPE_STRING &&
        message.GetDescriptor() != v1::HostedModel::descriptor() &&
        (field->name() == "model" || field->name() == "adapter" ||
         field->name() == "direction")) {
      auto& names = field->name() == "model"     ? named.models
                    : field->name() == "adapter" ? named.adapters
                                                 : named.directions;
      names.insert(reflection.GetString(message, field));
    } else if (field->message_type() != nullptr && field->is_repeated()) {
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        Walk(reflection.GetRepeatedMessage(message, field, i), named);
      }
    } else if (field->message_type() != nullptr) {
      Walk(reflection.GetMessage(message, field), named);
    }
  }
}

// In pieces, as they come from a socket.
grpc::ByteBuffer InPieces(const std::string& bytes, size_t piece) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    slices.emplace_back(bytes.substr(at, piece));
  }
  return {slices.data(), slices.size()};
}

TEST(NamedModelsTest, FindsWhatAWalkOverTheMessageFinds) {
  Filler filler;
  const Message* const types[] = {
      &v1::TokenizeRequest::default_instance(),
      &v1::ScoreRequest::default_instance(),
      &v1::GenerateRequest::default_instance(),
      &v1::StreamActivationsRequest::default_instance(),
      &v1::LogitLensRequest::default_instance(),
      &v1::CompareVariantsRequest::default_instance(),
      &v1::PatchRequest::default_instance(),
      &v1::TrainProbesRequest::default_instance(),
      &v1::ApplyProbeRequest::default_instance(),
      &v1::JobSpec::default_instance(),
      &v1::Job::default_instance()};
  size_t name_count = 0;
  size_t direction_count = 0;
  for (const Message* type : types) {
    for (int i = 0; i < 100; ++i) {
      const std::unique_ptr<Message> message(type->New());
      filler.Fill(*message, /*depth=*/5);
      NamedModels expected;
      Walk(*message, expected);
      name_count += expected.models.size() + expected.adapters.size();
      direction_count += expected.directions.size();
      const auto whole = ModelsNamedIn(*message);
      const auto pieces = ModelsNamedIn(
          *message->GetDescriptor(), InPieces(message->SerializeAsString(), 7));
      for (const auto& named : {whole, pieces}) {
        ASSERT_TRUE(named.ok()) << named.status();
        EXPECT_EQ(named->models, expected.models) << message->DebugString();
        EXPECT_EQ(named->adapters, expected.adapters) << message->DebugString();
        EXPECT_EQ(named->directions, expected.directions)
            << message->DebugString();
      }
    }
  }
  EXPECT_GT(name_count, 500U);
  EXPECT_GT(direction_count, 100U);
}

TEST(NamedModelsTest, AHostedModelIsNoneOfOurs) {
  v1::CreateJobRequest request;
  request.mutable_spec()->mutable_judge()->mutable_judge()->set_model("gpt");
  const auto named = ModelsNamedIn(request);
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_TRUE(named->models.empty());
}

TEST(NamedModelsTest, FindsBothOfAFieldThatComesTwice) {
  v1::TokenizeRequest one;
  one.set_model("models/a");
  v1::TokenizeRequest two;
  two.set_model("models/b");
  const std::string bytes = one.SerializeAsString() + two.SerializeAsString();
  const auto named = ModelsNamedIn(*one.GetDescriptor(), InPieces(bytes, 100));
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_EQ(named->models, (std::set<std::string>{"models/a", "models/b"}));
}

TEST(NamedModelsTest, RefusesWhatTheParserRefuses) {
  v1::ScoreRequest request;
  request.add_variants()->set_model("models/a");
  request.add_items()->mutable_prompt()->set_text("text");
  const std::string bytes = request.SerializeAsString();
  std::mt19937 random(3);
  int refused_count = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string broken = bytes.substr(0, random() % (bytes.size() + 1));
    if (i % 2 == 0 && !broken.empty()) {
      broken[random() % broken.size()] = static_cast<char>(random() % 128);
    }
    v1::ScoreRequest parsed;
    const bool is_message = parsed.ParseFromString(broken);
    const auto named =
        ModelsNamedIn(*request.GetDescriptor(), InPieces(broken, 5));
    EXPECT_TRUE(named.ok() || absl::IsInvalidArgument(named.status()));
    if (!named.ok()) ++refused_count;
    if (!is_message || !named.ok()) continue;
    NamedModels expected;
    Walk(parsed, expected);
    for (const std::string& model : expected.models) {
      EXPECT_TRUE(model.empty() || named->models.contains(model));
    }
  }
  EXPECT_GT(refused_count, 100);
}

TEST(NamedModelsTest, TooDeepBytesAreRefusedAndOverflowNoStack) {
  // Groups of an unknown field, one in the other.
  const std::string groups(100'000, '\x7b');
  EXPECT_TRUE(absl::IsInvalidArgument(
      ModelsNamedIn(*v1::ScoreRequest::descriptor(), InPieces(groups, 4096))
          .status()));
  const std::string closed = std::string(50, '\x7b') + std::string(50, '\x7c');
  EXPECT_TRUE(
      ModelsNamedIn(*v1::ScoreRequest::descriptor(), InPieces(closed, 9)).ok());
}

}  // namespace
}  // namespace dissonance
