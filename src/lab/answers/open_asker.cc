#include "src/lab/answers/open_asker.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

// Sequences of a call: fill the worker's batch, and are few enough that little
// is computed again after a crash.
constexpr int kSequencesPerCall = 64;
// More than a chat template adds to a conversation.
constexpr int64_t kTemplateTokens = 1024;

int64_t BytesOf(const v1::Input& input) {
  size_t bytes = input.text().size();
  for (const v1::ChatMessage& message : input.chat().messages()) {
    bytes += message.content().size();
  }
  return static_cast<int64_t>(bytes);
}

// "length", "stop_token", ...
std::string WordOf(v1::FinishReason reason) {
  const std::string name = v1::FinishReason_Name(reason);
  return absl::AsciiStrToLower(absl::StripPrefix(name, "FINISH_REASON_"));
}

absl::Status Malformed(absl::string_view what) {
  return absl::InternalError(absl::StrCat(
      "Generate: ", what, "; are server and worker of the same version?"));
}

// Puts a stream together.
class Collector {
 public:
  explicit Collector(const v1::GenerateRequest& request)
      : request_(request),
        samples_(std::max(request.sample_count(), 1)),
        answers_(static_cast<size_t>(request.inputs_size()) *
                 static_cast<size_t>(request.variants_size() * samples_)) {}

  absl::Status Take(const v1::GenerateResponse& message) {
    if (message.has_summary()) {
      provenance_.assign(message.summary().provenance().begin(),
                         message.summary().provenance().end());
      return absl::OkStatus();
    }
    if (!IsIn(message.input_index(), request_.inputs_size()) ||
        !IsIn(message.variant_index(), request_.variants_size()) ||
        !IsIn(message.sample_index(), samples_)) {
      return Malformed("tokens came back of no sample that was asked for");
    }
    OpenAnswer& answer = At(message.input_index(), message.variant_index(),
                            message.sample_index());
    for (const v1::GeneratedToken& token : message.delta().tokens()) {
      if (!std::isfinite(token.logprob())) {
        return absl::OutOfRangeError(absl::StrCat(
            "question ", request_.inputs(message.input_index()).id(),
            ": the log-probability of token ", answer.token_ids.size(), " is ",
            token.logprob(), ", not a finite number"));
      }
      answer.token_ids.push_back(token.token_id());
      answer.token_logprobs.push_back(token.logprob());
    }
    absl::StrAppend(&answer.text, message.delta().text(), message.end().text());
    if (message.has_end()) {
      answer.finish_reason = WordOf(message.end().finish_reason());
      answer.seed = message.end().seed();
    }
    return absl::OkStatus();
  }

  // Adds all answers to the records, one of which belongs to each input. Call
  // once, when the stream has ended.
  absl::Status Finish(OpenReplies& replies) {
    if (std::ssize(provenance_) != request_.variants_size()) {
      return Malformed("the stream has no end");
    }
    for (int i = 0; i < request_.inputs_size(); ++i) {
      OpenRecord& record = replies.records[static_cast<size_t>(i)];
      record.answers.resize(static_cast<size_t>(request_.variants_size()));
      for (int v = 0; v < request_.variants_size(); ++v) {
        for (int s = 0; s < samples_; ++s) {
          OpenAnswer& answer = At(i, v, s);
          if (answer.finish_reason.empty() || answer.token_ids.empty()) {
            return Malformed(absl::StrCat("no end came back of an answer to ",
                                          "question ", record.id));
          }
          record.answers[static_cast<size_t>(v)].push_back(std::move(answer));
        }
      }
    }
    replies.provenance.push_back(std::move(provenance_));
    return absl::OkStatus();
  }

 private:
  static bool IsIn(int index, int count) { return index >= 0 && index < count; }

  OpenAnswer& At(int input, int variant, int sample) {
    return answers_[static_cast<size_t>(
        (input * request_.variants_size() + variant) * samples_ + sample)];
  }

