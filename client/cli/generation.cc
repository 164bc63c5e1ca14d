#include "client/cli/generation.h"

#include <cmath>
#include <utility>

#include "client/cli/proto_json.h"

namespace dissonance::cli {
namespace {

using Json = nlohmann::json;

// Adds tokens and logprobs to `out`. The prompt's first token has none.
template <typename Tokens>
void AddTokens(const Tokens& tokens, Json& out) {
  Json ids = Json::array();
  Json logprobs = Json::array();
  for (const v1::GeneratedToken& token : tokens) {
    ids.push_back(token.token_id());
    logprobs.push_back(token.has_logprob() ? Json(token.logprob()) : Json());
  }
  out["tokens"] = std::move(ids);
  out["logprobs"] = std::move(logprobs);
}

Json TopLogprobs(const v1::GeneratedToken& token) {
  Json out = Json::array();
  for (const v1::TokenLogprob& top : token.top()) {
    out.push_back({{"token", top.token_id()}, {"logprob", top.logprob()}});
  }
  return out;
}

Json ProjectionsJson(const Projections& projections, size_t token_count,
                     const std::vector<std::string>& meters) {
  Json out = Json::object();
  for (size_t m = 0; m < meters.size(); ++m) {
    Json& own = out[meters[m]] = Json::array();
    for (size_t token = 0; token < token_count; ++token) {
      const bool has = token < projections.size() &&
                       m < projections[token].size() &&
                       std::isfinite(projections[token][m]);
      own.push_back(has ? Json(projections[token][m]) : Json());
    }
  }
  return out;
}

// Of these tokens; what is said of others has no meaning.
template <typename Readings>
void AddReadings(const Readings& readings, size_t token_count,
                 Projections& projections) {
  projections.resize(token_count);
  for (const v1::MeterReading& reading : readings) {
    const auto index = static_cast<size_t>(reading.token_index());
    if (index >= token_count) continue;
    projections[index] = {reading.projections().begin(),
                          reading.projections().end()};
  }
}

Json SampleJson(const GeneratedSample& sample,
                const std::vector<std::string>& meters) {
  Json out = {
      {"text", sample.text}, {"finish_reason", nullptr}, {"seed", nullptr}};
  if (sample.end.has_value()) {
    out["finish_reason"] = EnumWord(sample.end->finish_reason());
    out["seed"] = sample.end->seed();
  }
  AddTokens(sample.tokens, out);
  if (!meters.empty()) {
    out["projections"] =
        ProjectionsJson(sample.projections, sample.tokens.size(), meters);
  }
  if (sample.tokens.empty() || sample.tokens.front().top().empty()) return out;
  Json& top = out["top_logprobs"] = Json::array();
  for (const v1::GeneratedToken& token : sample.tokens) {
    top.push_back(TopLogprobs(token));
  }
  return out;
}

bool IsIn(int index, int count) { return index >= 0 && index < count; }

}  // namespace

Generations::Generations(const Counts& counts)
    : counts_(counts),
      all_(static_cast<size_t>(counts.variants) *
           static_cast<size_t>(counts.inputs)) {
  for (Generation& each : all_) {
    each.samples.resize(static_cast<size_t>(counts.samples));
  }
}

absl::Status Generations::Add(const v1::GenerateResponse& event) {
  has_begun_ = true;
  if (event.has_summary()) {
    is_complete_ = true;
    return absl::OkStatus();
  }
  if (!IsIn(event.variant_index(), counts_.variants) ||
      !IsIn(event.input_index(), counts_.inputs) ||
      !IsIn(event.sample_index(), counts_.samples)) {
    return absl::InternalError(
        "the server's answer does not match what was asked for; are client and "
        "server of the same version?");
  }
  Generation& generation =
      all_[IndexOf(event.variant_index(), event.input_index())];
  GeneratedSample& sample =
      generation.samples[static_cast<size_t>(event.sample_index())];
  switch (event.event_case()) {
    case v1::GenerateResponse::kPrompt:
      generation.prompt = event.prompt();
      prompt_token_count_ += event.prompt().token_count();
      break;
    case v1::GenerateResponse::kDelta:
      sample.text += event.delta().text();
      sample.tokens.insert(sample.tokens.end(), event.delta().tokens().begin(),
                           event.delta().tokens().end());
      sample.text_ends.resize(sample.tokens.size(), sample.text.size());
      AddReadings(event.delta().meters(), sample.tokens.size(),
                  sample.projections);
      generated_token_count_ += event.delta().tokens_size();
      break;
    case v1::GenerateResponse::kEnd:
      sample.text += event.end().text();
      sample.end = event.end();
      AddReadings(event.end().meters(), sample.tokens.size(),
                  sample.projections);
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

int64_t Generations::UnusedTokens(int64_t most) const {
  int64_t unused = 0;
  for (const Generation& generation : all_) {
    for (const GeneratedSample& sample : generation.samples) {
      if (sample.end.has_value()) unused += most - sample.end->token_count();
    }
  }
  return unused;
}

nlohmann::json GenerationJson(const Generation& generation,
                              const std::vector<std::string>& meters) {
  Json samples = Json::array();
  size_t generated = 0;
  for (const GeneratedSample& sample : generation.samples) {
    samples.push_back(SampleJson(sample, meters));
    generated += sample.tokens.size();
  }
  const int prompt_tokens = generation.prompt.token_count();
  Json out = {
      {"prompt_tokens", prompt_tokens},
      {"samples", std::move(samples)},
      {"usage",
       {{"prompt_tokens", prompt_tokens}, {"generated_tokens", generated}}}};
  if (!generation.prompt.tokens().empty()) {
    out["prompt"]["text"] = generation.prompt.text();
    AddTokens(generation.prompt.tokens(), out["prompt"]);
    if (!meters.empty()) {
      const auto count = static_cast<size_t>(generation.prompt.tokens_size());
      Projections projections;
      AddReadings(generation.prompt.meters(), count, projections);
      out["prompt"]["projections"] =
          ProjectionsJson(projections, count, meters);
    }
  }
  return out;
}

}  // namespace dissonance::cli
