#include "src/lab/judge/verdict.h"

#include <cmath>
#include <numeric>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostWords = 40;
constexpr double kMostConfidence = 100;

absl::Status Error(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

absl::StatusOr<const Json*> Find(const Json& object, const char* field) {
  const auto at = object.find(field);
  if (at == object.end()) return Error(field, "missing");
  return &*at;
}

absl::StatusOr<World> WorldIn(const Json& object) {
  ASSIGN_OR_RETURN(const Json* value, Find(object, "verdict"));
  if (value->is_string()) {
    std::string word = absl::AsciiStrToLower(
        absl::StripAsciiWhitespace(value->get_ref<const std::string&>()));
    word = absl::StrReplaceAll(word, {{" ", "_"}, {"-", "_"}});
    for (size_t i = 0; i < kWorlds.size(); ++i) {
      if (word == kWorlds.at(i)) return static_cast<World>(i);
    }
  }
  return Error("verdict",
               absl::StrCat("expected one of ", absl::StrJoin(kWorlds, ", ")));
}

absl::StatusOr<double> ConfidenceIn(const Json& object) {
  ASSIGN_OR_RETURN(const Json* value, Find(object, "confidence"));
  if (!value->is_number() || *value < 0 || *value > kMostConfidence) {
    return Error("confidence", "expected a number from 0 to 100");
  }
  const auto confidence = value->get<double>();
  if (confidence > 0 && confidence < 1) {
    return Error("confidence", "expected 0 to 100, found a share of 1");
  }
  return confidence;
}

template <size_t count>
absl::StatusOr<std::array<int, count>> SignalsIn(
    const Json& object, const char* field,
    const std::array<const char*, count>& names) {
  ASSIGN_OR_RETURN(const Json* signals, Find(object, field));
  if (!signals->is_object()) return Error(field, "expected an object");
  std::array<int, count> numbers = {};
  for (size_t i = 0; i < count; ++i) {
    const auto at = signals->find(names.at(i));
    const std::string name = absl::StrCat(field, ".", names.at(i));
    if (at == signals->end()) return Error(name, "missing");
    const double number = at->is_number() ? at->template get<double>() : -1;
    if (number < 0 || number > kMostOfSignal || number != std::floor(number)) {
      return Error(name, "expected a whole number from 0 to 3");
    }
    numbers.at(i) = static_cast<int>(number);
  }
  return numbers;
}

absl::StatusOr<std::string> NotesIn(const Json& object) {
  const auto at = object.find("notes");
  if (at == object.end() || at->is_null()) return "";
  if (!at->is_string()) return Error("notes", "expected a text");
  const std::string notes(absl::StripAsciiWhitespace(at->get<std::string>()));
  std::vector<absl::string_view> words =
      absl::StrSplit(notes, absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty());
  if (words.size() <= kMostWords) return notes;
  words.resize(kMostWords);
  return absl::StrCat(absl::StrJoin(words, " "), " ...");
}

template <size_t count>
Json SignalsJson(const std::array<int, count>& numbers,
                 const std::array<const char*, count>& names) {
  Json signals = Json::object();
  for (size_t i = 0; i < count; ++i) signals[names.at(i)] = numbers.at(i);
  return signals;
}

}  // namespace

int Verdict::doubt_score() const {
  return std::accumulate(doubt.begin(), doubt.end(), 0);
}

int Verdict::difficulty_proxy() const {
  return kMostOfSignal * static_cast<int>(difficulty.size()) -
         std::accumulate(difficulty.begin(), difficulty.end(), 0);
}

absl::StatusOr<Verdict> VerdictIn(const Json& object, bool names_world) {
  Verdict verdict;
  if (names_world) {
    ASSIGN_OR_RETURN(verdict.world, WorldIn(object));
    ASSIGN_OR_RETURN(verdict.confidence, ConfidenceIn(object));
  }
  ASSIGN_OR_RETURN(verdict.doubt,
                   SignalsIn(object, "doubt_signals", kDoubtSignals));
  ASSIGN_OR_RETURN(verdict.difficulty,
                   SignalsIn(object, "difficulty_signals", kDifficultySignals));
  ASSIGN_OR_RETURN(verdict.notes, NotesIn(object));
  return verdict;
}

void AddVerdict(const std::optional<Verdict>& verdict, Json& row) {
  for (const char* field :
       {"verdict", "confidence", "doubt_signals", "difficulty_signals", "notes",
        "doubt_score", "difficulty_proxy"}) {
    row[field] = nullptr;
  }
  if (!verdict.has_value()) return;
  if (verdict->world.has_value()) row["verdict"] = WorldName(*verdict->world);
  if (verdict->confidence.has_value()) {
    row["confidence"] = *verdict->confidence;
  }
  row["doubt_signals"] = SignalsJson(verdict->doubt, kDoubtSignals);
  row["difficulty_signals"] =
      SignalsJson(verdict->difficulty, kDifficultySignals);
  row["notes"] = verdict->notes;
  row["doubt_score"] = verdict->doubt_score();
  row["difficulty_proxy"] = verdict->difficulty_proxy();
}

}  // namespace dissonance
