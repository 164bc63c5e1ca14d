#include "client/cli/generation_text.h"

#include <cmath>
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

// Whether a token is seen, as that which ended the text is not.
bool HasText(const GeneratedSample& sample, size_t token) {
  return token < sample.text_ends.size() &&
         sample.text_ends[token] >
             (token > 0 ? sample.text_ends[token - 1] : 0);
}

// The mean of what a meter read of a sample's tokens; NaN: nothing.
double MeanOf(const GeneratedSample& sample, size_t meter) {
  double sum = 0;
  int count = 0;
  for (const std::vector<double>& own : sample.projections) {
    if (meter >= own.size()) continue;
    sum += own[meter];
    ++count;
  }
  return sum / count;
}

std::string Styled(const std::string& style, absl::string_view text) {
  if (style.empty() || text.empty()) return std::string(text);
  return absl::StrCat("\x1b[", style, "m", text, "\x1b[0m");
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

GenerationText::Scale GenerationText::ScaleOf() const {
  Scale scale;
  double squares = 0;  // Welford's
  for (int number = 0; number < turn_count(); ++number) {
    const GeneratedSample& sample = SampleOf(TurnAt(number));
    for (size_t token = 0; token < sample.projections.size(); ++token) {
      const std::vector<double>& own = sample.projections[token];
      if (own.empty() || !HasText(sample, token)) continue;
      const double before = own.front() - scale.mean;
      scale.mean += before / static_cast<double>(++scale.count);
      squares += before * (own.front() - scale.mean);
    }
  }
  if (scale.count > 0) {
    scale.deviation = std::sqrt(squares / static_cast<double>(scale.count));
  }
  return scale;
}

std::string GenerationText::ColouredText(const Turn& turn, const Heat& heat,
                                         const Scale& scale) const {
  const GeneratedSample& sample = SampleOf(turn);
  const auto shown = [&](absl::string_view text) {
    return labels_.escape ? PrintableLines(text) : std::string(text);
  };
  std::string out =
      shown(generations_.At(turn.variant, turn.input).prompt.text());
  size_t begin = 0;
  for (size_t token = 0; token < sample.tokens.size(); ++token) {
    const size_t end = sample.text_ends[token];
    const bool has = token < sample.projections.size() &&
                     !sample.projections[token].empty() && scale.deviation > 0;
    const double value =
        has ? (sample.projections[token].front() - scale.mean) /
                  (2 * scale.deviation)
            : 0;
    out += Styled(
        heat.Style(value),
        shown(absl::string_view(sample.text).substr(begin, end - begin)));
    begin = end;
  }
  return out + shown(absl::string_view(sample.text).substr(begin));
}

std::string GenerationText::Coloured(const Heat& heat,
                                     absl::string_view meter) const {
  const Scale scale = ScaleOf();
  std::string out;
  for (int number = 0; number < turn_count(); ++number) {
    const Turn turn = TurnAt(number);
    const std::string title = TitleOf(turn, /*with_variant=*/true);
    if (!title.empty()) {
      absl::StrAppend(&out, number > 0 ? "\n" : "", "--- ", title, " ---\n");
    }
    out += ColouredText(turn, heat, scale);
    if (!out.empty() && out.back() != '\n') out += "\n";
  }
  absl::StrAppend(
      &out, "\n", Printable(meter), ": ",
      Styled(heat.Style(-1),
             absl::StrFormat(" %.4g ", scale.mean - 2 * scale.deviation)),
      absl::StrFormat(" %.4g ", scale.mean),
      Styled(heat.Style(1),
             absl::StrFormat(" %.4g ", scale.mean + 2 * scale.deviation)),
      " (mean and two deviations over ", scale.count, " tokens shown)\n");
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

std::vector<std::string> GenerationText::Endings(
    const std::vector<std::string>& meters) const {
  std::vector<std::string> lines;
  for (int number = 0; number < turn_count(); ++number) {
    const Turn turn = TurnAt(number);
    const GeneratedSample& sample = SampleOf(turn);
    const std::string title = TitleOf(turn, /*with_variant=*/true);
    std::string line = absl::StrCat(
        title, title.empty() ? "" : ": ", sample.tokens.size(),
        sample.tokens.size() == 1 ? " token, " : " tokens, ",
        sample.end.has_value()
            ? absl::StrCat("ended by ", EnumWord(sample.end->finish_reason()))
            : "cut short");
    for (size_t m = 0; m < meters.size(); ++m) {
      absl::StrAppend(&line, ", ", Printable(meters[m]),
                      absl::StrFormat(" %+.4g", MeanOf(sample, m)));
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace dissonance::cli
