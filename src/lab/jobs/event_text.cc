#include "src/lab/jobs/event_text.h"

#include "absl/strings/str_cat.h"
#include "src/base/utf8.h"

namespace dissonance {
namespace {

constexpr size_t kMaxBytes = 8192;
constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";
constexpr absl::string_view kEllipsis = "\xE2\x80\xA6";

}  // namespace

std::string EventText(absl::string_view text) {
  std::string out;
  while (!text.empty() && out.size() < kMaxBytes) {
    const size_t good = FindInvalidUtf8(text).value_or(text.size());
    absl::StrAppend(&out, text.substr(0, good));
    text.remove_prefix(good);
    if (text.empty()) break;
    absl::StrAppend(&out, kReplacement);
    text.remove_prefix(1);
  }
  if (out.size() > kMaxBytes) {
    out.resize(kMaxBytes);
    // The cut may have split a character.
    out.resize(FindInvalidUtf8(out).value_or(out.size()));
    absl::StrAppend(&out, kEllipsis);
  }
  return out;
}

}  // namespace dissonance
