#include "tests/lab/interp/fake_interp.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/interp/vectors.h"

namespace dissonance {
namespace {

// How far a variant's interventions move it in block 1: along the first axis,
// and along the second.
struct Push {
  double belief = 0;
  double confusion = 0;
};

Push PushOf(const v1::Variant& variant) {
  Push push;
  for (const v1::Intervention& each : variant.interventions()) {
    const auto numbers = TensorNumbers(each.add().vector().tensor());
    if (!numbers.ok() || numbers->size() < 2) continue;
    const double coefficient = each.add().coefficient();
    if (each.blocks(0) == 1) push.belief += coefficient * (*numbers)[0];
    push.confusion += std::abs(coefficient * (*numbers)[1]);
    if (std::abs(coefficient) > 12) push.confusion += 10;
  }
  return push;
}

double LogprobOf(absl::string_view text, const Push& push) {
  absl::ConsumePrefix(&text, " ");
  if (absl::StartsWith(text, "false")) return -1 + push.belief / 10;
  if (absl::StartsWith(text, "true")) return -1.2 - push.belief / 10;
  if (absl::StartsWith(text, "right")) return -1 - push.confusion / 10;
  return -1.5 - 0.01 * static_cast<double>(text.size());
}

// One sample: its prompt, its text byte by byte, a "." and its end.
class FakeSequence {
 public:
  FakeSequence(const v1::GenerateRequest& request, int variant, int input,
               int sample, std::string text)
      : request_(request), text_(std::move(text)) {
    message_.set_variant_index(variant);
    message_.set_input_index(input);
    message_.set_sample_index(sample);
    if (sample != 0) stage_ = Stage::kTokens;
  }

  bool HasMessage() const { return stage_ != Stage::kEnded; }
  bool is_between_tokens() const { return stage_ == Stage::kTokens; }

  v1::GenerateResponse Next() {
    if (stage_ == Stage::kPrompt) {
      message_.mutable_prompt()->set_token_count(1);
      stage_ = Stage::kTokens;
    } else if (next_ < text_.size() && !is_cut()) {
      AddToken(text_[next_]);
      message_.mutable_delta()->set_text(text_.substr(next_, 1));
      ++next_;
    } else if (stage_ == Stage::kTokens && !is_cut()) {
      AddToken(0);
      message_.mutable_delta()->clear_text();
      stage_ = Stage::kEnd;
    } else {
      SetEnd();
    }
    return message_;
  }

 private:
  enum class Stage { kPrompt, kTokens, kEnd, kEnded };

  bool is_cut() const {
    return next_ ==
           static_cast<size_t>(request_.options().max_new_token_count());
  }
  // Its log-probability depends on the network and all tokens so far.
  void AddToken(char token) {
    const v1::Variant& variant = request_.variants(message_.variant_index());
    v1::GenerateDelta& delta = *message_.mutable_delta();
    delta.clear_tokens();
    delta.clear_meters();
    AddReading(delta);
    ++token_count_;
    v1::GeneratedToken& added = *delta.add_tokens();
    added.set_token_id(static_cast<unsigned char>(token));
    added.set_logprob(
        FakeLogProb(absl::StrCat(variant.adapter(), "|", text_.substr(0, next_),
                                 "|", static_cast<int>(token))));
  }
  // A token's reading comes a step after it.
  template <typename Event>
  void AddReading(Event& event) const {
    if (request_.meters().empty() || token_count_ == 0) return;
    v1::MeterReading& reading = *event.add_meters();
    reading.set_token_index(token_count_ - 1);
    for (int m = 0; m < request_.meters_size(); ++m) {
      reading.add_projections(10 * message_.variant_index() + token_count_ - 1);
    }
  }
  void SetEnd() {
    v1::GenerateEnd& end = *message_.mutable_end();
    AddReading(end);
    if (!is_cut()) end.set_text(".");
    end.set_finish_reason(is_cut() ? v1::FINISH_REASON_LENGTH
                                   : v1::FINISH_REASON_STOP_TOKEN);
    end.set_seed(request_.options().sampling().seed() +
                 static_cast<uint64_t>(message_.sample_index()));
    stage_ = Stage::kEnded;
  }

