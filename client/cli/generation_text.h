// Generated text for people: streamed one sample after the other, each under
// its title where there are several, or the variants of a sample side by side.
// Not thread safe. Borrows the generations, which must outlive it.
//
//   GenerationText text(generations, {.variants = {"base"}, .inputs = {"1"}});
//   std::cout << text.Next();    // after each event: what has come
//   std::cout << text.Finish();  // ends the last line
#ifndef DISSONANCE_CLIENT_CLI_GENERATION_TEXT_H_
#define DISSONANCE_CLIENT_CLI_GENERATION_TEXT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "client/cli/generation.h"
#include "client/cli/heat.h"
#include "client/cli/output.h"

namespace dissonance::cli {

struct GenerationLabels {
  std::vector<std::string> variants;
  std::vector<std::string> inputs;
  // Whether titles name inputs: there are others in further requests.
  bool name_inputs = false;
  // Without a tokenizer token ids stand for the text.
  bool has_tokenizer = true;
  // Whether control characters are escaped, as a terminal needs it.
  bool escape = false;
};

class GenerationText {
 public:
  GenerationText(const Generations& generations, GenerationLabels labels);

  // What can be appended. Samples come by input, then sample, then variant.
  std::string Next();

  // What ends an output that was cut short, or one without a line break.
  std::string Finish();

  // Everything, the variants of each sample in columns on a terminal of this
  // width.
  std::string Columns(int width) const;

  // Everything, each token's text coloured by how far what the first meter read
  // of it is from the mean over all tokens: blue below, red above, full at two
  // deviations. Ends with a line that says so.
  std::string Coloured(const Heat& heat, absl::string_view meter) const;

  // A row for each generated token, with the most likely ones at its place.
  Table TokenTable(const std::function<std::string(int32_t)>& text_of) const;

  // A line for each sample: how many tokens it has, why it ended, and what each
  // of these meters read on average.
  std::vector<std::string> Endings(
      const std::vector<std::string>& meters = {}) const;

 private:
  struct Turn {
    int variant = 0;
    int input = 0;
    int sample = 0;
  };

  // Of what the first meter read, over all samples.
  struct Scale {
    int64_t count = 0;
    double mean = 0;
    double deviation = 0;
  };

  Scale ScaleOf() const;
  std::string ColouredText(const Turn& turn, const Heat& heat,
                           const Scale& scale) const;
  Turn TurnAt(int number) const;
  int turn_count() const;
  const GeneratedSample& SampleOf(const Turn& turn) const;
  // Of the turn's sample so far, after the prompt if that was asked for.
  std::string TextOf(const Turn& turn) const;
  // "base, q1, sample 0", of those of which there are several.
  std::string TitleOf(const Turn& turn, bool with_variant) const;

  const Generations& generations_;
  const GenerationLabels labels_;
  int turn_ = 0;        // whose text comes next
  size_t written_ = 0;  // bytes of its text
  bool begun_ = false;  // whether its title was written
  bool at_line_start_ = true;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_GENERATION_TEXT_H_
