#include "server/worker/generate_call.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "src/base/status_macros.h"
#include "src/compute/text/text_stream.h"

namespace dissonance {
namespace {

v1::FinishReason ToMessage(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength:
      return v1::FINISH_REASON_LENGTH;
    case FinishReason::kStopToken:
      return v1::FINISH_REASON_STOP_TOKEN;
    case FinishReason::kListener:
      return v1::FINISH_REASON_STOP_STRING;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

void FillToken(const GeneratedToken& token, v1::GeneratedToken& out) {
  out.set_token_id(token.token);
  out.set_logprob(token.logprob);
  for (const auto& [id, logprob] : token.top) {
    v1::TokenLogprob& top = *out.add_top();
    top.set_token_id(id);
    top.set_logprob(logprob);
  }
}

void FillReading(const Meters::Reading& reading, int64_t token_index,
                 v1::MeterReading& out) {
  out.set_token_index(static_cast<int32_t>(token_index));
  out.mutable_projections()->Add(reading.projections.begin(),
                                 reading.projections.end());
}

}  // namespace

// Turns one sample's tokens into events.
class GenerateCall::Sample final : public GenerateListener {
 public:
  // Borrows the call, which lives until its samples have left.
  Sample(GenerateCall& call, SamplePlace place, GenerateTask task)
      : call_(call), place_(place), task_(std::move(task)) {
    const Tokenizer* tokenizer = call.plan_.TokenizerFor(place);
    if (tokenizer == nullptr) return;
    const auto& stops = call.plan_.request->options().stop_strings();
    text_.emplace(*tokenizer, task_.prompt,
                  std::vector<std::string>(stops.begin(), stops.end()));
  }

  const GenerateTask& task() const { return task_; }

  bool ready() const override { return call_.has_room(); }

  void OnPromptToken(GeneratedToken token) override {
    FillToken(token, *prompt_.add_tokens());
  }

  void OnCaptured(CapturedRows rows) override {
    const auto prompt = static_cast<int64_t>(task_.prompt.size());
    for (const Meters::Reading& own :
         call_.plan_.meters[place_.variant]->Read(rows)) {
      if (own.position < prompt) {
        FillReading(own, own.position, *prompt_.add_meters());
      } else {
        FillReading(own, own.position - prompt, *unsent_.add_meters());
      }
    }
  }

  bool OnToken(GeneratedToken token) override {
    if (token_count_++ == 0) {
      SendPrompt();
      call_.AddOthers(place_);
    }
    v1::GenerateResponse event = NewEvent();
    v1::GenerateDelta& delta = *event.mutable_delta();
    FillToken(token, *delta.add_tokens());
    delta.mutable_meters()->Swap(unsent_.mutable_meters());
    bool goes_on = true;
    if (text_.has_value() &&
        !absl::c_linear_search(task_.stop_tokens, token.token)) {
      absl::StatusOr<TextStream::Piece> piece = text_->Add(token.token);
      if (!piece.ok()) {
        call_.group_.Fail(piece.status());
        return false;
      }
      delta.set_text(std::move(piece->text));
      goes_on = !piece->has_stopped;
    }
    call_.Send(std::move(event));
    return goes_on;
  }

  void OnEnd(absl::StatusOr<FinishReason> reason) override {
    call_.generated_tokens_ += token_count_;
    if (reason.ok()) {
      SendEnd(*reason);
    } else {
      call_.group_.Fail(Annotate(reason.status(), call_.plan_.LabelOf(place_)));
    }
    call_.group_.Leave();
  }

 private:
  v1::GenerateResponse NewEvent() const {
    v1::GenerateResponse event;
    event.set_variant_index(place_.variant);
    event.set_input_index(place_.input);
    event.set_sample_index(place_.sample);
    return event;
  }

