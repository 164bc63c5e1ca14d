// What a stream of Generate brought: by variant, input and sample, as it grows,
// and as JSON in the end. Not thread safe.
//
//   Generations generations({.variants = 1, .inputs = 1, .samples = 2});
//   while (reader->Read(&event)) RETURN_IF_ERROR(generations.Add(event));
//   GenerationJson(generations.At(0, 0));
#ifndef DISSONANCE_CLIENT_CLI_GENERATION_H_
#define DISSONANCE_CLIENT_CLI_GENERATION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "dissonance/v1/inference.pb.h"
#include "nlohmann/json.hpp"

namespace dissonance::cli {

// What each meter read of each token; empty where nothing came.
using Projections = std::vector<std::vector<double>>;

struct GeneratedSample {
  std::string text;
  std::vector<v1::GeneratedToken> tokens;
  std::vector<size_t> text_ends;       // of each token: bytes of text with it
  Projections projections;             // of the tokens
  std::optional<v1::GenerateEnd> end;  // unset: it goes on
};

// One variant's continuations of one input.
struct Generation {
  v1::GeneratePrompt prompt;
  std::vector<GeneratedSample> samples;
};

class Generations {
 public:
  struct Counts {
    int variants = 0;
    int inputs = 0;
    int samples = 0;  // of each input by each variant
  };

  explicit Generations(const Counts& counts);

  // INTERNAL if the event belongs to nothing that was asked for.
  absl::Status Add(const v1::GenerateResponse& event);

  const Counts& counts() const { return counts_; }
  const Generation& At(int variant, int input) const {
    return all_[IndexOf(variant, input)];
  }

  // Whether anything came, and whether the stream's last event did.
  bool has_begun() const { return has_begun_; }
  bool is_complete() const { return is_complete_; }
  // So far, over all samples; prompts once per variant.
  int64_t prompt_token_count() const { return prompt_token_count_; }
  int64_t generated_token_count() const { return generated_token_count_; }
  // What the samples that ended did without, of `most` tokens each.
  int64_t UnusedTokens(int64_t most) const;

 private:
  size_t IndexOf(int variant, int input) const {
    return static_cast<size_t>(variant) * static_cast<size_t>(counts_.inputs) +
           static_cast<size_t>(input);
  }

  const Counts counts_;
  std::vector<Generation> all_;
  bool has_begun_ = false;
  bool is_complete_ = false;
  int64_t prompt_token_count_ = 0;
  int64_t generated_token_count_ = 0;
};

// {prompt_tokens, samples: [{text, tokens, logprobs, finish_reason, seed}],
// usage: {prompt_tokens, generated_tokens}}; samples also have top_logprobs,
// [[{token, logprob}]], and the object a prompt, {text, tokens, logprobs},
// where they were asked for. finish_reason is null of a sample without end.
// With meters, samples and prompt have projections, {METER: [number per token,
// null where none came]}.
nlohmann::json GenerationJson(const Generation& generation,
                              const std::vector<std::string>& meters = {});

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_GENERATION_H_
