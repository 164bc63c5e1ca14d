#include "src/lab/jobs/spec_difference.h"

#include <algorithm>
#include <cstddef>
#include <utility>
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
    Add(path, "", Value(after, path, true));
  }
  void ReportDeleted(const Message& before, const Message& /*after*/,
                     const Path& path) override {
    Add(path, Value(before, path, false), "");
  }
  void ReportModified(const Message& before, const Message& after,
                      const Path& path) override {
    // What differs inside a message is reported by itself.
    if (path.back().field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      return;
    }
    Add(path, Value(before, path, false), Value(after, path, true));
  }

  std::vector<v1::JobDifference> Take() { return std::move(differences_); }

 private:
  void Add(const Path& path, std::string first, std::string second) {
    std::string where;
    for (const MessageDifferencer::SpecificField& part : path) {
      absl::StrAppend(&where, where.empty() ? "" : ".", part.field->name());
      if (part.index >= 0) absl::StrAppend(&where, "[", part.index, "]");
    }
    v1::JobDifference& difference = differences_.emplace_back();
    difference.set_field(std::move(where));
    difference.set_first(std::move(first));
    difference.set_second(std::move(second));
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

  std::vector<v1::JobDifference> differences_;
};

std::string OrAbsent(const std::string& value) {
  return value.empty() ? "absent" : value;
}

}  // namespace

std::vector<v1::JobDifference> MessageDifferences(const Message& before,
                                                  const Message& after,
                                                  const std::string& prefix) {
  Collector collector;
  MessageDifferencer differencer;
  differencer.ReportDifferencesTo(&collector);
  differencer.Compare(before, after);
  std::vector<v1::JobDifference> differences = collector.Take();
  for (v1::JobDifference& difference : differences) {
    difference.set_field(prefix + difference.field());
  }
  return differences;
}

std::string DescribeDifference(const v1::JobSpec& before,
                               const v1::JobSpec& after) {
  std::vector<std::string> texts;
  for (const v1::JobDifference& difference :
       MessageDifferences(before, after)) {
    texts.push_back(absl::StrCat(difference.field(), ": ",
                                 OrAbsent(difference.first()), " before, ",
                                 OrAbsent(difference.second()), " now"));
  }
  const size_t shown = std::min(texts.size(), kMaxDifferences);
  std::string summary =
      absl::StrJoin(texts.begin(), texts.begin() + std::ptrdiff_t(shown), "; ");
  if (texts.size() > shown) {
    absl::StrAppend(&summary, "; and ", texts.size() - shown, " more");
  }
  return summary;
}

}  // namespace dissonance
