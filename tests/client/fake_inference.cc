#include "tests/client/fake_inference.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

// Calls `visit` with an event of each sample.
template <typename Visit>
void ForEachSample(const v1::GenerateRequest& request, Visit visit) {
  for (int variant = 0; variant < request.variants_size(); ++variant) {
    for (int input = 0; input < request.inputs_size(); ++input) {
      for (int sample = 0; sample < request.sample_count(); ++sample) {
        v1::GenerateResponse event;
        event.set_variant_index(variant);
        event.set_input_index(input);
        event.set_sample_index(sample);
        visit(event);
      }
    }
  }
}

v1::GeneratePrompt PromptOf(bool echo) {
  v1::GeneratePrompt prompt;
  prompt.set_token_count(3);
  if (!echo) return prompt;
  prompt.set_text("echo");
  prompt.add_tokens()->set_token_id(1);
  v1::GeneratedToken& second = *prompt.add_tokens();
  second.set_token_id(2);
  second.set_logprob(-0.25);
  return prompt;
}

void FillToken(int id, int top_count, v1::GeneratedToken& token) {
  token.set_token_id(id);
  token.set_logprob(-0.5);
  for (int i = 0; i < top_count; ++i) {
    token.add_top()->set_token_id(id + i);
    token.mutable_top(i)->set_logprob(-0.5 - i);
  }
}

}  // namespace

void FakeInference::SetGeneration(FakeGeneration generation) {
  absl::MutexLock lock(&mutex_);
  generation_ = std::move(generation);
}

v1::ScoreRequest FakeInference::last_score() {
  absl::MutexLock lock(&mutex_);
  return last_score_;
}

std::vector<v1::GenerateRequest> FakeInference::generated() {
  absl::MutexLock lock(&mutex_);
  return generated_;
}

grpc::Status FakeInference::Tokenize(grpc::ServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  // A token for each byte.
  if (!request->skip_special_tokens()) {
    response->add_ids(1);
    response->add_pieces("<s>");
  }
  for (const char c : request->text()) {
    response->add_ids(static_cast<unsigned char>(c));
    response->add_pieces(std::string(1, c));
  }
  return grpc::Status::OK;
}

grpc::Status FakeInference::Detokenize(grpc::ServerContext* context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  for (const int32_t id : request->ids()) {
    response->mutable_text()->push_back(static_cast<char>(id));
  }
  return grpc::Status::OK;
}

grpc::Status FakeInference::RenderChat(grpc::ServerContext* context,
                                       const v1::RenderChatRequest* request,
                                       v1::RenderChatResponse* response) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  std::string text;
  for (const v1::ChatMessage& message : request->chat().messages()) {
    absl::StrAppend(&text, "<", message.role(), ">", message.content(), "\n");
  }
  if (request->chat().add_generation_prompt()) text += "<assistant>";
  response->set_text(text);
  response->add_ids(7);
  return grpc::Status::OK;
}

grpc::Status FakeInference::Score(grpc::ServerContext* context,
                                  const v1::ScoreRequest* request,
                                  v1::ScoreResponse* response) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  last_score_ = *request;
  for (int item = 0; item < request->items_size(); ++item) {
    v1::ItemScore& score = *response->add_scores();
    score.set_item_index(item);
    score.set_prompt_token_count(3);
    for (int i = 0; i < request->items(item).continuations_size(); ++i) {
      v1::ContinuationScore& each = *score.add_continuations();
      each.set_logprob(-0.5 - i);
      each.add_token_logprobs(-0.5F - static_cast<float>(i));
      each.add_token_ids(40 + i);
    }
  }
  response->set_computed_token_count(5 * request->items_size());
  return grpc::Status::OK;
}

grpc::Status FakeInference::Generate(
    grpc::ServerContext* context, const v1::GenerateRequest* request,
    grpc::ServerWriter<v1::GenerateResponse>* writer) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  FakeGeneration generation;
  {
    absl::MutexLock lock(&mutex_);
    generated_.push_back(*request);
    generation = generation_;
  }
  ForEachSample(*request, [&](v1::GenerateResponse& event) {
    if (event.sample_index() > 0) return;
    *event.mutable_prompt() = PromptOf(request->echo());
    writer->Write(event);
  });
  const auto token_count = static_cast<int>(generation.pieces.size()) + 1;
  // Of token `at` meter `m` reads at - m.
  const auto read = [&](int at, auto& meters) {
    if (request->meters().empty()) return;
    v1::MeterReading& reading = *meters.Add();
    reading.set_token_index(at);
    for (int m = 0; m < request->meters_size(); ++m) {
      reading.add_projections(at - m);
    }
  };
  // Token by token, so that the samples interleave.
  for (int at = 0; at < token_count; ++at) {
    ForEachSample(*request, [&](v1::GenerateResponse& event) {
      v1::GenerateDelta& delta = *event.mutable_delta();
      FillToken(40 + at, request->top_logprob_count(), *delta.add_tokens());
      delta.set_text(at > 0 ? generation.pieces[at - 1]
                            : absl::StrCat("v", event.variant_index(), " i",
                                           event.input_index(), " s",
                                           event.sample_index(), ":"));
      if (at > 0) read(at - 1, *delta.mutable_meters());
      writer->Write(event);
    });
  }
  if (generation.hang) stopping_.WaitForNotification();
  if (!generation.broken_by.ok()) return generation.broken_by;
  ForEachSample(*request, [&](v1::GenerateResponse& event) {
    v1::GenerateEnd& end = *event.mutable_end();
    read(token_count - 1, *end.mutable_meters());
    end.set_finish_reason(generation.finish_reason);
    end.set_token_count(token_count);
    end.set_seed(request->options().sampling().seed() +
                 static_cast<uint64_t>(event.sample_index()));
    writer->Write(event);
  });
  v1::GenerateResponse last;
  last.mutable_summary();
  writer->Write(last);
  return grpc::Status::OK;
}

}  // namespace dissonance