  void SendPrompt() {
    if (place_.sample != 0) return;
    v1::GenerateResponse event = NewEvent();
    v1::GeneratePrompt& prompt = *event.mutable_prompt();
    prompt.set_token_count(static_cast<int32_t>(task_.prompt.size()));
    if (call_.plan_.request->echo()) {
      // The first token has nothing before it.
      prompt.add_tokens()->set_token_id(task_.prompt.front());
      for (v1::GeneratedToken& token : *prompt_.mutable_tokens()) {
        prompt.add_tokens()->Swap(&token);
      }
      prompt.mutable_meters()->Swap(prompt_.mutable_meters());
      prompt_.Clear();
      const Tokenizer* tokenizer = call_.plan_.TokenizerFor(place_);
      if (tokenizer != nullptr) {
        prompt.set_text(tokenizer->Decode(task_.prompt, true).value_or(""));
      }
    }
    call_.Send(std::move(event));
  }

  void SendEnd(FinishReason reason) {
    v1::GenerateResponse event = NewEvent();
    v1::GenerateEnd& end = *event.mutable_end();
    if (text_.has_value() && reason != FinishReason::kListener) {
      end.set_text(text_->Finish().value_or(""));
    }
    end.set_finish_reason(ToMessage(reason));
    end.set_token_count(static_cast<int32_t>(token_count_));
    end.set_seed(task_.sampling.seed);
    end.mutable_meters()->Swap(unsent_.mutable_meters());
    call_.Send(std::move(event));
  }

  GenerateCall& call_;
  const SamplePlace place_;
  const GenerateTask task_;
  std::optional<TextStream> text_;  // none without a tokenizer
  v1::GeneratePrompt prompt_;       // its tokens and readings so far
  v1::GenerateDelta unsent_;        // readings that go with the next event
  int64_t token_count_ = 0;
};

GenerateCall::GenerateCall(Engine& engine, GeneratePlan plan, Priority priority)
    : StreamCall(engine),
      engine_(engine),
      plan_(std::move(plan)),
      priority_(priority),
      group_(engine, [this](const absl::Status& status) { Conclude(status); }) {
}

void GenerateCall::Start() {
  for (int v = 0; v < static_cast<int>(plan_.variants.size()); ++v) {
    for (int i = 0; i < plan_.request->inputs_size(); ++i) {
      Add({.variant = v, .input = i, .sample = 0});
    }
  }
  group_.Leave();
}

void GenerateCall::Add(const SamplePlace& place) {
  group_.Add([this, place]() -> absl::StatusOr<std::vector<int64_t>> {
    auto sample = std::make_shared<Sample>(*this, place, plan_.TaskOf(place));
    const absl::StatusOr<int64_t> number =
        engine_.SubmitGenerate(plan_.variants[place.variant].ForEngine(),
                               sample->task(), sample, priority_);
    if (!number.ok()) return Annotate(number.status(), plan_.LabelOf(place));
    return std::vector<int64_t>{*number};
  });
}

void GenerateCall::AddOthers(const SamplePlace& first) {
  if (first.sample != 0) return;
  for (int s = 1; s < plan_.sample_count; ++s) {
    Add({.variant = first.variant, .input = first.input, .sample = s});
  }
}

void GenerateCall::OnCancel() {
  group_.Fail(
      absl::CancelledError("the client went away or its deadline passed"));
}

void GenerateCall::Conclude(const absl::Status& status) {
  if (status.ok()) {
    v1::GenerateResponse event;
    v1::GenerateSummary& summary = *event.mutable_summary();
    const std::string digest = MessageDigest(*plan_.request);
    const v1::Sampling& sampling = plan_.request->options().sampling();
    for (size_t v = 0; v < plan_.variants.size(); ++v) {
      *summary.add_provenance() = ProvenanceOf(
          plan_.variants[v], digest,
          sampling.temperature() > 0 ? sampling.seed() : 0, engine_.options());
      int64_t tokens = summary.prompt_token_count();
      for (const EncodedPrompt& prompt : *plan_.prompts[v]) {
        tokens += static_cast<int64_t>(prompt.tokens.size());
      }
      summary.set_prompt_token_count(tokens);
    }
    summary.set_generated_token_count(generated_tokens_);
    Send(std::move(event));
  }
  End(status);
}

}  // namespace dissonance
