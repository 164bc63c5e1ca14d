#include "src/lab/jobs/spec_difference.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/message_differencer.h"
#include "src/base/sha256.h"

namespace dissonance {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::TextFormat;
using google::protobuf::util::MessageDifferencer;

constexpr size_t kMaxDifferences = 5;
constexpr size_t kMaxValueLength = 80;
constexpr size_t kShownDigestLength = 7 + 12;

class Collector : public MessageDifferencer::Reporter {
 public:
  using Path = std::vector<MessageDifferencer::SpecificField>;

  void ReportAdded(const Message& /*before*/, const Message& after,
                   const Path& path) override {
    Add(path, absl::StrCat("absent before, ", Value(after, path, true)));
  }
  void ReportDeleted(const Message& before, const Message& /*after*/,
                     const Path& path) override {
    Add(path, absl::StrCat(Value(before, path, false), " before, absent"));
  }
  void ReportModified(const Message& before, const Message& after,
                      const Path& path) override {
    // What differs inside a message is reported by itself.
    if (path.back().field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      return;
    }
    Add(path, absl::StrCat(Value(before, path, false), " before, ",
                           Value(after, path, true)));
  }

  std::string Summary() const {
    std::string summary = absl::StrJoin(differences_, "; ");
    if (left_out_ > 0) absl::StrAppend(&summary, "; and ", left_out_, " more");
    return summary;
  }

 private:
  void Add(const Path& path, absl::string_view text) {
    if (differences_.size() == kMaxDifferences) {
      ++left_out_;
      return;
    }
    std::string where;
    for (const MessageDifferencer::SpecificField& part : path) {
      absl::StrAppend(&where, where.empty() ? "" : ".", part.field->name());
      if (part.index >= 0) absl::StrAppend(&where, "[", part.index, "]");
    }
    differences_.push_back(absl::StrCat(where, ": ", text, " now"));
  }

  // The value of the last field of `path` in `parent`, short.
  static std::string Value(const Message& parent, const Path& path,
                           bool is_after) {
    const MessageDifferencer::SpecificField& part = path.back();
    const FieldDescriptor* field = part.field;
    const int index = !field->is_repeated() ? -1
                      : is_after            ? part.new_index
                                            : part.index;
    if (field->type() == FieldDescriptor::TYPE_BYTES) {
      std::string scratch;
      const auto* reflection = parent.GetReflection();
      const std::string& bytes =
          index < 0 ? reflection->GetStringReference(parent, field, &scratch)
                    : reflection->GetRepeatedStringReference(parent, field,
                                                             index, &scratch);
      return absl::StrCat(bytes.size(), " bytes (",
                          Sha256Of(bytes).substr(0, kShownDigestLength), ")");
    }
    TextFormat::Printer printer;
    printer.SetSingleLineMode(true);
    std::string text;
    printer.PrintFieldValueToString(parent, field, index, &text);
    if (text.size() > kMaxValueLength) {
      text = absl::StrCat(text.substr(0, kMaxValueLength), "...");
    }
    absl::StripTrailingAsciiWhitespace(&text);
    return text.empty() ? "empty" : text;
  }

  std::vector<std::string> differences_;
  size_t left_out_ = 0;
};

}  // namespace

std::string DescribeDifference(const v1::JobSpec& before,
                               const v1::JobSpec& after) {
  Collector collector;
  MessageDifferencer differencer;
  differencer.ReportDifferencesTo(&collector);
  if (differencer.Compare(before, after)) return "";
  return collector.Summary();
}

}  // namespace dissonance
