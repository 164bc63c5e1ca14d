// Calls that compute: scores, generation, activations, views of the network.
#include <algorithm>
#include <map>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "dissonance/v1/inference.grpc.pb.h"
#include "dissonance/v1/interpretability.grpc.pb.h"
#include "src/base/status_macros.h"
#include "tests/endurance/soak_calls.h"

namespace dissonance {
namespace {

// Different requests of each kind, each made many times.
constexpr int kRequestCount = 24;
// More activations than the server keeps.
constexpr int kActivationRequestCount = 96;
constexpr int kMostTokens = 120;
constexpr absl::Duration kMostPause = absl::Seconds(2);

v1::ScoreRequest ScoreRequestOf(int number) {
  v1::ScoreRequest request;
  *request.add_variants() = VariantOf(0);
  *request.add_variants() = VariantOf(number);
  for (int i = 0; i <= number % 4; ++i) {
    v1::ScoreItem& item = *request.add_items();
    *item.mutable_prompt() = PromptOf(number + i * 5);
    for (int c = 0; c < 4; ++c) {
      item.add_continuations()->mutable_tokens()->add_ids(20 + number + c);
    }
  }
  if (number % 3 == 2) {
    request.mutable_dropout()->set_sample_count(2);
    request.mutable_dropout()->set_seed(static_cast<uint64_t>(number));
  }
  return request;
}

absl::Status ScorePrompts(const SoakCall& call) {
  const int number = Draw(call, kRequestCount);
  ASSIGN_OR_RETURN(
      const v1::ScoreResponse response,
      call.client.Call(&v1::Inference::Stub::Score, ScoreRequestOf(number)));
  std::string reply;
  for (const v1::ItemScore& score : response.scores()) {
    reply += score.SerializeAsString();
  }
  return call.ledger.Compare(absl::StrCat("Score ", number), reply);
}

v1::GenerateRequest GenerateRequestOf(int number) {
  v1::GenerateRequest request;
  *request.add_variants() = VariantOf(number);
  *request.add_inputs() = PromptOf(number);
  *request.add_inputs() = PromptOf(number + 1);
  v1::GenerationOptions& options = *request.mutable_options();
  options.set_max_new_token_count(kMostTokens - number % 3 * 40);
  options.set_ignore_eos(true);
  if (number % 2 == 1) {
    options.mutable_sampling()->set_temperature(0.8);
    options.mutable_sampling()->set_seed(static_cast<uint64_t>(number));
    request.set_sample_count(2);
  }
  return request;
}

// A reader of Generate's stream: what it collects does not depend on how the
// tokens were cut into messages.
class SampleReader {
 public:
  void Add(const v1::GenerateResponse& event) {
    std::string& sample = samples_[{event.variant_index(), event.input_index(),
                                    event.sample_index()}];
    for (const v1::GeneratedToken& token : event.delta().tokens()) {
      sample += token.SerializeAsString();
    }
    text_ += absl::StrCat(event.has_summary() ? "." : "");
  }
  std::string Reply() const {
    std::string reply = text_;
    for (const auto& [key, sample] : samples_) reply += sample + "|";
    return reply;
  }