  const v1::GenerateRequest& request_;
  const int samples_;
  std::vector<OpenAnswer> answers_;  // by input, variant, sample
  std::vector<v1::Provenance> provenance_;
};

}  // namespace

absl::StatusOr<std::string> OpenAsker::ReadModel() {
  const std::string& name = plan_.variants.front().model();
  ASSIGN_OR_RETURN(const v1::Model model, compute_.GetModel(name));
  max_positions_ = model.max_position_count();
  format_.chat = model.has_chat_template();
  return format_.chat ? std::string() : name;
}

v1::Input OpenAsker::InputOf(size_t question) const {
  return OpenPromptInput(plan_.questions[question], plan_.mode, format_);
}

absl::StatusOr<int64_t> OpenAsker::PromptTokenCount(const v1::Input& input) {
  const std::string& model = plan_.variants.front().model();
  if (input.has_text()) {
    v1::TokenizeRequest request;
    request.set_model(model);
    request.set_text(input.text());
    ASSIGN_OR_RETURN(const v1::TokenizeResponse response,
                     compute_.Tokenize(request, call_));
    return response.ids_size();
  }
  v1::RenderChatRequest request;
  request.set_model(model);
  *request.mutable_chat() = input.chat();
  ASSIGN_OR_RETURN(const v1::RenderChatResponse response,
                   compute_.RenderChat(request, call_));
  return response.ids_size();
}

absl::Status OpenAsker::CheckLengths(size_t first) {
  for (size_t q = first; q < plan_.questions.size(); ++q) {
    const v1::Input input = InputOf(q);
    // A token has a byte or more. Where that does not settle it, the prompt's
    // tokens do.
    if (BytesOf(input) + kTemplateTokens + plan_.max_new_tokens <=
        max_positions_) {
      continue;
    }
    const std::string where = absl::StrCat("question ", plan_.questions[q].id);
    const absl::StatusOr<int64_t> count = PromptTokenCount(input);
    RETURN_IF_ERROR(Annotate(count.status(), where));
    if (*count + plan_.max_new_tokens <= max_positions_) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": its prompt of ", *count, " tokens and an answer of up to ",
        plan_.max_new_tokens, " do not fit the model's ", max_positions_,
        " positions; shorten the question or lower max_new_tokens"));
  }
  return absl::OkStatus();
}

absl::StatusOr<OpenReplies> OpenAsker::Ask(size_t first) {
  const int rows =
      std::max(kSequencesPerCall / static_cast<int>(plan_.variants.size()), 1);
  const size_t questions =
      plan_.greedy()
          ? std::min(static_cast<size_t>(rows), plan_.questions.size() - first)
          : 1;
  OpenReplies replies;
  v1::GenerateRequest request;
  request.mutable_variants()->Add(plan_.variants.begin(), plan_.variants.end());
  request.mutable_options()->set_max_new_token_count(plan_.max_new_tokens);
  for (size_t q = first; q < first + questions; ++q) {
    *request.add_inputs() = InputOf(q);
    replies.records.push_back({.id = plan_.questions[q].id, .answers = {}});
  }
  for (int s = 0; s < plan_.sample_count; s += rows) {
    request.set_sample_count(std::min(rows, plan_.sample_count - s));
    if (!plan_.greedy()) {
      v1::Sampling& sampling = *request.mutable_options()->mutable_sampling();
      sampling.set_temperature(plan_.temperature);
      sampling.set_top_p(plan_.top_p);
      // Sample i of a call has the call's seed + i.
      sampling.set_seed(OpenSeed(plan_.seed, first, s));
    }
    Collector collector(request);
    RETURN_IF_ERROR(compute_.Generate(
        request, call_, [&collector](const v1::GenerateResponse& message) {
          return collector.Take(message);
        }));
    RETURN_IF_ERROR(collector.Finish(replies));
  }
  return replies;
}

}  // namespace dissonance
