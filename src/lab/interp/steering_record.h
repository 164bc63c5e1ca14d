// What a running steering sweep records, one item after the other: the mean
// length of rows in each block, then each setting's scores, last the samples.
// Doubles survive the text bit for bit. Values and pure functions; thread safe.
//
//   std::string stored = EncodeResult(result);
//   ASSIGN_OR_RETURN(SteeringResult same,
//                    DecodeResult(stored, setting, item_count, "record 3"));
#ifndef DISSONANCE_LAB_INTERP_STEERING_RECORD_H_
#define DISSONANCE_LAB_INTERP_STEERING_RECORD_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "src/lab/interp/steering_figures.h"

namespace dissonance {

// Mean length of the unsteered rows at the decision tokens, by block.
using SteeringNorms = std::map<int, double>;

// A generated token: the text that it brought, which may be none, and x . u of
// the residual row behind it, with u the sweep's best direction at its place.
// Unset where the site can't be metered.
struct MeteredToken {
  std::string text;
  std::optional<double> projection;

  bool operator==(const MeteredToken&) const = default;
};

// A continued question, without and with steering. Tokens are empty in records
// of before they were kept.
struct SteeringSample {
  std::string id;
  std::string unsteered;
  std::string steered;
  std::vector<MeteredToken> unsteered_tokens;
  std::vector<MeteredToken> steered_tokens;
};

// Decoding gives DATA_LOSS, beginning with `where`, for a text that is no such
// record.
std::string EncodeNorms(const SteeringNorms& norms);
absl::StatusOr<SteeringNorms> DecodeNorms(absl::string_view text,
                                          absl::string_view where);

std::string EncodeResult(const SteeringResult& result);
// Also if it is not that of `setting`, with `item_count` answers.
absl::StatusOr<SteeringResult> DecodeResult(absl::string_view text,
                                            const SteeringSetting& setting,
                                            size_t item_count,
                                            absl::string_view where);

std::string EncodeSamples(const std::vector<SteeringSample>& samples);
absl::StatusOr<std::vector<SteeringSample>> DecodeSamples(
    absl::string_view text, absl::string_view where);
// A sample as its line of samples.jsonl has it.
nlohmann::json SampleJson(const SteeringSample& sample);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_INTERP_STEERING_RECORD_H_
