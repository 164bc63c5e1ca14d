#include "client/cli/generation_text.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/columns.h"
#include "client/cli/proto_json.h"

namespace dissonance::cli {
namespace {

template <typename Tokens>
std::string IdsOf(const Tokens& tokens) {
  return absl::StrJoin(tokens, ",", [](std::string* out, const auto& token) {
    absl::StrAppend(out, token.token_id());
  });
}

}  // namespace

GenerationText::GenerationText(const Generations& generations,
                               GenerationLabels labels)
    : generations_(generations), labels_(std::move(labels)) {}

int GenerationText::turn_count() const {
  const Generations::Counts& counts = generations_.counts();
  return counts.variants * counts.inputs * counts.samples;
}

GenerationText::Turn GenerationText::TurnAt(int number) const {
  const Generations::Counts& counts = generations_.counts();
  return {.variant = number % counts.variants,
          .input = number / counts.variants / counts.samples,
          .sample = number / counts.variants % counts.samples};
}

const GeneratedSample& GenerationText::SampleOf(const Turn& turn) const {
  return generations_.At(turn.variant, turn.input)
      .samples[static_cast<size_t>(turn.sample)];
}

std::string GenerationText::TextOf(const Turn& turn) const {
  const v1::GeneratePrompt& prompt =
      generations_.At(turn.variant, turn.input).prompt;
  const GeneratedSample& sample = SampleOf(turn);
  if (labels_.has_tokenizer) return prompt.text() + sample.text;
  const std::string ids = IdsOf(sample.tokens);
  if (prompt.tokens().empty()) return ids;
  return absl::StrCat(IdsOf(prompt.tokens()), ids.empty() ? "" : ",", ids);
}

std::string GenerationText::TitleOf(const Turn& turn, bool with_variant) const {
  std::vector<std::string> parts;
  if (labels_.name_inputs) {
    parts.push_back(labels_.inputs[static_cast<size_t>(turn.input)]);
  }
  if (with_variant && labels_.variants.size() > 1) {
    parts.push_back(labels_.variants[static_cast<size_t>(turn.variant)]);
  }
  if (generations_.counts().samples > 1) {
    parts.push_back(absl::StrCat("sample ", turn.sample));
  }
  return Printable(absl::StrJoin(parts, ", "));
}

std::string GenerationText::Next() {
  std::string out;
  while (turn_ < turn_count()) {
    const Turn turn = TurnAt(turn_);
    if (!begun_) {
      const std::string title = TitleOf(turn, /*with_variant=*/true);
      if (!title.empty()) {
        absl::StrAppend(&out, turn_ > 0 ? "\n" : "", "--- ", title, " ---\n");
      }
      begun_ = true;
    }
    const std::string text = TextOf(turn);
    const std::string more = text.substr(written_);
    written_ = text.size();
    absl::StrAppend(&out, labels_.escape ? PrintableLines(more) : more);
    if (!more.empty()) at_line_start_ = more.back() == '\n';
    if (!SampleOf(turn).end.has_value()) return out;
    absl::StrAppend(&out, Finish());
    ++turn_;
    written_ = 0;
    begun_ = false;
  }
  return out;
}

std::string GenerationText::Finish() {
  return std::exchange(at_line_start_, true) ? "" : "\n";
}

std::string GenerationText::Columns(int width) const {
  std::string out;
  const int variants = generations_.counts().variants;
  for (int number = 0; number < turn_count(); number += variants) {
    const std::string title = TitleOf(TurnAt(number), /*with_variant=*/false);
    if (number > 0) out += "\n";
    if (!title.empty()) absl::StrAppend(&out, "--- ", title, " ---\n");
    std::vector<std::string> texts;
    for (int variant = 0; variant < variants; ++variant) {
      texts.push_back(TextOf(TurnAt(number + variant)));
    }
    out += SideBySide(labels_.variants, texts, width);
  }
  return out;
}

Table GenerationText::TokenTable(
    const std::function<std::string(int32_t)>& text_of) const {
  std::vector<Table::Column> columns = {{"TOKEN", Align::kRight},
                                        {"TEXT"},
                                        {"LOGPROB", Align::kRight},
                                        {"MOST LIKELY"}};
  const bool is_titled = !TitleOf(TurnAt(0), /*with_variant=*/true).empty();
  if (is_titled) columns.insert(columns.begin(), {"SAMPLE"});
  Table table(std::move(columns));
  for (int number = 0; number < turn_count(); ++number) {
    const Turn turn = TurnAt(number);
    for (const v1::GeneratedToken& token : SampleOf(turn).tokens) {
      std::vector<std::string> top;
      for (const v1::TokenLogprob& each : token.top()) {
        top.push_back(absl::StrFormat("%s %.3f", text_of(each.token_id()),
                                      each.logprob()));
      }
      std::vector<std::string> cells = {
          absl::StrCat(token.token_id()), text_of(token.token_id()),
          absl::StrFormat("%.3f", token.logprob()), absl::StrJoin(top, "  ")};
      if (is_titled) {
        cells.insert(cells.begin(), TitleOf(turn, /*with_variant=*/true));
      }
      table.AddRow(std::move(cells));
    }
  }
  return table;
}

std::vector<std::string> GenerationText::Endings() const {
  std::vector<std::string> lines;
  for (int number = 0; number < turn_count(); ++number) {
    const Turn turn = TurnAt(number);
    const GeneratedSample& sample = SampleOf(turn);
    const std::string title = TitleOf(turn, /*with_variant=*/true);
    lines.push_back(absl::StrCat(
        title, title.empty() ? "" : ": ", sample.tokens.size(),
        sample.tokens.size() == 1 ? " token, " : " tokens, ",
        sample.end.has_value()
            ? absl::StrCat("ended by ", EnumWord(sample.end->finish_reason()))
            : "cut short"));
  }
  return lines;
}

}  // namespace dissonance::cli
