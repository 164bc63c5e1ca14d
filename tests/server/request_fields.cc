#include "tests/server/request_fields.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace dissonance {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::string TextOf(const FieldPath& path) {
  std::string text;
  for (const FieldDescriptor* field : path) {
    absl::StrAppend(&text, text.empty() ? "" : ".", field->name());
  }
  return text;
}

void FindTexts(const Descriptor& type, const FieldPath& above,
               std::vector<FieldPath>& found) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* field = type.field(i);
    FieldPath path = above;
    path.push_back(field);
    if (field->type() == FieldDescriptor::TYPE_STRING) found.push_back(path);
    const bool is_within =
        std::any_of(above.begin(), above.end(), [&](const auto* outer) {
          return outer->message_type() == field->message_type();
        });
    if (field->message_type() != nullptr && !is_within) {
      FindTexts(*field->message_type(), path, found);
    }
  }
}

bool IsExcludedBy(const FieldPath& field, const FieldPath& other) {
  for (size_t i = 0; i < std::min(field.size(), other.size()); ++i) {
    if (field[i] == other[i]) continue;
    const auto* oneof = field[i]->real_containing_oneof();
    return oneof != nullptr && oneof == other[i]->real_containing_oneof();
  }
  return false;
}

void SetText(Message& request, const FieldPath& path,
             const std::string& value) {
  Message* message = &request;
  for (const FieldDescriptor* field : path) {
    const auto* reflection = message->GetReflection();
    if (field != path.back()) {
      if (!field->is_repeated()) {
        message = reflection->MutableMessage(message, field);
      } else if (reflection->FieldSize(*message, field) == 0) {
        message = reflection->AddMessage(message, field);
      } else {
        message = reflection->MutableRepeatedMessage(message, field, 0);
      }
    } else if (field->is_repeated()) {
      reflection->AddString(message, field, value);
    } else {
      reflection->SetString(message, field, value);
    }
  }
}

}  // namespace dissonance
