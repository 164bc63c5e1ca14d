// Text fields of requests, by their path from the request's type. Functions of
// their arguments.
//
//   std::vector<FieldPath> texts;
//   FindTexts(*method.input_type(), {}, texts);
//   SetText(*request, texts[0], "models/m");
#ifndef DISSONANCE_TESTS_SERVER_REQUEST_FIELDS_H_
#define DISSONANCE_TESTS_SERVER_REQUEST_FIELDS_H_

#include <string>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace dissonance {

// From the request to a text field.
using FieldPath = std::vector<const google::protobuf::FieldDescriptor*>;

// "spec.fine_tune.model".
std::string TextOf(const FieldPath& path);

// The paths to the text fields of a type, at any depth. Types that contain
// themselves are looked at once.
void FindTexts(const google::protobuf::Descriptor& type, const FieldPath& above,
               std::vector<FieldPath>& found);

// Whether a message that has the one can't have the other: they are in
// different members of a oneof.
bool IsExcludedBy(const FieldPath& field, const FieldPath& other);

// Sets the field, or adds to it; of repeated messages on the way the first is
// taken, or made.
void SetText(google::protobuf::Message& request, const FieldPath& path,
             const std::string& value);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_REQUEST_FIELDS_H_