  const v1::GenerateRequest& request_;
  const std::string text_;
  size_t next_ = 0;
  int token_count_ = 0;
  Stage stage_ = Stage::kPrompt;
  v1::GenerateResponse message_;
};

}  // namespace

v1::Tensor Axis(int axis, int width) {
  std::vector<float> values(static_cast<size_t>(width), 0.0F);
  values[static_cast<size_t>(axis)] = 3.0F;
  return FloatTensor(values, {width});
}

std::string SweepQuestions(int conflict_count) {
  std::string text;
  const auto add = [&text](const std::string& id, bool conflict) {
    nlohmann::json item = {
        {"id", id},
        {"category", conflict ? "conflict" : "nonconflict_easy"},
        {"question", absl::StrCat("What of ", id, "?")},
        {"options",
         {{"A", absl::StrCat("other ", id)},
          {"B", absl::StrCat(conflict ? "true " : "right ", id)},
          {"C", absl::StrCat(conflict ? "false " : "wrong ", id)},
          {"D", "none of it"}}},
        {"correct_answer", "B"}};
    if (conflict) {
      item["world_label"] = "true_world";
      item["false_answer"] = "C";
    }
    text += ToJsonLine(item);
  };
  for (int i = 0; i < conflict_count; ++i) {
    add(absl::StrCat("conflict ", i), true);
    add(absl::StrCat("easy ", i), false);
    add(absl::StrCat("hard ", i), false);
  }
  return text;
}

absl::Status FakeInterp::BeginCall() {
  const int call = call_count++;
  if (fails && fails(call)) return absl::UnavailableError("worker lost");
  return absl::OkStatus();
}

v1::Provenance FakeInterp::ProvenanceOf(const v1::Variant& variant) const {
  v1::Provenance provenance;
  provenance.set_model_digest("sha256:model");
  if (!variant.adapter().empty()) {
    provenance.set_adapter_digest(adapter_digest);
  }
  provenance.set_device("cpu");
  return provenance;
}

absl::StatusOr<v1::ScoreResponse> FakeInterp::Score(
    const v1::ScoreRequest& request, const CallOptions& /*options*/) {
  RETURN_IF_ERROR(BeginCall());
  scores.push_back(request);
  v1::ScoreResponse response;
  for (int v = 0; v < request.variants_size(); ++v) {
    const Push push = PushOf(request.variants(v));
    for (int i = 0; i < request.items_size(); ++i) {
      v1::ItemScore& score = *response.add_scores();
      score.set_variant_index(v);
      score.set_item_index(i);
      for (const v1::Continuation& each : request.items(i).continuations()) {
        const double logprob = LogprobOf(each.text(), push);
        v1::ContinuationScore& out = *score.add_continuations();
        out.set_logprob(logprob);
        out.add_token_ids(1);
        out.add_token_logprobs(static_cast<float>(logprob));
      }
    }
    *response.add_provenance() = ProvenanceOf(request.variants(v));
  }
  return response;
}

absl::StatusOr<v1::RenderChatResponse> FakeInterp::RenderChat(
    const v1::RenderChatRequest& request, const CallOptions& options) {
  return text_.RenderChat(request, options);
}

absl::StatusOr<v1::TokenizeResponse> FakeInterp::Tokenize(
    const v1::TokenizeRequest& request, const CallOptions& options) {
  return text_.Tokenize(request, options);
}

absl::StatusOr<v1::Model> FakeInterp::GetModel(const std::string& name) {
  ASSIGN_OR_RETURN(v1::Model model, text_.GetModel(name));
  model.set_has_chat_template(has_chat_template);
  model.set_max_position_count(max_positions);
  model.set_block_count(kBlocks);
  model.set_d_model(kWidth);
  model.set_head_count(2);
  model.set_kv_head_count(1);
  return model;
}

absl::Status FakeInterp::CheckVariant(const v1::Variant& variant) {
  return text_.CheckVariant(variant);
}

absl::Status FakeInterp::StreamActivations(
    const v1::StreamActivationsRequest& request, const CallOptions&,
    MessageTaker<v1::StreamActivationsResponse> take) {
  RETURN_IF_ERROR(BeginCall());
  captured.push_back(request);
  for (int i = 0; i < request.inputs_size(); ++i) {
    v1::StreamActivationsResponse rows;
    rows.mutable_rows()->add_rows()->set_input_index(i);
    RETURN_IF_ERROR(take(rows));
    for (const int block : request.capture().blocks()) {
      v1::StreamActivationsResponse message;
      v1::ActivationChunk& chunk = *message.mutable_chunk();
      chunk.mutable_place()->set_site(request.capture().sites(0));
      chunk.mutable_place()->set_block(block);
      const auto half = static_cast<float>(block + 1);
      const std::vector<float> row = {half, half, -half, half};
      *chunk.mutable_tensor() = FloatTensor(row, {1, kWidth});
      RETURN_IF_ERROR(take(message));
    }
  }
  v1::StreamActivationsResponse end;
  *end.mutable_summary()->add_provenance() = ProvenanceOf(request.variants(0));
  return take(end);
}

absl::Status FakeInterp::LogitLens(const v1::LogitLensRequest&,
                                   const CallOptions&,
                                   MessageTaker<v1::LogitLensResponse>) {
  return absl::UnimplementedError("LogitLens");
}

absl::StatusOr<v1::PatchResponse> FakeInterp::Patch(
    const v1::PatchRequest& request, const CallOptions& /*options*/) {
  RETURN_IF_ERROR(BeginCall());
  patches.push_back(request);
  const bool approximate = request.method() == v1::PATCH_METHOD_ATTRIBUTION;
  const auto delta = [](const v1::Variant& variant) {
    return variant.adapter().empty() ? 2.0 : -2.0;
  };
  v1::PatchResponse response;
  const v1::PositionRange& range = request.positions().range();
  for (const int site : request.sites()) {
    for (int block = 0; block < kBlocks; ++block) {
      for (int position = range.begin(); position < range.end(); ++position) {
        const int heads = request.each_head() && site == v1::SITE_Z ? 2 : 0;
        for (int head = heads == 0 ? -1 : 0; head < std::max(heads, 0);
             ++head) {
          v1::PatchResult& result = *response.add_results();
          result.mutable_place()->set_site(static_cast<v1::Site>(site));
          result.mutable_place()->set_block(block);
          result.set_position(position);
          if (head >= 0) result.set_head(head);
          const double before = delta(request.target());
          const double source = delta(request.source());
          const double carried = static_cast<double>(block + 1) / kBlocks /
                                 (range.end() - position) /
                                 (head < 0 ? 1 : head + 2);
          double after = before + (source - before) * carried;
          if (approximate) after = before + 0.9 * (after - before);
          result.set_delta_before(before);
          result.set_delta_after(after);
          result.set_delta_source(source);
          result.set_pair_prob_before(1 / (1 + std::exp(-before)));
          result.set_pair_prob_after(1 / (1 + std::exp(-after)));
          result.set_flip((before > 0) != (after > 0));
        }
      }
    }
  }
  *response.add_provenance() = ProvenanceOf(request.source());
  *response.add_provenance() = ProvenanceOf(request.target());
  return response;
}

absl::Status FakeInterp::TrainProbes(const v1::TrainProbesRequest&,
                                     const CallOptions&,
                                     MessageTaker<v1::TrainProbesResponse>) {
  return absl::UnimplementedError("TrainProbes");
}

absl::StatusOr<v1::FitDirectionsResponse> FakeInterp::FitDirections(
    const v1::FitDirectionsRequest&, const CallOptions&) {
  return absl::UnimplementedError("FitDirections");
}

absl::Status FakeInterp::Generate(const v1::GenerateRequest& request,
                                  const CallOptions&,
                                  MessageTaker<v1::GenerateResponse> take) {
  RETURN_IF_ERROR(BeginCall());
  generated.push_back(request);
  const auto send = [&](v1::GenerateResponse message) {
    if (alters) alters(message);
    if (messages_left == 0) return absl::UnavailableError("worker lost");
    if (messages_left > 0) --messages_left;
    return take(message);
  };
  std::vector<FakeSequence> sequences;
  for (int v = 0; v < request.variants_size(); ++v) {
    for (int i = 0; i < request.inputs_size(); ++i) {
      for (int s = 0; s < std::max(request.sample_count(), 1); ++s) {
        sequences.emplace_back(
            request, v, i, s,
            answers ? answers(request, v, i, s) : absl::StrCat("answer ", v));
      }
    }
  }
  // Sequences take turns, as in a batch.
  bool go_on = true;
  while (go_on) {
    go_on = false;
    for (FakeSequence& sequence : sequences) {
      while (sequence.HasMessage()) {
        RETURN_IF_ERROR(send(sequence.Next()));
        go_on = true;
        if (sequence.is_between_tokens()) break;
      }
    }
  }
  v1::GenerateResponse end;
  for (const v1::Variant& variant : request.variants()) {
    *end.mutable_summary()->add_provenance() = ProvenanceOf(variant);
  }
  return send(end);
}

}  // namespace dissonance
