#include "server/control/openai_answer.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "src/base/clock.h"
#include "src/base/utf8.h"
#include "src/lab/storage/random_bytes.h"

namespace dissonance {
namespace {

using nlohmann::json;

constexpr size_t kIdBytes = 12;

const char* FinishName(v1::FinishReason reason) {
  return reason == v1::FINISH_REASON_LENGTH ? "length" : "stop";
}

size_t CodePoints(absl::string_view text) {
  return static_cast<size_t>(
      absl::c_count_if(text, [](char byte) { return (byte & 0xC0) != 0x80; }));
}

// A token in JSON, which has text only: a part of a character is written as
// OpenAI writes it.
std::string Label(const v1::TokenText& token) {
  if (token.text().empty()) return token.piece();
  if (!FindInvalidUtf8(token.text()).has_value()) return token.text();
  std::string label = "bytes:";
  for (const char byte : token.text()) {
    absl::StrAppend(&label, "\\x",
                    absl::BytesToHexString(absl::string_view(&byte, 1)));
  }
  return label;
}

json Bytes(const v1::TokenText& token) {
  if (token.text().empty()) return nullptr;
  json bytes = json::array();
  for (const char byte : token.text()) {
    bytes.push_back(static_cast<unsigned char>(byte));
  }
  return bytes;
}

json ChatToken(const v1::TokenText& text, double logprob) {
  return {{"token", Label(text)}, {"bytes", Bytes(text)}, {"logprob", logprob}};
}

json OrNull(const char* text) { return text == nullptr ? json() : json(text); }

}  // namespace

OpenAiAnswer::OpenAiAnswer(const OpenAiRequest& request)
    : request_(request),
      id_(absl::StrCat(request.is_chat ? "chatcmpl-" : "cmpl-",
                       absl::BytesToHexString(RandomBytes(kIdBytes)))),
      created_(absl::ToUnixSeconds(Clock::Real().Now())) {}

std::set<int32_t> OpenAiAnswer::UnknownTokens(
    const v1::GenerateResponse& event) const {
  std::set<int32_t> ids;
  if (!request_.wants_logprobs) return ids;
  const auto note = [&](int32_t id) {
    if (!texts_.contains(id)) ids.insert(id);
  };
  for (const auto* tokens :
       {&event.prompt().tokens(), &event.delta().tokens()}) {
    for (const v1::GeneratedToken& token : *tokens) {
      note(token.token_id());
      for (const v1::TokenLogprob& top : token.top()) note(top.token_id());
    }
  }
  return ids;
}

void OpenAiAnswer::LearnTokens(const std::set<int32_t>& ids,
                               const v1::DetokenizeResponse& texts) {
  int next = 0;
  for (const int32_t id : ids) {
    texts_[id] =
        next < texts.tokens_size() ? texts.tokens(next++) : v1::TokenText();
  }
}

// The prompt as it was sent; of token ids, their text.
std::string OpenAiAnswer::EchoOf(const v1::GenerateResponse& event) const {
  if (!request_.generate.echo()) return "";
  const v1::Input& input = request_.generate.inputs(event.input_index());
  return input.has_text() ? input.text() : event.prompt().text();
}

void OpenAiAnswer::AddEntry(const v1::GeneratedToken& token, size_t size,
                            Choice& choice, Piece& piece) const {
  piece.entries.push_back({.text = &texts_.at(token.token_id()),
                           .token = token,
                           .offset = choice.end});
  choice.end += size;
}

void OpenAiAnswer::AddPrompt(const v1::GeneratePrompt& prompt,
                             absl::string_view text, Choice& choice,
                             Piece& piece) const {
  piece.text = std::string(text);
  if (!request_.wants_logprobs) return;
  for (const v1::GeneratedToken& token : prompt.tokens()) {
    const v1::TokenText& own = texts_.at(token.token_id());
    // A special token is in the text only if it was sent there, and tokenizers
    // put a space before a text that the text does not have.
    absl::string_view part = own.text();
    if (part.empty() && absl::StartsWith(text, own.piece())) part = own.piece();
    if (!absl::StartsWith(text, part)) absl::ConsumePrefix(&part, " ");
    AddEntry(token, CodePoints(part), choice, piece);
    text.remove_prefix(std::min(text.size(), part.size()));
  }
}

OpenAiAnswer::Piece OpenAiAnswer::PieceOf(const v1::GenerateResponse& event,
                                          Choice& choice) {
  Piece piece;
  if (!choice.has_begun) {
    const auto& [prompt, text] = prompts_[event.input_index()];
    AddPrompt(prompt, text, choice, piece);
  }
  if (event.has_end()) piece.finish = FinishName(event.end().finish_reason());
  if (request_.drops_new_tokens) {
    if (event.has_end()) piece.finish = "length";
    return piece;
  }
  absl::StrAppend(&piece.text, event.delta().text(), event.end().text());
  if (!request_.wants_logprobs) return piece;
  for (const v1::GeneratedToken& token : event.delta().tokens()) {
    AddEntry(token, CodePoints(texts_.at(token.token_id()).text()), choice,
             piece);
  }
  return piece;
}

std::vector<json> OpenAiAnswer::Add(const v1::GenerateResponse& event) {
  if (event.has_prompt()) {
    prompts_[event.input_index()] = {event.prompt(), EchoOf(event)};
    return {};
  }
  if (event.has_summary()) {
    summary_ = event.summary();
    if (!request_.includes_usage) return {};
    json chunk = Head("chat.completion.chunk");
    chunk["choices"] = json::array();
    chunk["usage"] = Usage();
    return {chunk};
  }
  const int index = event.input_index() * request_.generate.sample_count() +
                    event.sample_index();
  Choice& choice = choices_[index];
  const Piece piece = PieceOf(event, choice);
  const bool is_first = !choice.has_begun;
  choice.has_begun = true;
  choice.finish = piece.finish;
  // A stream's client keeps what it wants.
  if (!request_.streams) {
    choice.text += piece.text;
    choice.entries.insert(choice.entries.end(), piece.entries.begin(),
                          piece.entries.end());
    return {};
  }
  if (!is_first && piece.text.empty() && piece.entries.empty() &&
      piece.finish == nullptr) {
    return {};
  }
  return {Chunk(index, piece, is_first)};
}

json OpenAiAnswer::Head(const char* chat_object) const {
  return {{"id", id_},
          {"object", request_.is_chat ? chat_object : "text_completion"},
          {"created", created_},
          {"model", request_.model}};
}

json OpenAiAnswer::Chunk(int index, const Piece& piece, bool is_first) const {
  json choice = {
      {"index", index},
      {"logprobs", piece.entries.empty() ? json() : Logprobs(piece.entries)},
      {"finish_reason", OrNull(piece.finish)}};
  if (request_.is_chat) {
    json& delta = choice["delta"] = json::object();
    if (is_first) delta["role"] = "assistant";
    if (is_first || !piece.text.empty()) delta["content"] = piece.text;
  } else {
    choice["text"] = piece.text;
  }
  json chunk = Head("chat.completion.chunk");
  chunk["choices"] = json::array({std::move(choice)});
  if (request_.includes_usage) chunk["usage"] = nullptr;
  return chunk;
}

json OpenAiAnswer::Whole() const {
  json whole = Head("chat.completion");
  whole["usage"] = Usage();
  json& choices = whole["choices"] = json::array();
  for (const auto& [index, choice] : choices_) {
    json& out = choices.emplace_back();
    out = {{"index", index},
           {"logprobs",
            request_.wants_logprobs ? Logprobs(choice.entries) : json()},
           {"finish_reason", OrNull(choice.finish)}};
    if (request_.is_chat) {
      out["message"] = {{"role", "assistant"},
                        {"content", choice.text},
                        {"refusal", nullptr}};
    } else {
      out["text"] = choice.text;
    }
  }
  return whole;
}

json OpenAiAnswer::Logprobs(const std::vector<Entry>& entries) const {
  if (request_.is_chat) return ChatLogprobs(entries);
  json out = {{"tokens", json::array()},
              {"token_logprobs", json::array()},
              {"top_logprobs", json::array()},
              {"text_offset", json::array()}};
  for (const Entry& entry : entries) {
    const v1::GeneratedToken& token = entry.token;
    out["tokens"].push_back(Label(*entry.text));
    out["text_offset"].push_back(entry.offset);
    if (!token.has_logprob()) {
      out["token_logprobs"].push_back(nullptr);
      out["top_logprobs"].push_back(nullptr);
      continue;
    }
    out["token_logprobs"].push_back(token.logprob());
    // Of several tokens that are written alike, the likeliest. The token
    // itself is there, too, however unlikely.
    json tops = json::object();
    for (const v1::TokenLogprob& top : token.top()) {
      tops.emplace(Label(texts_.at(top.token_id())), top.logprob());
    }
    tops.emplace(Label(*entry.text), token.logprob());
    out["top_logprobs"].push_back(std::move(tops));
  }
  return out;
}

json OpenAiAnswer::ChatLogprobs(const std::vector<Entry>& entries) const {
  json content = json::array();
  for (const Entry& entry : entries) {
    json& token =
        content.emplace_back(ChatToken(*entry.text, entry.token.logprob()));
    json& tops = token["top_logprobs"] = json::array();
    for (const v1::TokenLogprob& top : entry.token.top()) {
      tops.push_back(ChatToken(texts_.at(top.token_id()), top.logprob()));
    }
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

json OpenAiAnswer::Usage() const {
  const int64_t prompt = summary_.prompt_token_count();
  const int64_t made =
      request_.drops_new_tokens ? 0 : summary_.generated_token_count();
  return {{"prompt_tokens", prompt},
          {"completion_tokens", made},
          {"total_tokens", prompt + made}};
}

}  // namespace dissonance