 private:
  std::map<std::tuple<int, int, int>, std::string> samples_;
  std::string text_;
};

absl::Status GenerateAll(const SoakCall& call, absl::Duration pause) {
  const int number = Draw(call, kRequestCount);
  SampleReader reader;
  int message_count = 0;
  RETURN_IF_ERROR(call.client.Read(&v1::Inference::Stub::Generate,
                                   GenerateRequestOf(number),
                                   [&](const v1::GenerateResponse& event) {
                                     if (++message_count == 3) {
                                       absl::SleepFor(pause);
                                     }
                                     reader.Add(event);
                                     return true;
                                   }));
  return call.ledger.Compare(absl::StrCat("Generate ", number), reader.Reply());
}

absl::Status GenerateSamples(const SoakCall& call) {
  return GenerateAll(call, absl::ZeroDuration());
}

absl::Status GenerateForASlowReader(const SoakCall& call) {
  return GenerateAll(call, kMostPause / (1 + Draw(call, 4)));
}

absl::Status GenerateAndCancel(const SoakCall& call) {
  int left = Draw(call, 40);
  const absl::Status status = call.client.Read(
      &v1::Inference::Stub::Generate,
      GenerateRequestOf(Draw(call, kRequestCount)),
      [&left](const v1::GenerateResponse&) { return left-- > 0; });
  return absl::IsCancelled(status) ? absl::OkStatus() : status;
}

v1::StreamActivationsRequest ActivationsRequestOf(int number) {
  v1::StreamActivationsRequest request;
  *request.add_variants() = VariantOf(number);
  for (int i = 0; i < 4; ++i) *request.add_inputs() = PromptOf(number * 4 + i);
  request.mutable_capture()->add_sites(v1::SITE_RESID_POST);
  request.mutable_capture()->add_sites(v1::SITE_MLP_HIDDEN);
  request.mutable_capture()->mutable_positions()->set_set(
      v1::POSITION_SET_PROMPT);
  return request;
}

absl::Status ReadActivations(const SoakCall& call, absl::Duration pause) {
  const int number = Draw(call, kActivationRequestCount);
  std::map<std::string, std::string> values;  // by variant and place
  int variant = 0;
  int message_count = 0;
  RETURN_IF_ERROR(call.client.Read(
      &v1::Interpretability::Stub::StreamActivations,
      ActivationsRequestOf(number),
      [&](const v1::StreamActivationsResponse& response) {
        if (++message_count == 2) absl::SleepFor(pause);
        if (response.has_rows()) {
          variant = response.rows().variant_index();
          for (const v1::RowLabel& row : response.rows().rows()) {
            values["rows"] += row.SerializeAsString();
          }
        }
        if (response.has_chunk()) {
          const v1::ActivationChunk& chunk = response.chunk();
          values[absl::StrCat(variant, chunk.place().SerializeAsString())] +=
              chunk.tensor().data();
        }
        return true;
      }));
  std::string reply;
  for (const auto& [place, bytes] : values) absl::StrAppend(&reply, bytes, "|");
  return call.ledger.Compare(absl::StrCat("StreamActivations ", number), reply);
}

absl::Status StreamActivations(const SoakCall& call) {
  return ReadActivations(call, absl::ZeroDuration());
}

absl::Status StreamActivationsToASlowReader(const SoakCall& call) {
  return ReadActivations(call, kMostPause / (1 + Draw(call, 4)));
}

// All positions of a stream, in order.
template <typename Stub, typename Request, typename Response>
absl::Status ComparePositions(const SoakCall& call, const std::string& name,
                              std::unique_ptr<grpc::ClientReader<Response>> (
                                  Stub::*method)(grpc::ClientContext*,
                                                 const Request&),
                              const Request& request) {
  std::string reply;
  RETURN_IF_ERROR(
      call.client.Read(method, request, [&reply](const Response& response) {
        reply += response.position().SerializeAsString();
        return true;
      }));
  return call.ledger.Compare(name, reply);
}

absl::Status ReadLens(const SoakCall& call) {
  const int number = Draw(call, kRequestCount);
  v1::LogitLensRequest request;
  *request.add_variants() = VariantOf(number);
  *request.add_inputs() = PromptOf(number);
  request.add_candidates()->set_token_id(40);
  request.add_candidates()->set_token_id(41);
  request.set_top_k(3);
  return ComparePositions(call, absl::StrCat("LogitLens ", number),
                          &v1::Interpretability::Stub::LogitLens, request);
}

absl::Status Compare(const SoakCall& call) {
  const int number = Draw(call, kRequestCount);
  v1::CompareVariantsRequest request;
  *request.add_variants() = VariantOf(0);
  *request.add_variants() = VariantOf(1 + number % 2);
  *request.add_inputs() = PromptOf(number);
  request.set_top_k(2);
  return ComparePositions(call, absl::StrCat("CompareVariants ", number),
                          &v1::Interpretability::Stub::CompareVariants,
                          request);
}

absl::Status PatchRows(const SoakCall& call) {
  const int number = Draw(call, kRequestCount);
  v1::PatchRequest request;
  *request.mutable_source() = VariantOf(1);
  *request.mutable_target() = VariantOf(0);
  *request.add_inputs() = PromptOf(number);
  request.add_sites(v1::SITE_RESID_POST);
  request.add_candidates()->set_token_id(40);
  request.add_candidates()->set_token_id(41);
  ASSIGN_OR_RETURN(
      const v1::PatchResponse response,
      call.client.Call(&v1::Interpretability::Stub::Patch, request));
  std::string reply;
  for (const v1::PatchResult& result : response.results()) {
    reply += result.SerializeAsString();
  }
  return call.ledger.Compare(absl::StrCat("Patch ", number), reply);
}

}  // namespace

std::vector<CallKind> ComputeCallKinds() {
  return {{"Score", ScorePrompts, 8},
          {"Generate", GenerateSamples, 4},
          {"Generate, cancelled", GenerateAndCancel, 4},
          {"Generate, slow reader", GenerateForASlowReader, 1},
          {"StreamActivations", StreamActivations, 4},
          {"StreamActivations, slow reader", StreamActivationsToASlowReader, 1},
          {"LogitLens", ReadLens, 4},
          {"CompareVariants", Compare, 4},
          {"Patch", PatchRows, 2}};
}

}  // namespace dissonance
